// Joins the parts that one token's attention was split into.

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

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let head = id.x / p.head_dim;
    if head >= p.heads {
        return;
    }
    let i = id.x % p.head_dim;
    let place = kv_head_of(p.first_head + head / p.shared_by);
    let rows = arena[arena[SEEN] + 4u * place.schedule + 2u];
    let count = (rows + arena[ROWS_OF_A_PART] - 1u) / arena[ROWS_OF_A_PART];
    let row = p.head_dim + 2u;
    var most = parts[head * row + p.head_dim];
    for (var part = 1u; part < count; part++) {
        most = max(most, parts[(part * p.heads + head) * row + p.head_dim]);
    }
    var sum = 0.0;
    var weight = 0.0;
    for (var part = 0u; part < count; part++) {
        let at = (part * p.heads + head) * row;
        let share = exp(parts[at + p.head_dim] - most);
        sum += share * parts[at + i];
        weight += share * parts[at + p.head_dim + 1u];
    }
    out[id.x] = sum / weight;
}
