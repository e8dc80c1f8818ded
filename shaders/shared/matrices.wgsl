// Matrices that the lanes of a subgroup hold together, from and to tiles in workgroup memory. Those to
// multiply come from a tile of halves, with `STRIDE` of them from row to row.

alias Halves = vec4<f16>;

var<workgroup> tile: array<f16, TILE>;
var<workgroup> sums_tile: array<f32, SUMS>;

// The nearest halves, or the greatest there are. They are clamped as halves, though that takes more than to
// clamp floats: compilers may leave out that something is rounded to a half and back at once.
fn halves_of(v: vec4<f32>) -> Halves {
    return clamp(Halves(v), Halves(-65504.0h), Halves(65504.0h));
}

fn floats_of(v: Halves) -> vec4<f32> {
    return vec4<f32>(v);
}

fn put_halves(at: u32, v: Halves) {
    tile[at] = v.x;
    tile[at + 1u] = v.y;
    tile[at + 2u] = v.z;
    tile[at + 3u] = v.w;
}

fn left(at: u32) -> Left {
    return coopLoadT<Left>(&tile[at], STRIDE);
}

// Its columns are what the tile has as rows.
fn right(at: u32) -> Right {
    return coopLoad<Right>(&tile[at], STRIDE);
}

fn sums_of(at: u32) -> Sums {
    return coopLoadT<Sums>(&sums_tile[at], SIDE);
}

fn multiply_add(a: Left, b: Right, c: Sums) -> Sums {
    return coopMultiplyAdd(a, b, c);
}

// The stride of a store must be a constant or a name: for an expression naga's SPIR-V writer panics.
fn put_sums(at: u32, sums: Sums) {
    coopStoreT(sums, &sums_tile[at], SIDE);
}
