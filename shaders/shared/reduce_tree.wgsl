// Sums over a workgroup by halving, in workgroup memory. Every invocation gets the sums.

const LANES = WORKGROUP;

var<workgroup> partial_values: array<vec4<f32>, WORKGROUP>;
var<workgroup> partial_squares: array<f32, WORKGROUP>;

fn reduce(values: vec4<f32>, square: f32, index: u32) -> Sums {
    partial_values[index] = values;
    partial_squares[index] = square;
    workgroupBarrier();
    for (var width = WORKGROUP / 2u; width > 0u; width /= 2u) {
        if index < width {
            partial_values[index] += partial_values[index + width];
            partial_squares[index] += partial_squares[index + width];
        }
        workgroupBarrier();
    }
    return Sums(partial_values[0], partial_squares[0]);
}
