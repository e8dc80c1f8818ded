// Rows in half precision, of which a lane takes sixteen bytes: widths are multiples of eight.
#import HALF
#import eight

alias KvWord = vec4<u32>;
const KV_LOADS = 1u;

// Where the values of a lane are in a row that begins at pair `row`.
fn kv_at(row: u32, lane: u32, i: u32) -> u32 {
    return row / 4u + lane;
}

fn kv_eight(a: KvWord, b: KvWord, c: KvWord, d: KvWord) -> Eight {
    return Eight(vec4(halves(a.x), halves(a.y)), vec4(halves(a.z), halves(a.w)));
}
