// Rows in half precision, of any even width: read a pair at a time, the last one again past the end.
#import HALF
#import eight

alias KvWord = u32;
const KV_LOADS = 4u;
const KV_PAIRS = 1u;

fn kv_at(row: u32, lane: u32, i: u32) -> u32 {
    return row + min(4u * lane + i, HEAD_DIM / 2u - 1u);
}

// What a lane reads of a row.
alias Raw = vec4<u32>;

fn raw_of(a: KvWord, b: KvWord, c: KvWord, d: KvWord) -> Raw {
    return vec4(a, b, c, d);
}

fn kv_eight(raw: Raw) -> Eight {
    return Eight(vec4(halves(raw.x), halves(raw.y)), vec4(halves(raw.z), halves(raw.w)));
}

alias QueryWord = f32;

// Four values of a query, from value `i` on; past its end the last one again.
fn four(query: u32, i: u32) -> vec4<f32> {
    let at = query + min(i + vec4(0u, 1u, 2u, 3u), vec4(HEAD_DIM - 1u));
    return vec4(q[at.x], q[at.y], q[at.z], q[at.w]);
}

fn one_of(at: u32) -> f32 {
    return q[at];
}
