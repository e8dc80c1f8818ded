//! Validation at load: each kernel runs on a small input, and its output is compared with that of
//! its twin. Drivers that compute wrong results exist by the dozen; none of them says so.

use super::cases::{Case, Values, case};
use super::commands::Encoder;
use super::device::Device;
use super::kernel::Kernel;
use super::pipelines::Pipeline;
use crate::error::{Error, Result};
use half::f16;
use wgpu::{Buffer, BufferUsages};

/// Tolerance, relative to the largest of four neighbors: keys and values in half precision are off
/// by 2^-11, and sums are taken in a different order.
const TOLERANCE: f32 = 2e-3;

/// The same of products whose factors are rounded to halves, some of which are so small that they have
/// fewer bits.
const ROUNDED_TOLERANCE: f32 = 8e-3;

/// Values that are compared together.
const NEIGHBORS: usize = 4;

/// The seed of the input that every kernel must pass at load.
const SEED: u64 = 3;

/// Runs a kernel on its input.
///
/// # Errors
/// [`Error::Gpu`] with the difference, and the errors of the device.
pub(super) fn prove(device: &Device, pipeline: &Pipeline) -> Result<()> {
    prove_with(device, pipeline, SEED)
}

/// Like [`prove`], on the input of another seed.
pub(super) fn prove_with(device: &Device, pipeline: &Pipeline, seed: u64) -> Result<()> {
    let case = case(pipeline.kernel, seed);
    let results = run(device, pipeline, &case)?;
    let tolerance = match pipeline.kernel {
        Kernel::Matmul { rounded: true, .. } => ROUNDED_TOLERANCE,
        _ => TOLERANCE,
    };
    for (expected, words) in case.expected.iter().zip(results) {
        let difference = match &expected.values {
            Values::Words(want) => first_word(want, &words, |want, got| want == got),
            Values::Integers(want) => first_word(want, &words, integers_alike),
            Values::Nibbles(want) => first_word(want, &words, nibbles_alike),
            Values::Floats(want) => {
                let got: Vec<f32> = words.iter().map(|w| f32::from_bits(*w)).collect();
                compare(want, &got, tolerance)
            }
            Values::Halves(want) => {
                let halves = words.iter().flat_map(|w| [*w as u16, (*w >> 16) as u16]);
                let got: Vec<f32> = halves.map(|h| f16::from_bits(h).to_f32()).collect();
                compare(want, &got, tolerance)
            }
        };
        if let Some(difference) = difference {
            let binding = expected.binding + 1;
            return Err(Error::Gpu(format!("wrong result in binding {binding}: {difference}")));
        }
    }
    Ok(())
}

/// Describes the first word that is not `alike`.
fn first_word(want: &[u32], got: &[u32], alike: fn(u32, u32) -> bool) -> Option<String> {
    let at = want.iter().zip(got).position(|(want, got)| !alike(*want, *got))?;
    Some(format!("word {at} is {:#x} where {:#x} is right", got[at], want[at]))
}

/// Whether two words are four integers each that differ by rounding, or floats that do.
fn integers_alike(want: u32, got: u32) -> bool {
    let bytes = want.to_le_bytes().into_iter().zip(got.to_le_bytes());
    let [a, b] = [want, got].map(f32::from_bits);
    bytes.map(|(a, b)| (a as i8).abs_diff(b as i8)).all(|off| off <= 1)
        || (a - b).abs() <= 1e-6 * a.abs()
}

/// Whether two words are eight integers each that differ by rounding, or two halves that do.
fn nibbles_alike(want: u32, got: u32) -> bool {
    let off = |bits: u32, shift: u32| {
        let part = |word: u32| (word >> shift) & ((1 << bits) - 1);
        part(want).abs_diff(part(got))
    };
    (0..8).all(|i| off(4, 4 * i) <= 1) || (0..2).all(|i| off(16, 16 * i) <= 1)
}

/// Describes the first value that is too far off.
fn compare(want: &[f32], got: &[f32], tolerance: f32) -> Option<String> {
    let groups = want.chunks(NEIGHBORS).zip(got.chunks(NEIGHBORS));
    for (group, (want, got)) in groups.enumerate() {
        let greatest = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        // Close to zero, such as after an exponential that vanishes, relative errors mean nothing.
        let bound = tolerance * greatest.max(1e-12);
        for (i, (want, got)) in want.iter().zip(got).enumerate() {
            // Written so that a NaN is too far off.
            let near = (want - got).abs() <= bound;
            if !near {
                let at = group * NEIGHBORS + i;
                return Some(format!("value {at} is {got} where {want} is right"));
            }
        }
    }
    None
}

/// The words of the bindings with expected contents.
fn run(device: &Device, pipeline: &Pipeline, case: &Case) -> Result<Vec<Vec<u32>>> {
    let what = "the input of a validation run";
    let filled = |words: &[u8], usage: BufferUsages| -> Result<Buffer> {
        let buffer = device.buffer(words.len() as u64, usage | BufferUsages::COPY_DST, what)?;
        device.queue.write_buffer(&buffer, 0, words);
        Ok(buffer)
    };
    let uniform = filled(&case.params, BufferUsages::UNIFORM)?;
    let storage = BufferUsages::STORAGE | BufferUsages::COPY_SRC;
    let buffers = case
        .bindings
        .iter()
        .map(|words| filled(bytemuck::cast_slice(words), storage))
        .collect::<Result<Vec<_>>>()?;
    let group = device.bind(&pipeline.layout, std::iter::once(&uniform).chain(&buffers), what)?;

    let bytes: u64 = case.expected.iter().map(|e| 4 * case.bindings[e.binding].len() as u64).sum();
    let staging = device.staging(bytes, what)?;
    let commands = device.scoped(0, what, || {
        let mut encoder = Encoder::new(&device.inner);
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(&pipeline.inner);
            pass.set_bind_group(0, &group, &[]);
            let [x, y, z] = pipeline.grid(case.items);
            pass.dispatch_workgroups(x, y, z);
        }
        let mut at = 0;
        for expected in &case.expected {
            let len = 4 * case.bindings[expected.binding].len() as u64;
            encoder.copy_buffer_to_buffer(&buffers[expected.binding], 0, &staging, at, len);
            at += len;
        }
        encoder.finish()
    })?;
    device.submit([commands])?;
    device.read(&staging, bytes, |bytes| {
        let mut words = bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b));
        let lens = case.expected.iter().map(|e| case.bindings[e.binding].len());
        lens.map(|len| words.by_ref().take(len).collect()).collect()
    })
}
