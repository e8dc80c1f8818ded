// Joins the parts that one token's attention was split into. A workgroup takes a query head, and
// each quarter of it every fourth part.

// In range: a workgroup is one of the heads, whose parts are as many as `Split` has made, at most
// MOST_PARTS, and all of them written; columns are at most the last of a head.

#import arena
#import kv_head

struct Params {
    heads: u32,
    head_dim: u32,
    // Query heads that share a key head.
    shared_by: u32,
    // Number of the layer's first KV head.
    first_head: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> arena: array<u32>;
// `[part][head][head_dim + 2]`: sum of values, maximum score, sum of weights
@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const QUARTER = 32u;
// Parts at most, of which each lane of a quarter looks at one.
const MOST_PARTS = QUARTER;

// Maximum and sum of weights of each part; then its share of the whole.
var<workgroup> tops: array<f32, MOST_PARTS>;
var<workgroup> weights: array<f32, MOST_PARTS>;
var<workgroup> sums: array<f32, 128>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let head = workgroup.x;
    let place = kv_head_of(p.first_head + head / p.shared_by);
    let rows = arena[arena[SEEN] + 4u * place.schedule + 2u];
    let count = (rows + arena[ROWS_OF_A_PART] - 1u) / arena[ROWS_OF_A_PART];
    let row = p.head_dim + 2u;
    if index < count {
        let at = (index * p.heads + head) * row + p.head_dim;
        tops[index] = parts[at];
        weights[index] = parts[at + 1u];
    }
    workgroupBarrier();
    var most = tops[0];
    for (var part = 1u; part < count; part++) {
        most = max(most, tops[part]);
    }
    var weight = 0.0;
    for (var part = 0u; part < count; part++) {
        weight += weights[part] * exp(tops[part] - most);
    }
    let quarter = index / QUARTER;
    let column = index % QUARTER;
    for (var first = 0u; first < p.head_dim; first += QUARTER) {
        let i = min(first + column, p.head_dim - 1u);
        var sum = 0.0;
        for (var part = quarter; part < count; part += 4u) {
            let share = exp(tops[part] - most);
            sum += share * parts[(part * p.heads + head) * row + i];
        }
        sums[index] = sum;
        workgroupBarrier();
        if index < QUARTER && first + column < p.head_dim {
            let whole = sums[index] + sums[index + 32u] + sums[index + 64u] + sums[index + 96u];
            out[head * p.head_dim + i] = whole / weight;
        }
        workgroupBarrier();
    }
}
