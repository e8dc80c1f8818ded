// Invocations of a workgroup that reduces.
const WORKGROUP = 64u;

struct Sums {
    values: vec4<f32>,
    square: f32,
}
