// What the host tells about the block of tokens at hand, in 32-bit words. The first words say where
// the rest lies; see `plan.rs`, which writes it.

const TOKENS = 0u;
// Parts that attention is split into.
const PARTS = 1u;
// Cosine and sine of each rotation, `[table][token][head_dim / 2][2]`, f32.
const TURNS = 2u;
// Tokens of the same chunk that come before each token, `[schedule][token]`.
const SINCE = 3u;
// What each token sees, `[schedule][token][4]`: first word of its runs, their number, rows in all.
const SEEN = 4u;
// The moves after the block, `[layer][2]`: first word, number.
const MOVES = 5u;
