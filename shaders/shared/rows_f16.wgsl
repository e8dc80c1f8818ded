// Rows in half precision, of which a lane takes sixteen bytes: widths are multiples of eight.
#import HALF
#import eight

alias KvWord = vec4<u32>;
const KV_LOADS = 1u;

// Pairs of a word.
const KV_PAIRS = 4u;

// Word `i` of a lane in a row that begins at word `row`.
fn kv_at(row: u32, lane: u32, i: u32) -> u32 {
    return row + lane;
}

// What a lane reads of a row.
alias Raw = vec4<u32>;

fn raw_of(a: KvWord, b: KvWord, c: KvWord, d: KvWord) -> Raw {
    return a;
}

fn kv_eight(raw: Raw) -> Eight {
    return Eight(vec4(halves(raw.x), halves(raw.y)), vec4(halves(raw.z), halves(raw.w)));
}

alias QueryWord = vec4<f32>;

// Four values of a query, from value `i` on.
fn four(query: u32, i: u32) -> vec4<f32> {
    return q[(query + i) / 4u];
}

fn one_of(at: u32) -> f32 {
    return q[at / 4u][at % 4u];
}
