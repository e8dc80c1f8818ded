// Keys and values in single precision: a pair of values is two words.

const KV_WORDS = 2u;

fn kv_unpack(words: vec2<u32>) -> vec2<f32> {
    return bitcast<vec2<f32>>(words);
}

fn kv_pack(values: vec2<f32>) -> vec2<u32> {
    return bitcast<vec2<u32>>(values);
}
