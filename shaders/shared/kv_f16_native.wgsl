// Keys and values in half precision, read natively. Sums are taken in single precision.
enable f16;

const KV_WORDS = 1u;
alias KvWord = vec2<f16>;

fn kv_unpack(first: KvWord, second: KvWord) -> vec2<f32> {
    return vec2<f32>(first);
}
