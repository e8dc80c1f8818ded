// The lanes of a subgroup.
const LANES = 64u;
