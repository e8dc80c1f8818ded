// Keys and values in half precision: a pair of values is a word.

const KV_WORDS = 1u;

fn kv_unpack(words: vec2<u32>) -> vec2<f32> {
    return halves(words.x);
}

fn kv_pack(values: vec2<f32>) -> vec2<u32> {
    return vec2(pack_halves(values), 0u);
}
