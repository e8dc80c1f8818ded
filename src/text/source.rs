//! What a model file says about its tokenizer.

/// The tokenizer of a model file, borrowed from it.
///
/// Either `huggingface_json` is given, or `model` with the arrays that belong to it. The ids and
/// flags apply in both cases.
#[derive(Clone, Debug, Default)]
pub struct TextSource<'a> {
    /// `tokenizer.huggingface.json`: a whole tokenizer.json.
    pub huggingface_json: Option<&'a str>,
    /// `tokenizer.ggml.model`: `llama` (SentencePiece BPE) or `gpt2` (byte-level BPE).
    pub model: Option<&'a str>,
    /// `general.architecture`: the special tokens of `phi3` take the whitespace after them.
    pub architecture: Option<&'a str>,
    /// `tokenizer.ggml.pre`: how `gpt2` splits a text into words before merging.
    pub pre: Option<&'a str>,
    /// `tokenizer.ggml.tokens`, by id.
    pub tokens: Vec<&'a str>,
    /// `tokenizer.ggml.scores`, by id; `llama` merges the pair of the highest score first.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`, by id: 1 normal, 2 unknown, 3 control, 4 user-defined,
    /// 5 unused, 6 byte. May be empty.
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.merges`, best first: two tokens with a space between them.
    pub merges: Vec<&'a str>,
    /// `tokenizer.ggml.bos_token_id`: begins a text.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`: ends a text.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`: ends a turn.
    pub eot: Option<u32>,
    /// `tokenizer.ggml.eom_token_id`: ends a message within a turn, such as a tool call.
    pub eom: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub unknown: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`. Nothing here pads; it matters only as a non-text token if
    /// the file has no `token_types`.
    pub padding: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`.
    pub add_space_prefix: Option<bool>,
}
