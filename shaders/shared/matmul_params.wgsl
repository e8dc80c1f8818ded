#import arena
#import silu
#import gelu_tanh

struct Params {
    // Rows to compute, a multiple of 4.
    rows: u32,
    // Pieces of 16 values in a row.
    pieces: u32,
    // The first of the rows in this part of the stack.
    row: u32,
    // First vector of the first token's input, and vectors from one token to the next.
    x_at: u32,
    x_stride: u32,
    // Where the first row of the first token goes, and values from one token to the next.
    out_at: u32,
    out_stride: u32,
    // With FINISH == SPLIT: which row, counted as they go, is the first in the second output, and values
    // from one token to the next there.
    behind: u32,
    behind_stride: u32,
    // Pieces of a part of a row, an even number, and values from the sums of one part to those of the
    // next. The third dimension of the dispatch counts parts; with more than one FINISH is STORE.
    part_pieces: u32,
    part_step: u32,
}
