// What the kernels have in common that move rows after a block.

struct Params {
    // The first of the layers.
    layer: u32,
    // Pairs per row, `head_dim / 2`, and over the key and value rows of all key heads.
    pairs: u32,
    columns: u32,
    // The kind of rings of the heads to move.
    kind: u32,
    // Rows of a key head.
    window_rows: u32,
    block_rows: u32,
    // First pair of the first layer, and pairs from one layer to the next.
    window_at: u32,
    window_step: u32,
    block_at: u32,
    block_step: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> arena: array<u32>;
@group(0) @binding(2) var<storage, read> block: array<u32>;
@group(0) @binding(3) var<storage, read_write> window: array<u32>;
@group(0) @binding(4) var<storage, read_write> ring: array<u32>;

const RING = 0u;
const WINDOW = 1u;

// Whether the move at a word must be made after the one before it.
fn follows(at: u32) -> bool {
    return (arena[at] & 4u) != 0u;
}

// The moves of a share of a list: index of the first, and of the one after the last. Moves that
// follow others belong to the share of these.
fn share_of(list: u32, share: u32, shares: u32) -> vec2<u32> {
    let count = arena[list + 1u];
    var bounds = vec2(count * share / shares, count * (share + 1u) / shares);
    while bounds.x < bounds.y && follows(arena[list] + 4u * bounds.x) {
        bounds.x++;
    }
    while bounds.x < bounds.y && bounds.y < count && follows(arena[list] + 4u * bounds.y) {
        bounds.y++;
    }
    return bounds;
}

// Where the row of a move at a word is now.
fn source_of(at: u32) -> u32 {
    return arena[at] & 3u;
}
