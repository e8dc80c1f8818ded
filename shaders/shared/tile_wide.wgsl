// The shape of a tile of attention for wide heads: 128 columns, two rows of an invocation.
#import tile_pairs

const THREADS = 128u;
// Rows of an invocation.
const OWN = 2u;

// Multiplies the invocation's rows with its queries, the eights from `begin` on.
fn add_scores(scores: ptr<function, Scores>, place: u32, begin: u32, of_rows: u32, quad: u32) {
    add_some(scores, 0u, place, begin, OWN * of_rows, quad);
}
