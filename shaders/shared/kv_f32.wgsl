// Keys and values in single precision: a pair of values is two words.

const KV_WORDS = 2u;
alias KvWord = u32;

fn kv_unpack(first: KvWord, second: KvWord) -> vec2<f32> {
    return bitcast<vec2<f32>>(vec2(first, second));
}

fn kv_pack(values: vec2<f32>) -> vec2<u32> {
    return bitcast<vec2<u32>>(values);
}
