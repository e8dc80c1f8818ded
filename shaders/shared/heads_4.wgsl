// Four query heads at a time: keys and values are read once for all of them.

const HEADS = 4u;
alias Heads = vec4<f32>;

fn set_head(heads: ptr<function, Heads>, head: u32, value: f32) {
    (*heads)[head] = value;
}

fn get_head(heads: Heads, head: u32) -> f32 {
    return heads[head];
}
