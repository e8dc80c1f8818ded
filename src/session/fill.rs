//! A session as if it had processed a text, for measurements.

use super::Session;
use crate::error::{Error, Result};

impl Session {
    /// Brings the session to where it would be after `tokens` tokens in all, with meaningless keys
    /// and values: what it takes and how fast it is from there on does not depend on them. For
    /// measurements of long texts. It has no logits until it is fed.
    ///
    /// # Errors
    /// [`Error::Argument`] if it has processed more tokens already, [`Error::Paused`] while paused,
    /// and those of the engine.
    pub fn fill(&mut self, tokens: u64) -> Result<()> {
        let position = self.position();
        if tokens < position {
            return Err(Error::argument(
                "the session",
                format!("has processed {position} tokens and can't be filled up to {tokens}"),
            ));
        }
        let pause = self.control.pause.clone();
        let _computing = pause.enter()?;
        self.clear_history();
        let mut tables = self.sequence.tables().clone();
        while tables.position() < tokens {
            let left = usize::try_from(tokens - tables.position()).unwrap_or(usize::MAX);
            tables.begin(left.min(tables.room()));
            tables.finish();
        }
        let saved = self.sequence.tables().decode(tokens, &tables.encode());
        let saved = saved.ok_or_else(|| Error::argument("the block tables", "do not fit"))?;
        // As f16 1/16, as f32 next to nothing, as bytes 0 and 44.
        self.sequence.import(saved, None, &mut |piece| {
            piece.iter_mut().zip([0, 0x2c].iter().cycle()).for_each(|(byte, fill)| *byte = *fill);
            Ok(())
        })
    }
}
