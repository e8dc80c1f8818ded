// What the host passes about the current block of tokens, in 32-bit words. The first words are the
// offsets of the rest; see `plan.rs`, which writes it.

const TOKENS = 0u;
// Parts that the attention of the head that sees most is split into.
const PARTS = 1u;
// Cosine and sine of each rotation, `[table][token][head_dim / 2][2]`, f32.
const TURNS = 2u;
// Number of tokens of the same chunk before each token, `[schedule][token]`.
const SINCE = 3u;
// What each token sees, `[schedule][token][4]`: first word of its runs, their number, rows in all.
const SEEN = 4u;
// The moves after the block, `[schedule][2]`: first word, number.
const MOVES = 5u;
// The KV heads of all layers, `[layer][kv head][HEAD_WORDS]`: see `Head`.
const HEADS_OF_LAYERS = 6u;
// Rows of a part, but for the last one of a head.
const ROWS_OF_A_PART = 7u;
// What the tokens of a tile see, `[schedule][tile][4]`: first word of its runs, which are in order of
// places; rows in the ring, in ring and window, and in all.
const TILES = 8u;
// Tokens of a tile.
const TILE_TOKENS = 9u;

const HEAD_WORDS = 6u;
