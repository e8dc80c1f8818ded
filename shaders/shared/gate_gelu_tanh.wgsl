#import gelu_tanh

fn gate(x: f32) -> f32 {
    return gelu_tanh(x);
}
