// The end of a product in which several workgroups shared the values of a row: adds their sums up.

// In range: rows are below `p.rows`, whose sums are there for each token and part.

#import silu
#import gelu_tanh

struct Params {
    // Rows to compute, a multiple of 4.
    rows: u32,
    // Parts of a row, and values from the sums of one to those of the next.
    parts: u32,
    part_step: u32,
    // As in `matmul`.
    out_at: u32,
    out_stride: u32,
    behind: u32,
    behind_stride: u32,
}

@group(0) @binding(0) var<uniform> p: Params;
// `[part][token][row]`
@group(0) @binding(1) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> behind: array<f32>;
#import finish_rows

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = 4u * id.x;
    if row >= p.rows {
        return;
    }
    let at = (id.y * p.rows + row) / 4u;
    var y = vec4(0.0);
    for (var part = 0u; part < p.parts; part++) {
        y += sums[at + part * p.part_step / 4u];
    }
    finish(p.out_at, id.y, row, y);
}
