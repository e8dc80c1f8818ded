//! Block formats compared with the Python package `gguf`, bit by bit.

mod common;

use attamba::quant::{DType, dequantize, quantize};
use common::python::run_python;
use std::path::Path;

/// Reads `<name>.in` of each type named and writes `<name>.out`.
const JUDGE: &str = r#"
import sys, warnings
import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize

warnings.simplefilter("ignore")
folder, task, *names = sys.argv[1:]
for name in names:
    kind = GGMLQuantizationType[name]
    data = np.fromfile(f"{folder}/{name}.in", np.uint8)
    if task == "dequantize":
        result = dequantize(data, kind).astype("<f4")
    else:
        result = quantize(data.view("<f4"), kind).view(np.uint8)
    result.tofile(f"{folder}/{name}.out")
"#;

/// The package's output for the input of each type.
fn judge(task: &str, inputs: &[(DType, Vec<u8>)]) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let file = |dtype: DType, end: &str| folder.path().join(format!("{dtype}.{end}"));
    let mut args = vec![path(folder.path()), task];
    for (dtype, input) in inputs {
        std::fs::write(file(*dtype, "in"), input).unwrap();
        args.push(dtype.name());
    }
    run_python(JUDGE, &args);
    inputs.iter().map(|(dtype, _)| std::fs::read(file(*dtype, "out")).unwrap()).collect()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary path in UTF-8")
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn bytes(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Numbers that never change (xorshift64*, Vigna 2016).
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.bits() >> 56) as u8).collect()
    }

    /// Uniform in 0..1, neither end included.
    fn uniform(&mut self) -> f32 {
        ((self.bits() >> 41) as f32 + 0.5) / (1 << 23) as f32
    }

    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }
}

/// Asserts that two lists hold the same numbers to the last bit, the sign of zero included, and
/// NaN in the same places: which NaN an operation gives is the processor's choice.
fn assert_same(dtype: DType, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{dtype}");
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        assert!(
            same,
            "{dtype}, value {i}: {a:e} ({:08x}), not {b:e} ({:08x})",
            a.to_bits(),
            b.to_bits()
        );
    }
}

fn assert_dequantized_alike(inputs: &[(DType, Vec<u8>)]) {
    for ((dtype, input), output) in inputs.iter().zip(judge("dequantize", inputs)) {
        let theirs = floats(&output);
        let mut ours = vec![0.0; theirs.len()];
        dequantize(*dtype, input, &mut ours).unwrap();
        assert_same(*dtype, &ours, &theirs);

        // Also from an odd address: tensors of a file need not be aligned.
        let mut moved = vec![0];
        moved.extend(input);
        ours.fill(0.0);
        dequantize(*dtype, &moved[1..], &mut ours).unwrap();
        assert_same(*dtype, &ours, &theirs);
    }
}

fn block_bytes(dtype: DType) -> usize {
    dtype.bytes_of(dtype.block_len()).unwrap()
}

/// Any byte may occur anywhere in a block, so scales may be NaN, infinite or subnormal.
#[test]
fn random_bytes_are_dequantized_as_by_the_package() {
    let mut numbers = Numbers(0x5eed);
    let inputs: Vec<_> =
        DType::ALL.into_iter().map(|t| (t, numbers.bytes(4096 * block_bytes(t)))).collect();
    assert_dequantized_alike(&inputs);
}

/// Scales as models have them: random bytes are mostly far too large or small.
#[test]
fn blocks_with_usual_scales_are_dequantized_as_by_the_package() {
    let mut numbers = Numbers(0xb10c);
    let mut inputs = Vec::new();
    for dtype in DType::ALL.into_iter().filter(|t| t.block_len() > 1) {
        let scales_at: &[usize] = match dtype {
            DType::Q4_0 | DType::Q5_0 | DType::Q8_0 | DType::IQ4_NL | DType::IQ4_XS => &[0],
            DType::Q2_K => &[80, 82],
            DType::Q3_K => &[108],
            DType::Q6_K => &[208],
            DType::MXFP4 => &[],
            _ => &[0, 2],
        };
        let mut input = numbers.bytes(4096 * block_bytes(dtype));
        for block in input.chunks_mut(block_bytes(dtype)) {
            for &at in scales_at {
                let scale = half::f16::from_f32(0.02 * numbers.normal());
                block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
            }
        }
        inputs.push((dtype, input));
    }
    assert_dequantized_alike(&inputs);
}

#[test]
fn every_half_is_widened_as_by_the_package() {
    let halves: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    assert_dequantized_alike(&[(DType::F16, halves.clone()), (DType::BF16, halves)]);
}

/// Finite values of the kinds that distinguish correct rounding from almost correct.
fn values() -> Vec<f32> {
    let mut numbers = Numbers(0xda7a);
    let mut values = Vec::new();
    let mut block = |make: &mut dyn FnMut(usize) -> f32| values.extend((0..256).map(make));
    for _ in 0..256 {
        block(&mut |_| numbers.normal());
        block(&mut |_| 0.02 * numbers.normal());
        // Of every size.
        let size = (40.0 * numbers.uniform() - 28.0).exp2();
        block(&mut |_| size * numbers.normal());
        // Halves of a step that is exact: ties.
        let ties = ((numbers.bits() % 20) as f32 - 10.0).exp2();
        let most = [7.0, 8.0, 15.0, 127.0][(numbers.bits() % 4) as usize];
        block(&mut |i| match i % 32 {
            0 => most * ties,
            1 => -most * ties,
            _ => ties * ((numbers.uniform() - 0.5) * 4.0 * most).round() / 2.0,
        });
        // The largest magnitude more than once, with either sign.
        block(&mut |_| (numbers.bits() % 3) as f32 - 1.0);
    }
    for constant in [0.0, -0.0, 1.0, -1.0, 0.3, 6e4, -6e4, 65520.0, 1e6, 1e-8, 1e-30, -1e-30] {
        block(&mut |_| constant);
    }
    block(&mut |i| if i % 32 == 9 { 1.0 } else { 0.0 });
    values
}

fn assert_quantized_alike(dtypes: &[DType], values: &[f32]) {
    let inputs: Vec<_> = dtypes.iter().map(|&t| (t, bytes(values))).collect();
    for ((dtype, _), theirs) in inputs.iter().zip(judge("quantize", &inputs)) {
        let mut ours = vec![0; dtype.bytes_of(values.len()).unwrap()];
        quantize(*dtype, values, &mut ours).unwrap();
        assert_eq!(ours.len(), theirs.len(), "{dtype}");
        let len = block_bytes(*dtype);
        for (i, (ours, theirs)) in ours.chunks(len).zip(theirs.chunks(len)).enumerate() {
            let from = &values[i * dtype.block_len()..][..dtype.block_len()];
            assert_eq!(ours, theirs, "{dtype}, block {i}: {from:?}");
        }
    }
}

#[test]
fn values_are_quantized_as_by_the_package() {
    let dtypes = [DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4_1];
    assert_quantized_alike(&dtypes, &values());
}

/// Every pattern of the upper half, with lower halves about where rounding turns.
#[test]
fn singles_are_narrowed_as_by_the_package() {
    let every = (0..=u16::MAX).flat_map(|upper| {
        [0, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff]
            .map(|lower| f32::from_bits(u32::from(upper) << 16 | lower))
    });
    assert_quantized_alike(&[DType::BF16], &every.clone().collect::<Vec<_>>());
    let numbers: Vec<f32> = every.filter(|v| !v.is_nan()).collect();
    assert_quantized_alike(&[DType::F16], &numbers);
}

/// What this library writes is read the same way by the package.
#[test]
fn blocks_with_a_search_are_read_by_the_package_as_they_were_meant() {
    // Root mean squares of the error for standard normal values, in thousandths.
    let expected = [
        (DType::Q3_K, 170),
        (DType::IQ4_NL, 90),
        (DType::Q4_K, 85),
        (DType::Q5_K, 45),
        (DType::Q6_K, 23),
    ];
    let values = values();
    let mut inputs = Vec::new();
    for (dtype, _) in expected {
        let mut blocks = vec![0; dtype.bytes_of(values.len()).unwrap()];
        quantize(dtype, &values, &mut blocks).unwrap();
        inputs.push((dtype, blocks));
    }
    assert_dequantized_alike(&inputs);
    for ((dtype, most), output) in expected.iter().zip(judge("dequantize", &inputs)) {
        // The first block of `values` is standard normal.
        let error: f32 =
            floats(&output)[..256].iter().zip(&values).map(|(a, b)| (a - b).powi(2)).sum();
        let error = (error / 256.0).sqrt();
        println!("{dtype}: {error}");
        assert!(
            1000.0 * error < *most as f32,
            "{dtype}: root mean square error {error} of a unit normal"
        );
    }
}
