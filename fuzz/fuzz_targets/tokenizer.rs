//! The text side: any tokenizer.json and any arrays are either a tokenizer that encodes and decodes any
//! text, or an error.
//!
//! An input is eight bytes of switches, then sections with the byte 0xff, which UTF-8 never has,
//! between them: a tokenizer.json and a text, or tokens, merges and a text. A line of tokens is a
//! digit for the type, a character for the score, and the token; a line of merges is a merge.

#![no_main]

use attamba::internals::{self, TextSource};
use attamba::text::{Detokenizer, Tokenizer};
use libfuzzer_sys::fuzz_target;

/// The first eight bytes.
struct Switches<'a>(&'a [u8; 8]);

impl Switches<'_> {
    fn kind(&self) -> u8 {
        self.0[0] % 3
    }

    /// 255 means none.
    fn id(&self, index: usize) -> Option<u32> {
        Some(self.0[1 + index]).filter(|&id| id != 255).map(u32::from)
    }

    fn boolean(&self, index: usize) -> Option<bool> {
        [None, Some(false), Some(true), None][usize::from(self.0[6] >> (2 * index) & 3)]
    }

    fn pre(&self) -> Option<&'static str> {
        let all = [
            None,
            Some("qwen2"),
            Some("gpt-2"),
            Some("llama-bpe"),
            Some("smollm"),
            Some("gpt-4o"),
            Some("tekken"),
            Some("default"),
        ];
        all[usize::from(self.0[7] & 7)]
    }

    /// Whether the 256 single-byte tokens come first, without which little can be spelled.
    fn bytes(&self) -> bool {
        self.0[7] & 8 == 0
    }

    fn types(&self) -> bool {
        self.0[7] & 16 == 0
    }

    fn scores(&self) -> bool {
        self.0[7] & 32 == 0
    }
}

/// The token of a byte in a `llama` vocabulary, or in a byte-level one (as GPT-2 writes bytes).
fn byte_tokens(byte_level: bool) -> Vec<String> {
    let mut spare = 0x100;
    (0..=255u8)
        .map(|byte| {
            if !byte_level {
                return format!("<0x{byte:02X}>");
            }
            match byte {
                b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte).to_string(),
                _ => {
                    spare += 1;
                    char::from_u32(spare - 1).unwrap_or_default().to_string()
                }
            }
        })
        .collect()
}

fn exercise(source: &TextSource, text: &str) {
    let tokenizer = match internals::tokenizer(source) {
        Ok(tokenizer) => tokenizer,
        Err(e) => {
            assert!(!e.to_string().is_empty());
            return;
        }
    };
    for special in [false, true] {
        let Ok(tokens) = tokenizer.encode(text, special) else { continue };
        assert!(tokens.iter().all(|&t| (t as usize) < tokenizer.vocab_size()));
        let whole = tokenizer.decode(&tokens);
        let mut streamed = String::new();
        let mut detokenizer = Detokenizer::with_special();
        for &token in &tokens {
            streamed.push_str(detokenizer.push(token, &tokenizer));
        }
        streamed.push_str(detokenizer.flush());
        assert_eq!(streamed, whole);
    }
    let size = tokenizer.vocab_size() as u32;
    for token in [0, size - 1, size, u32::MAX] {
        let _ = (tokenizer.token_bytes(token), tokenizer.is_special(token));
        let _ = (tokenizer.is_end(token), tokenizer.decode(&[token]));
    }
    let _ = tokenizer.id_of(text);
}

fuzz_target!(|input: &[u8]| {
    let Some((switches, rest)) = input.split_first_chunk() else { return };
    let switches = Switches(switches);
    let mut sections = rest.splitn(3, |&byte| byte == 0xff).map(String::from_utf8_lossy);
    let mut section = || sections.next().unwrap_or_default();
    let mut source = TextSource {
        bos: switches.id(0),
        eos: switches.id(1),
        eot: switches.id(2),
        eom: None,
        unknown: switches.id(3),
        padding: switches.id(4),
        add_bos: switches.boolean(0),
        add_eos: switches.boolean(1),
        add_space_prefix: switches.boolean(2),
        ..TextSource::default()
    };
    let byte_level = match switches.kind() {
        0 => {
            let (json, text) = (section(), section());
            source.huggingface_json = Some(&json);
            return exercise(&source, &text);
        }
        1 => false,
        _ => true,
    };
    let (lines, merges, text) = (section(), section(), section());
    source.model = Some(if byte_level { "gpt2" } else { "llama" });
    source.pre = switches.pre().filter(|_| byte_level);

    let bytes = if switches.bytes() { byte_tokens(byte_level) } else { Vec::new() };
    let byte_type = if byte_level { 1 } else { 6 };
    let mut entries: Vec<(&str, i32, f32)> =
        bytes.iter().map(|token| (token.as_str(), byte_type, 0.0)).collect();
    for line in lines.split('\n').filter(|line| !line.is_empty()) {
        let mut rest = line.chars();
        let kind = rest.next().map_or(1, |c| c as i32 - '0' as i32);
        let score = rest.next().map_or(0.0, |c| 'A' as i32 as f32 - c as i32 as f32);
        entries.push((rest.as_str(), kind, score));
    }
    source.tokens = entries.iter().map(|e| e.0).collect();
    if switches.types() {
        source.token_types = entries.iter().map(|e| e.1).collect();
    }
    if switches.scores() {
        source.scores = entries.iter().map(|e| e.2).collect();
    }
    source.merges = merges.split('\n').filter(|line| !line.is_empty()).collect();
    exercise(&source, &text);
});
