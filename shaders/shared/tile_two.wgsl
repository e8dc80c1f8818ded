// The shape of a tile of attention where registers are few: 64 columns, four rows of an invocation, read
// two at a time.
#import tile_pairs

const THREADS = 64u;
// Rows of an invocation.
const OWN = 4u;

// Multiplies the invocation's rows with its queries, the eights from `begin` on.
fn add_scores(scores: ptr<function, Scores>, place: u32, begin: u32, of_rows: u32, quad: u32) {
    add_some(scores, 0u, place, begin, OWN * of_rows, quad);
    add_some(scores, 2u, place, begin, OWN * of_rows, quad);
}
