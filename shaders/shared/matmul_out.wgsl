@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read> arena: array<u32>;

override FINISH: u32 = 0;
const ADD = 1u;
// Rows alternate between gates and ups.
const SWIGLU = 2u;
// The same with GELU.
const GEGLU = 4u;

// Rows `row..row + 4` of a token.
fn finish(token: u32, row: u32, y: vec4<f32>) {
    let start = p.out_at + token * p.out_stride;
    if FINISH == SWIGLU {
        out[start + row / 2u] = silu(y.x) * y.y;
        out[start + row / 2u + 1u] = silu(y.z) * y.w;
        return;
    }
    if FINISH == GEGLU {
        out[start + row / 2u] = gelu_tanh(y.x) * y.y;
        out[start + row / 2u + 1u] = gelu_tanh(y.z) * y.w;
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        let at = start + row + i;
        out[at] = select(y[i], out[at] + y[i], FINISH == ADD);
    }
}

// The same of four tokens, those that there are.
fn finish_tokens(token: u32, row: u32, y: mat4x4<f32>) {
    let tokens = arena[TOKENS];
    for (var i = 0u; i < 4u; i++) {
        if token + i < tokens {
            finish(token + i, row, y[i]);
        }
    }
}
