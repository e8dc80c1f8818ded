// The lanes of a subgroup.
const LANES = 8u;
