// Chunk states in 8-bit integers. Rows are padded to whole words, two pairs each; the rows of a
// class of KV heads are followed by their scales, `[side][head][slot]`.

alias RingWord = u32;

const RING_ROTATED = false;

fn ring_row_pairs() -> u32 {
    return 2u * ((HEAD_DIM + 3u) / 4u);
}

fn ring_pair(row: u32, i: u32) -> vec2<f32> {
    let number = row + i;
    let values = vec4<f32>(unpack4xI8(ring[number / 2u]));
    return select(values.xy, values.zw, (number & 1u) != 0u);
}

fn ring_scale(at: u32) -> f32 {
    return bitcast<f32>(ring[at]);
}
