//! A session at some point in time, kept in memory: to return to, or to continue from twice.

use super::Session;
use crate::engine::Geometry;
use crate::error::{Error, Result};
use crate::model::Model;
#[cfg(feature = "text")]
use crate::model::ModelSpec;
use crate::room;
use std::sync::Arc;

/// A session at some point in time. Takes as much memory as the part of the state that was in use,
/// plus one row of logits.
pub struct Snapshot {
    model: Arc<Model>,
    geometry: Geometry,
    position: u64,
    /// The block tables of the state, encoded.
    tables: Box<[u64]>,
    /// Logits of the last token, if the session had them.
    logits: Option<Vec<f32>>,
    image: Vec<u8>,
}

impl Snapshot {
    /// The maximum bytes that a snapshot of a session of this geometry holds.
    #[cfg(feature = "text")]
    pub(crate) fn most_bytes(spec: &ModelSpec, geometry: Geometry) -> Result<u64> {
        let tables = geometry.layout(spec)?.most_numbers(super::header::FARTHEST).saturating_mul(8);
        let logits = 4 * spec.vocab as u64;
        Ok(geometry.state_bytes(spec).saturating_add(tables).saturating_add(logits))
    }

    /// Tokens that the session had processed.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        let logits = self.logits.as_ref().map_or(0, Vec::capacity);
        (self.image.capacity() + 8 * self.tables.len() + 4 * logits) as u64
    }
}

impl Session {
    /// Bytes that [`Session::snapshot`] would hold, before anything is allocated.
    #[cfg(feature = "text")]
    pub(crate) fn snapshot_bytes(&self) -> u64 {
        let tables = self.sequence.tables();
        let logits = if self.sequence.has_logits() { self.spec().vocab as u64 } else { 0 };
        tables.image_bytes().saturating_add(8 * tables.encode().len() as u64 + 4 * logits)
    }

    /// The session as it is now.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the system has no more memory, [`Error::Paused`] while paused.
    pub fn snapshot(&mut self) -> Result<Snapshot> {
        self.fetch_logits()?;
        self.on_any_engine(|session| {
            let pause = session.control.pause.clone();
            let _computing = pause.enter()?;
            session.copy()
        })
    }

    fn copy(&mut self) -> Result<Snapshot> {
        let tables = self.sequence.tables();
        let (position, bytes) = (tables.position(), tables.image_bytes());
        let tables = tables.encode().into_boxed_slice();
        let what = "a snapshot of a session";
        let mut image = room::list(usize::try_from(bytes).unwrap_or(usize::MAX), what)?;
        self.sequence.export(&mut |piece| {
            image.extend_from_slice(piece);
            Ok(())
        })?;
        let model = Arc::clone(self.engine.model());
        let logits = self.sequence.logits().map(|row| room::copy(row, what)).transpose()?;
        Ok(Snapshot { model, geometry: self.geometry, position, tables, logits, image })
    }

    /// Restores a snapshot, earlier or later, of this session or of another one of the same model
    /// and budget. What is computed from there on is bit-identical to what was computed then. If
    /// the engine is lost and has a successor, the session moves to the successor.
    ///
    /// # Errors
    /// [`Error::Argument`] if the snapshot is of another model or budget; the session is unchanged.
    /// [`Error::Paused`] while paused.
    pub fn rewind(&mut self, to: &Snapshot) -> Result<()> {
        self.check(to)?;
        let pause = self.control.pause.clone();
        let _computing = pause.enter()?;
        self.clear_history();
        self.go_to(to)
    }

    fn check(&self, snapshot: &Snapshot) -> Result<()> {
        if !Arc::ptr_eq(&snapshot.model, self.engine.model()) {
            return Err(Error::argument("the snapshot", "is of another model"));
        }
        if snapshot.geometry != self.geometry {
            return Err(Error::argument(
                "the snapshot",
                format!(
                    "is of a session with {}, this one has {}",
                    snapshot.geometry, self.geometry
                ),
            ));
        }
        Ok(())
    }

    /// Like [`Session::rewind`], within a piece of work.
    pub(super) fn go_to(&mut self, to: &Snapshot) -> Result<()> {
        self.check(to)?;
        self.leave_lost_engine()?;
        let saved = self.sequence.tables().decode(to.position, &to.tables);
        let saved = saved.ok_or_else(|| Error::argument("the snapshot", "is damaged"))?;
        let mut rest = &to.image[..];
        let logits = to.logits.as_deref();
        self.sequence.import(saved, logits, &mut |piece| take(&mut rest, piece))
    }

    /// A second session at the same point as this one, independent from here on: what both have
    /// processed, such as a system prompt, is computed once.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the system has no more memory, [`Error::Paused`] while paused.
    pub fn fork(&mut self) -> Result<Session> {
        let snapshot = self.snapshot()?;
        let mut new = Session::with_geometry(&self.engine, self.geometry, self.near)?;
        new.rewind(&snapshot)?;
        Ok(new)
    }
}

/// Fills `piece` from the start of `rest`.
fn take(rest: &mut &[u8], piece: &mut [u8]) -> Result<()> {
    let Some((first, after)) = rest.split_at_checked(piece.len()) else {
        let (wanted, left) = (piece.len(), rest.len());
        return Err(Error::argument("an image", format!("ends {} bytes early", wanted - left)));
    };
    piece.copy_from_slice(first);
    *rest = after;
    Ok(())
}
