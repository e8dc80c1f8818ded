//! Memory pressure: a session that continues with less memory.

use super::{Session, wish};
use crate::error::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Asks a session to shrink, from any thread, even in the middle of a call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shrink(Arc<AtomicU64>);

impl Default for Shrink {
    fn default() -> Shrink {
        Shrink(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Shrink {
    /// Before its next block of tokens the session does what [`Session::shrink`] does. A request
    /// that can't be met is logged and dropped.
    pub fn request(&self, bytes: u64) {
        self.0.fetch_min(bytes, Ordering::Relaxed);
    }

    fn take(&self) -> Option<u64> {
        let bytes = self.0.swap(u64::MAX, Ordering::Relaxed);
        (bytes != u64::MAX).then_some(bytes)
    }
}

impl Session {
    /// Does what was requested since the last block, while nothing is computed.
    pub(super) fn shrink_as_asked(&mut self) {
        let Some(bytes) = self.control.shrink.take() else { return };
        match self.shrink_to(bytes) {
            Ok(()) => log::info!("the session is shrunk to {} bytes", self.memory().state),
            Err(e) => log::warn!("the session can't be shrunk: {e}"),
        }
    }

    /// Shrinks the state to fit in `bytes`, at once and without processing any token again: chunk
    /// states are dropped or thinned, according to the session's eviction policy. Where some heads
    /// see far, the others give up states first, down to what the session was opened with as
    /// [`Options::with_near`](super::Options::with_near), or to the profile's `near_window`; then
    /// those that see far do, and in the end all. A budget that
    /// is larger than what the session has changes nothing. Earlier snapshots belong to a larger
    /// session and can't be restored.
    ///
    /// While paused, which is when a system asks for memory, a session of the CPU engine is shrunk at
    /// once too; one on a GPU, which must not be used then, before its next block.
    ///
    /// # Errors
    /// [`Error::Budget`](crate::Error::Budget) if not even one chunk state fits in the bytes, and
    /// those of the engine; the session is unchanged.
    pub fn shrink(&mut self, bytes: u64) -> Result<()> {
        self.on_any_engine(|session| {
            let pause = session.control.pause.clone();
            let computing = pause.enter();
            if computing.is_err() && session.engine.has_device() {
                wish::shrunk(session.spec(), session.geometry, session.near, bytes)?;
                session.control.shrink(bytes);
                return Ok(());
            }
            session.shrink_to(bytes)
        })
    }

    fn shrink_to(&mut self, bytes: u64) -> Result<()> {
        let spec = self.spec();
        let smaller = wish::shrunk(spec, self.geometry, self.near, bytes)?;
        if smaller != self.geometry {
            let rings = smaller.rings(spec)?;
            self.sequence.shrink(&rings)?;
            self.geometry = smaller;
        }
        Ok(())
    }
}
