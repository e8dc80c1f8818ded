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
