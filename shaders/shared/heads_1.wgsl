// One query head at a time.

const HEADS = 1u;
alias Heads = f32;

fn set_head(heads: ptr<function, Heads>, head: u32, value: f32) {
    *heads = value;
}

fn get_head(heads: Heads, head: u32) -> f32 {
    return heads;
}
