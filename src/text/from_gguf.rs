//! The text side of a GGUF file.

use super::source::TextSource;
use crate::error::Result;
use crate::gguf::Gguf;

impl<'a> TextSource<'a> {
    /// Reads the keys of `gguf`; a key of the wrong type is an error that names it. The
    /// arrays are not read if a tokenizer.json makes them unnecessary.
    pub fn from_gguf(gguf: &'a Gguf) -> Result<TextSource<'a>> {
        let huggingface_json = gguf.str("tokenizer.huggingface.json")?;
        let mut source = TextSource {
            huggingface_json,
            model: gguf.str("tokenizer.ggml.model")?,
            architecture: gguf.str("general.architecture")?,
            pre: gguf.str("tokenizer.ggml.pre")?,
            bos: gguf.u32("tokenizer.ggml.bos_token_id")?,
            eos: gguf.u32("tokenizer.ggml.eos_token_id")?,
            eot: gguf.u32("tokenizer.ggml.eot_token_id")?,
            eom: gguf.u32("tokenizer.ggml.eom_token_id")?,
            unknown: gguf.u32("tokenizer.ggml.unknown_token_id")?,
            padding: gguf.u32("tokenizer.ggml.padding_token_id")?,
            add_bos: gguf.bool("tokenizer.ggml.add_bos_token")?,
            add_eos: gguf.bool("tokenizer.ggml.add_eos_token")?,
            add_space_prefix: gguf.bool("tokenizer.ggml.add_space_prefix")?,
            ..TextSource::default()
        };
        if huggingface_json.is_none() {
            source.tokens = gguf.strs("tokenizer.ggml.tokens")?.unwrap_or_default();
            source.scores = gguf.f32s("tokenizer.ggml.scores")?.unwrap_or_default();
            source.token_types = gguf.i32s("tokenizer.ggml.token_type")?.unwrap_or_default();
            source.merges = gguf.strs("tokenizer.ggml.merges")?.unwrap_or_default();
        }
        Ok(source)
    }
}
