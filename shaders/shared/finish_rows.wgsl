override FINISH: u32 = 0;
const ADD = 1u;
// Rows alternate between gates and ups.
const SWIGLU = 2u;
// The same with GELU.
const GEGLU = 4u;
// The rows from `p.behind` on go to the second output.
const SPLIT = 5u;

// Rows `row..row + 4` of a token. The first row of the first token goes to `out_at`.
fn finish(out_at: u32, token: u32, row: u32, y: vec4<f32>) {
    let start = out_at + token * p.out_stride;
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
    if FINISH == SPLIT && out_at + row >= p.behind {
        let at = token * p.behind_stride + (out_at + row - p.behind);
        for (var i = 0u; i < 4u; i++) {
            behind[at + i] = y[i];
        }
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        let at = start + row + i;
        out[at] = select(y[i], out[at] + y[i], FINISH == ADD);
    }
}
