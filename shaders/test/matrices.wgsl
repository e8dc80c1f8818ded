// What `shared/matrices.wgsl` does, in plain arithmetic, for tests on drivers without matrix units: a
// matrix to multiply is the place where it begins, and the lanes of what counts as a subgroup take
// sums in turn.

struct Left {
    at: u32,
}

struct Right {
    at: u32,
}

const SHARE = SIDE * SIDE / LANES;
alias Sums = array<f32, SHARE>;
alias Halves = vec2<u32>;

// Two halves in a word.
var<workgroup> tile: array<u32, TILE / 2u>;
var<workgroup> sums_tile: array<f32, SUMS>;
var<private> lane: u32;

// In integers, so that no compiler leaves out that something is rounded to a half and back.
fn half_of(v: f32) -> u32 {
    let bits = bitcast<u32>(clamp(v, -65504.0, 65504.0));
    let magnitude = bits & 0x7fffffffu;
    var half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u;
    if magnitude < 0x38800000u {
        half = u32(round(bitcast<f32>(magnitude) * 16777216.0));
    }
    return half | ((bits >> 16u) & 0x8000u);
}

fn halves_of(v: vec4<f32>) -> Halves {
    return vec2(half_of(v.x) | (half_of(v.y) << 16u), half_of(v.z) | (half_of(v.w) << 16u));
}

fn floats_of(v: Halves) -> vec4<f32> {
    return vec4(unpack2x16float(v.x), unpack2x16float(v.y));
}

fn put_halves(at: u32, v: Halves) {
    tile[at / 2u] = v.x;
    tile[at / 2u + 1u] = v.y;
}

fn left(at: u32) -> Left {
    return Left(at);
}

fn right(at: u32) -> Right {
    return Right(at);
}

fn sums_of(at: u32) -> Sums {
    var sums: Sums;
    for (var i = 0u; i < SHARE; i++) {
        sums[i] = sums_tile[at + lane + LANES * i];
    }
    return sums;
}

fn multiply_add(a: Left, b: Right, c: Sums) -> Sums {
    var sums = c;
    for (var i = 0u; i < SHARE; i++) {
        let at = lane + LANES * i;
        let x = (a.at + at / SIDE * STRIDE) / 2u;
        let w = (b.at + at % SIDE * STRIDE) / 2u;
        for (var k = 0u; k < SIDE / 2u; k++) {
            sums[i] += dot(unpack2x16float(tile[x + k]), unpack2x16float(tile[w + k]));
        }
    }
    return sums;
}

fn put_sums(at: u32, sums: Sums) {
    for (var i = 0u; i < SHARE; i++) {
        sums_tile[at + lane + LANES * i] = sums[i];
    }
}
