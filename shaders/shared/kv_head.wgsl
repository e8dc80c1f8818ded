// Where the ring of a KV head is, and which schedule it follows. Heads of a layer may differ.

struct KvHead {
    schedule: u32,
    // 0 if the ring has the type of the window, 1 if it is in 8-bit integers, 2 if in 4-bit ones.
    kind: u32,
    // First pair of its keys, and pairs from these to its values. A ring of 8-bit integers counts
    // two pairs per word, one of 4-bit integers four.
    ring_at: u32,
    values_after: u32,
    // First word of the scales of its keys, and words from these to those of its values; none
    // unless the ring is in 8-bit integers.
    scales_at: u32,
    scales_after: u32,
}

// The KV head with this number, counted through the layers.
fn kv_head_of(number: u32) -> KvHead {
    let at = arena[HEADS_OF_LAYERS] + HEAD_WORDS * number;
    return KvHead(
        arena[at],
        arena[at + 1u],
        arena[at + 2u],
        arena[at + 3u],
        arena[at + 4u],
        arena[at + 5u],
    );
}
