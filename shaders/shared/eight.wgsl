// Eight values of a row.

struct Eight {
    low: vec4<f32>,
    high: vec4<f32>,
}
