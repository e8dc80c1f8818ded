@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read> arena: array<u32>;
@group(0) @binding(6) var<storage, read_write> behind: array<f32>;
#import finish_rows

// Rows `row..row + 4` of four tokens, those that there are, of one part.
fn finish_tokens(part: u32, token: u32, row: u32, y: mat4x4<f32>) {
    let tokens = arena[TOKENS];
    for (var i = 0u; i < 4u; i++) {
        if token + i < tokens {
            finish(p.out_at + part * p.part_step, token + i, row, y[i]);
        }
    }
}

// One after the last piece of a part.
fn end_of(part: u32) -> u32 {
    return min((part + 1u) * p.part_pieces, p.pieces);
}
