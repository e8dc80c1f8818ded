// Each invocation works alone: for drivers that run on a CPU, where barriers are slow.

const LANES = 1u;

fn reduce(values: vec4<f32>, square: f32, index: u32) -> Sums {
    return Sums(values, square);
}
