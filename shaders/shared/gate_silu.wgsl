#import silu

fn gate(x: f32) -> f32 {
    return silu(x);
}
