//! Command buffers that know what they contain: work is counted when it is submitted, since commands may be
//! encoded ahead and never be needed.

use std::ops::{Deref, DerefMut};
use wgpu::{CommandBuffer, CommandEncoder};

/// An encoder, and what it was given so far.
pub(super) struct Encoder {
    inner: CommandEncoder,
    contents: Contents,
}

/// What a command buffer contains.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Contents {
    pub dispatches: u64,
    pub passes: u64,
}

/// Encoded commands, to be submitted once.
pub(super) struct Commands {
    pub inner: CommandBuffer,
    pub contents: Contents,
}

impl Encoder {
    pub fn new(device: &wgpu::Device) -> Encoder {
        let inner = device.create_command_encoder(&Default::default());
        Encoder { inner, contents: Contents::default() }
    }

    /// Counts a pass of this many dispatches.
    pub fn count(&mut self, dispatches: u64) {
        self.contents.dispatches += dispatches;
        self.contents.passes += 1;
    }

    pub fn finish(self) -> Commands {
        Commands { inner: self.inner.finish(), contents: self.contents }
    }
}

impl Deref for Encoder {
    type Target = CommandEncoder;

    fn deref(&self) -> &CommandEncoder {
        &self.inner
    }
}

impl DerefMut for Encoder {
    fn deref_mut(&mut self) -> &mut CommandEncoder {
        &mut self.inner
    }
}
