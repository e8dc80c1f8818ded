//! Tensor names.

/// The part between `blk.N.` and `.weight` or `.bias` in the names of a layer's tensors.
#[derive(Debug)]
pub struct Names {
    /// Norm before attention.
    pub attention_norm: &'static str,
    /// `W_q`
    pub q: &'static str,
    /// `W_k`
    pub k: &'static str,
    /// `W_v`
    pub v: &'static str,
    /// `W_q`, `W_k` and `W_v` one after the other, in a family that has them in one tensor.
    pub qkv: Option<&'static str>,
    /// `W_o`
    pub o: &'static str,
    /// Norm of the query heads.
    pub q_norm: &'static str,
    /// Norm of the key heads.
    pub k_norm: &'static str,
    /// Norm after attention.
    pub attention_post_norm: &'static str,
    /// Norm before the feed-forward network.
    pub ffn_norm: &'static str,
    /// `W_gate`
    pub gate: &'static str,
    /// `W_up`
    pub up: &'static str,
    /// `W_gate` and `W_up` one after the other, in a family that has them in one tensor.
    pub gate_up: Option<&'static str>,
    /// `W_down`
    pub down: &'static str,
    /// Norm after the feed-forward network.
    pub ffn_post_norm: &'static str,
}

impl Names {
    /// The names that most families use.
    pub const USUAL: Names = Names {
        attention_norm: "attn_norm",
        q: "attn_q",
        k: "attn_k",
        v: "attn_v",
        qkv: None,
        o: "attn_output",
        q_norm: "attn_q_norm",
        k_norm: "attn_k_norm",
        attention_post_norm: "post_attention_norm",
        ffn_norm: "ffn_norm",
        gate: "ffn_gate",
        up: "ffn_up",
        gate_up: None,
        down: "ffn_down",
        ffn_post_norm: "post_ffw_norm",
    };
}
