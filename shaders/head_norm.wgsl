// RMSNorm of each query and key head, in place.

// In range: heads beyond the last are the last, and not written; workgroups are as many as tokens.

#import sums
#import REDUCE

struct Params {
    // Query heads, and query and key heads together.
    queries: u32,
    heads: u32,
    head_dim: u32,
    eps: f32,
    // Values from one token's queries to the next, and from one token's keys to the next.
    q_stride: u32,
    k_stride: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> q: array<f32>;
@group(0) @binding(2) var<storage, read_write> k: array<f32>;
// Weights of a query head, then those of a key head.
@group(0) @binding(3) var<storage, read> gain: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let number = workgroup.x * (WORKGROUP / LANES) + index / LANES;
    let head = min(number, p.heads - 1u);
    let token = workgroup.y;
    let lane = index % LANES;
    let is_query = head < p.queries;
    let start = select(
        token * p.k_stride + (head - p.queries) * p.head_dim,
        token * p.q_stride + head * p.head_dim,
        is_query,
    );
    var square = 0.0;
    for (var i = lane; i < p.head_dim; i += LANES) {
        var value = 0.0;
        if is_query {
            value = q[start + i];
        } else {
            value = k[start + i];
        }
        square += value * value;
    }
    let total = reduce(vec4(0.0), square, index);
    if number >= p.heads {
        return;
    }
    let factor = inverseSqrt(total.square / f32(p.head_dim) + p.eps);
    for (var i = lane; i < p.head_dim; i += LANES) {
        if is_query {
            q[start + i] *= factor * gain[i];
        } else {
            k[start + i] *= factor * gain[p.head_dim + i];
        }
    }
}
