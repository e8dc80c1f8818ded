// Sums over a workgroup: within subgroups in hardware, across subgroups in workgroup memory. Every
// invocation gets the sums.

const LANES = WORKGROUP;

var<workgroup> partial_values: array<vec4<f32>, WORKGROUP>;
var<workgroup> partial_squares: array<f32, WORKGROUP>;

fn reduce(values: vec4<f32>, square: f32, index: u32) -> Sums {
    let value = subgroupAdd(values);
    let total = subgroupAdd(square);
    let size = subgroupAdd(1u);
    if index % size == 0u {
        partial_values[index / size] = value;
        partial_squares[index / size] = total;
    }
    workgroupBarrier();
    var sums = Sums(partial_values[0], partial_squares[0]);
    for (var i = 1u; i < WORKGROUP / size; i++) {
        sums.values += partial_values[i];
        sums.square += partial_squares[i];
    }
    return sums;
}
