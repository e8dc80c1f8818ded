//! Uploads weights from the file to the GPU, in bounded pieces. The queue keeps the data of a write
//! until the next submission, so there is a submission whenever enough is in flight; pages of the
//! file are released as soon as they have been read.

use super::device::Device;
use super::format::{Format, PIECE, QUAD, Row};
use crate::error::{Error, Result};
use crate::model::Matrix;
use crate::quant::DType;
use crate::room;
use std::ops::Range;
use wgpu::Buffer;

/// Maximum bytes in flight.
const IN_FLIGHT: u64 = 16 << 20;
/// Bytes that are laid out at a time.
const BATCH: usize = 2 << 20;

/// A matrix whose row `i` is row `first + step * i` of a stack.
pub(super) struct Source<'a> {
    pub matrix: &'a Matrix,
    pub first: usize,
    pub step: usize,
}

pub(super) struct Upload<'a> {
    device: &'a Device,
    /// Gets the bytes of matrices uploaded so far and the total, and returns whether to continue.
    progress: &'a mut dyn FnMut(u64, u64) -> bool,
    done: u64,
    all: u64,
    in_flight: u64,
    quants: Vec<u32>,
    scales: Vec<u32>,
    row: Row,
}

impl<'a> Upload<'a> {
    /// For matrices that take `all` bytes.
    pub fn new(
        device: &'a Device,
        all: u64,
        progress: &'a mut dyn FnMut(u64, u64) -> bool,
    ) -> Upload<'a> {
        let (quants, scales, row) = Default::default();
        Upload { device, progress, done: 0, all, in_flight: 0, quants, scales, row }
    }

    /// Maximum bytes of a part of the weights.
    pub fn largest(&self) -> usize {
        self.device.binding as usize
    }

    /// A buffer of floats, padded to whole pieces.
    pub fn floats(&mut self, values: &[f32], what: &'static str) -> Result<Buffer> {
        let bytes = 4 * values.len().next_multiple_of(PIECE) as u64;
        let buffer = self.device.storage(bytes, what)?;
        self.write(&buffer, 0, bytemuck::cast_slice(values))?;
        Ok(buffer)
    }

    /// Quants and scales of `count` rows, a multiple of [`QUAD`], in single precision; those beyond `rows` are
    /// zero.
    pub fn float_rows(&mut self, rows: &[&[f32]], count: usize) -> Result<[Buffer; 2]> {
        let pieces = rows.first().map_or(0, |row| row.len()).div_ceil(PIECE);
        let (mut quants, mut scales) = (Vec::new(), Vec::new());
        room::refill(&mut quants, count * Format::F32.quant_words(pieces), "an upload")?;
        room::refill(&mut scales, count * Format::F32.scale_words(pieces), "an upload")?;
        for (at, row) in rows.iter().enumerate() {
            self.row.read(DType::F32, bytemuck::cast_slice(row), pieces);
            self.row.put(at, &mut quants, &mut scales);
        }
        let mut uploaded = |words: &[u32]| {
            let buffer = self.device.storage(4 * words.len() as u64, "weights")?;
            self.write(&buffer, 0, bytemuck::cast_slice(words))?;
            self.done += 4 * words.len() as u64;
            Ok(buffer)
        };
        Ok([uploaded(&quants)?, uploaded(&scales)?])
    }

    /// Quants and scales of some rows of a stack of matrices with the same format and width, whole
    /// quads.
    pub fn rows(&mut self, sources: &[Source], rows: Range<usize>) -> Result<[Buffer; 2]> {
        let matrix = sources[0].matrix;
        let format = Format::of(matrix.dtype);
        let pieces = matrix.cols.div_ceil(PIECE);
        let (quants, scales) = (format.quant_words(pieces), format.scale_words(pieces));
        let words = |a_row: usize| 4 * (a_row * rows.len()) as u64;
        let buffers = [
            self.device.storage(words(quants), "weights")?,
            self.device.storage(words(scales), "scales of weights")?,
        ];
        let batch = (BATCH / (4 * (quants + scales)) / QUAD * QUAD).max(QUAD);
        for first in rows.clone().step_by(batch) {
            let some = first..rows.end.min(first + batch);
            self.lay_out(sources, some.clone(), (quants, scales))?;
            let at = (some.start - rows.start) as u64;
            let laid_out = [std::mem::take(&mut self.quants), std::mem::take(&mut self.scales)];
            for (buffer, words) in buffers.iter().zip(&laid_out) {
                let offset = at * 4 * (words.len() / some.len()) as u64;
                self.write(buffer, offset, bytemuck::cast_slice(words))?;
                self.done += 4 * words.len() as u64;
            }
            [self.quants, self.scales] = laid_out;
            if !(self.progress)(self.done, self.all) {
                return Err(Error::Cancelled);
            }
        }
        Ok(buffers)
    }

    /// Lays out some rows of a stack, and releases the pages that they came from.
    fn lay_out(
        &mut self,
        sources: &[Source],
        rows: Range<usize>,
        a_row: (usize, usize),
    ) -> Result<()> {
        let (quants, scales) = a_row;
        for (words, a_row) in [(&mut self.quants, quants), (&mut self.scales, scales)] {
            room::refill(words, rows.len() * a_row, "an upload")?;
        }
        for Source { matrix, first, step } in sources {
            let pieces = matrix.cols.div_ceil(PIECE);
            let number = |row: usize| row.saturating_sub(*first).div_ceil(*step).min(matrix.rows);
            let own = number(rows.start)..number(rows.end);
            let stride = matrix.row_bytes();
            for i in own.clone() {
                let row = &matrix.bytes()[i * stride..][..stride];
                self.row.read(matrix.dtype, row, pieces);
                self.row.put(first + step * i - rows.start, &mut self.quants, &mut self.scales);
            }
            matrix.release(own);
        }
        Ok(())
    }

    fn write(&mut self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.in_flight + bytes.len() as u64 > IN_FLIGHT {
            self.finish()?;
        }
        self.device.scoped(bytes.len() as u64, "an upload", || {
            self.device.queue.write_buffer(buffer, offset, bytes);
        })?;
        self.in_flight += bytes.len() as u64;
        Ok(())
    }

    /// Waits until everything has arrived.
    pub fn finish(&mut self) -> Result<()> {
        self.device.submit([])?;
        self.device.wait()?;
        self.in_flight = 0;
        Ok(())
    }
}
