//! A sequence's programs, and the commands of its next token, encoded while the device computes the current one.

use super::commands::{Commands, Encoder};
use super::device::Device;
use super::model::Programs;
use super::scratch::Scratch;
use crate::engine::TOP;
use crate::error::Result;

/// What is read back of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Nothing,
    /// This many bytes of logits.
    Logits(u64),
    Candidates,
}

impl Read {
    /// Copies it to where the host reads it.
    pub fn fetch(self, s: &Scratch, encoder: &mut Encoder) {
        let (from, bytes) = match self {
            Read::Nothing => return,
            Read::Logits(bytes) => (&*s.logits, bytes),
            Read::Candidates => (&s.candidates, 8 * TOP as u64),
        };
        encoder.copy_buffer_to_buffer(from, 0, &s.staging, 0, bytes);
    }
}

/// Copies the scores of this many tokens to where the host reads them.
pub(super) fn fetch_scores(tokens: usize, s: &Scratch, encoder: &mut Encoder) {
    if s.score_bytes(tokens) > 0 {
        encoder.copy_buffer_to_buffer(&s.scores, 0, &s.score_staging, 0, s.score_bytes(tokens));
    }
}

/// Programs as they are recorded for the present buffers.
pub(super) struct Recorded {
    pub programs: Programs,
    ahead: Option<Ahead>,
}

/// Commands for a token that is read, and whose attention is split, as that of the token before.
struct Ahead {
    read: Read,
    parts: u32,
    commands: Commands,
}

impl Recorded {
    pub fn new(programs: Programs) -> Recorded {
        Recorded { programs, ahead: None }
    }

    /// Submits a token, then encodes another one like it.
    pub fn submit_token(
        &mut self,
        device: &Device,
        s: &Scratch,
        read: Read,
        parts: u32,
    ) -> Result<()> {
        let fits = |ahead: &Ahead| ahead.read == read && ahead.parts == parts;
        let commands = match self.ahead.take().filter(fits) {
            Some(ahead) => ahead.commands,
            None => self.token(device, s, read, parts)?,
        };
        device.submit([commands])?;
        // The times of kernels are collected before those of the next token may be written.
        if device.clock.is_none() {
            // An error will be met again when there is a token to compute.
            let next = self.token(device, s, read, parts).ok();
            self.ahead = next.map(|commands| Ahead { read, parts, commands });
        }
        Ok(())
    }

    fn token(&self, device: &Device, s: &Scratch, read: Read, parts: u32) -> Result<Commands> {
        let Programs { token, token_head, .. } = &self.programs;
        device.commands(|encoder| {
            match read {
                Read::Nothing => token.encode(device, encoder, 1, parts),
                _ => token.encode_with(token_head, device, encoder, 1, parts),
            }
            read.fetch(s, encoder);
            fetch_scores(1, s, encoder);
        })
    }
}
