// Values word by word, where words are packed in order.
fn in_order(v: mat4x4<f32>) -> mat4x4<f32> {
    return v;
}
