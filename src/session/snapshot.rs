//! A session as it was at some moment, kept in memory: to go back to, or to go on from twice.

use super::Session;
use crate::engine::Geometry;
use crate::error::{Error, Result};
use crate::model::Model;
use std::sync::Arc;

/// A session as it was at some moment. Takes the memory of the part of the state that was in use,
/// and of one row of logits.
pub struct Snapshot {
    model: Arc<Model>,
    geometry: Geometry,
    position: u64,
    /// The block tables of the state, in numbers.
    tables: Vec<u64>,
    logits: Vec<f32>,
    image: Vec<u8>,
}

impl Snapshot {
    /// Tokens that the session had taken in.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        (self.image.capacity() + 8 * self.tables.capacity() + 4 * self.logits.capacity()) as u64
    }
}

impl Session {
    /// The session as it is now.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the system has no more, [`Error::Paused`] while paused.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.fetch_logits()?;
        let position = self.position();
        let tables = self.state.tables();
        let bytes = tables.image_bytes();
        let numbers = tables.encode();
        let no_memory = || Error::OutOfMemory { bytes, what: "a snapshot of a session" };
        let mut image = Vec::new();
        image
            .try_reserve_exact(usize::try_from(bytes).map_err(|_| no_memory())?)
            .map_err(|_| no_memory())?;
        let computing = self.pause.enter()?;
        self.state.export(&mut |piece| {
            image.extend_from_slice(piece);
            Ok(())
        })?;
        drop(computing);
        let model = Arc::clone(self.engine.model());
        let logits = self.logits.clone();
        Ok(Snapshot { model, geometry: self.geometry, position, tables: numbers, logits, image })
    }

    /// Back, or forth, to a snapshot of this session or of another of the same model and budget.
    /// What is computed from there on is what was computed then, to the bit. Where the engine is lost
    /// and another is to take over, the session is of that one from here on.
    ///
    /// # Errors
    /// [`Error::Argument`] if the snapshot is of another model or budget; the session stays as it
    /// is. [`Error::Paused`] while paused.
    pub fn rewind(&mut self, to: &Snapshot) -> Result<()> {
        if !Arc::ptr_eq(&to.model, self.engine.model()) {
            return Err(Error::Argument("the snapshot is of another model".into()));
        }
        if to.geometry != self.geometry {
            return Err(Error::Argument(format!(
                "the snapshot is of a session with {}, this one has {}",
                to.geometry, self.geometry
            )));
        }
        let pause = self.pause.clone();
        let _computing = pause.enter()?;
        self.leave_lost_engine()?;
        let saved = self.state.tables().decode(to.position, &to.tables);
        let saved = saved.ok_or_else(|| Error::Argument("the snapshot is damaged".into()))?;
        let mut rest = &to.image[..];
        self.forget_logits();
        self.state.import(saved, &mut |piece| take(&mut rest, piece))?;
        self.logits.extend_from_slice(&to.logits);
        Ok(())
    }

    /// A second session that stands where this one does and goes its own way from here: what both
    /// have taken in, such as a system prompt, is computed once.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the system has no more, [`Error::Paused`] while paused.
    pub fn fork(&mut self) -> Result<Session> {
        let mut new = Session::with_geometry(Arc::clone(&self.engine), self.geometry)?;
        let snapshot = self.snapshot()?;
        new.rewind(&snapshot)?;
        Ok(new)
    }
}

/// Fills `piece` from the beginning of `rest`.
fn take(rest: &mut &[u8], piece: &mut [u8]) -> Result<()> {
    let Some((first, after)) = rest.split_at_checked(piece.len()) else {
        let (wanted, left) = (piece.len(), rest.len());
        return Err(Error::Argument(format!("an image ends {} bytes early", wanted - left)));
    };
    piece.copy_from_slice(first);
    *rest = after;
    Ok(())
}
