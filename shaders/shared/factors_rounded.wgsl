// Factors are rounded to halves.
const PLANES = 1u;
