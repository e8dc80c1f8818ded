// Chunk states in the form that the window is stored in.

alias RingWord = KvWord;

const RING_ROTATED = false;

fn ring_row_pairs() -> u32 {
    return HEAD_DIM / 2u;
}

fn ring_pair(row: u32, i: u32) -> vec2<f32> {
    let at = (row + i) * KV_WORDS;
    return kv_unpack(ring[at], ring[at + KV_WORDS - 1u]);
}

fn ring_scale(at: u32) -> f32 {
    return 1.0;
}
