// Keys and values in half precision: a pair of values is a word.
#import HALF

const KV_WORDS = 1u;
alias KvWord = u32;

fn kv_unpack(first: KvWord, second: KvWord) -> vec2<f32> {
    return halves(first);
}

fn kv_pack(values: vec2<f32>) -> vec2<u32> {
    return vec2(pack_halves(values), 0u);
}
