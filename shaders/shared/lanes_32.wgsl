// The lanes of a subgroup.
const LANES = 32u;
