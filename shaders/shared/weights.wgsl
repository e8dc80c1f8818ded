#import FORMAT

// Four values of four rows; column `k` has value `k` of the rows.
fn weights(packed: Packed, half: u32) -> mat4x4<f32> {
    var w = numbers(packed, half);
    if SCALED {
        let s = scale(packed);
        w = mat4x4(
            w[0] * s.by + s.plus,
            w[1] * s.by + s.plus,
            w[2] * s.by + s.plus,
            w[3] * s.by + s.plus,
        );
    }
    return w;
}
