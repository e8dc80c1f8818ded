// Factors are the sum of two halves.
const PLANES = 2u;
