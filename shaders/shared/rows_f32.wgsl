// Rows in single precision, of any even width: read a pair at a time, the last one again past the
// end.
#import eight

alias KvWord = vec2<f32>;
const KV_LOADS = 4u;

fn kv_at(row: u32, lane: u32, i: u32) -> u32 {
    return row + min(4u * lane + i, HEAD_DIM / 2u - 1u);
}

fn kv_eight(a: KvWord, b: KvWord, c: KvWord, d: KvWord) -> Eight {
    return Eight(vec4(a, b), vec4(c, d));
}
