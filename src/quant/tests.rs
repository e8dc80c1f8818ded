//! Tests that apply to every format; those for a single format are in its file.

use super::*;
use proptest::prelude::*;

/// Numbers that never change: a linear congruential generator (Knuth's MMIX).
pub(super) struct Numbers(pub u64);

impl Numbers {
    /// Uniform in 0..1, neither end included.
    fn uniform(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 41) as f32 + 0.5) / (1 << 23) as f32
    }

    /// Standard normal (Box and Muller).
    pub(super) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }
}

pub(super) fn round_trip(dtype: DType, values: &[f32]) -> Vec<f32> {
    let mut bytes = vec![0; dtype.bytes_of(values.len()).unwrap()];
    quantize(dtype, values, &mut bytes).unwrap();
    let mut back = vec![0.0; values.len()];
    dequantize(dtype, &bytes, &mut back).unwrap();
    back
}

pub(super) fn rms_error(a: &[f32], b: &[f32]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    (squares / a.len() as f64).sqrt()
}

/// Blocks of values of many kinds for K formats, each with a name.
pub(super) fn samples() -> Vec<(&'static str, Vec<f32>)> {
    let mut numbers = Numbers(1);
    let mut sample = |f: &dyn Fn(f32, f32) -> f32| {
        (0..8192).map(|_| f(numbers.normal(), numbers.normal())).collect()
    };
    vec![
        ("normal", sample(&|x, _| 0.02 * x)),
        ("heavy-tailed", sample(&|x, y| 0.02 * x * y.exp())),
        ("all positive", sample(&|x, _| 1.0 + 0.1 * x)),
        ("all negative", sample(&|x, _| -1.0 + 0.1 * x)),
        ("huge", sample(&|x, _| 6e4 * x)),
        ("small", sample(&|x, _| 1e-4 * x)),
        ("where f16 is coarse", sample(&|x, _| 2e-6 * x)),
    ]
}

fn writable() -> impl Iterator<Item = DType> {
    DType::ALL.into_iter().filter(|t| t.can_quantize())
}

fn any_writable() -> impl Strategy<Value = DType> {
    proptest::sample::select(writable().collect::<Vec<_>>())
}

/// Floats by their bits: NaNs, infinities and subnormals as often as anything else of their size.
fn any_floats() -> impl Strategy<Value = Vec<f32>> {
    prop_oneof![
        proptest::collection::vec(any::<u32>().prop_map(f32::from_bits), 256),
        proptest::collection::vec(any::<f32>(), 256),
        proptest::collection::vec(-1e-6f32..1e-6, 256),
        proptest::collection::vec(-1e-38f32..1e-38, 256),
        any::<f32>().prop_map(|v| vec![v; 256]),
    ]
}

#[test]
fn lengths_that_do_not_match_are_errors_with_numbers() {
    for dtype in DType::ALL {
        let values = 2 * dtype.block_len();
        let bytes = 2 * dtype.block_bytes();
        for wrong in [0, bytes - 1, bytes + 1, 2 * bytes] {
            let mut out = vec![7.0; values];
            let error = dequantize(dtype, &vec![0; wrong], &mut out).unwrap_err().to_string();
            let says = format!("{values} values of {dtype} take {bytes} bytes, not {wrong}");
            assert!(error.contains(&says), "{error}");
            assert_eq!(out, vec![7.0; values]);

            let mut out = vec![7; wrong];
            let error = quantize(dtype, &vec![0.0; values], &mut out).unwrap_err().to_string();
            assert!(error.contains(&says), "{error}");
            assert_eq!(out, vec![7; wrong]);
        }
        if dtype.is_quantized() {
            let mut out = vec![0.0; values - 1];
            let error = dequantize(dtype, &vec![0; bytes], &mut out).unwrap_err().to_string();
            assert!(error.contains(&(values - 1).to_string()), "{error}");
        }
    }
}

#[test]
fn nothing_is_no_error() {
    for dtype in DType::ALL {
        dequantize(dtype, &[], &mut []).unwrap();
    }
    for dtype in writable() {
        quantize(dtype, &[], &mut []).unwrap();
    }
}

#[test]
fn types_that_can_only_be_read_say_which_can_be_written() {
    let read_only = DType::ALL.into_iter().filter(|t| !t.can_quantize());
    assert_eq!(read_only.clone().count(), 5);
    for dtype in read_only {
        let mut out = vec![0; dtype.block_bytes()];
        let error = quantize(dtype, &vec![0.0; dtype.block_len()], &mut out).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(&format!("{dtype} can only be read")), "{error}");
        assert!(
            error.contains("F32, F16, Q4_0, Q4_1, Q8_0, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, BF16"),
            "{error}"
        );
    }
}

#[test]
fn every_type_has_the_name_that_files_know() {
    for dtype in DType::ALL {
        assert_eq!(type_name(dtype as u32), dtype.name());
    }
    assert_eq!([16, 40, 99].map(type_name), ["IQ2_XXS", "NVFP4", "type 99"]);
}

#[test]
fn zeros_come_back_as_zeros() {
    for dtype in writable() {
        assert!(round_trip(dtype, &[0.0; 512]).iter().all(|&v| v == 0.0), "{dtype}");
    }
}

#[test]
fn values_below_all_scales_come_back_as_zeros() {
    for dtype in writable().filter(|t| t.is_quantized()) {
        assert!(round_trip(dtype, &[1e-30; 512]).iter().all(|&v| v == 0.0), "{dtype}");
        assert!(round_trip(dtype, &[-1e-30; 512]).iter().all(|&v| v == 0.0), "{dtype}");
    }
}

#[test]
fn constants_come_back_to_the_precision_of_f16() {
    for dtype in writable() {
        for constant in [1.0, -1.0, 0.3, -0.3, 6e4, -6e4] {
            for back in round_trip(dtype, &[constant; 512]) {
                // BF16 has 8 bits, f16 scales have 11; K formats round twice.
                let allowed = if dtype == DType::BF16 { 1.0 / 256.0 } else { 1.0 / 1024.0 };
                let error = ((back - constant) / constant).abs();
                assert!(error <= allowed, "{dtype}: {constant} came back as {back}");
            }
        }
    }
}

#[test]
fn nan_and_infinity_are_never_hidden() {
    let mut numbers = Numbers(2);
    for dtype in writable() {
        for hidden in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 1, 31, 32, 200, 255] {
                let mut values: Vec<f32> = (0..768).map(|_| numbers.normal()).collect();
                values[256 + at] = hidden;
                let back = round_trip(dtype, &values);
                let len = dtype.block_len();
                for (i, block) in back.chunks(len).enumerate() {
                    let holds = i == (256 + at) / len;
                    assert!(block.iter().all(|v| v.is_finite() != holds), "{dtype}: {block:?}");
                }
            }
        }
    }
}

#[test]
fn finite_values_beyond_formats_with_a_search_stay_finite() {
    for dtype in [DType::Q3_K, DType::Q4_K, DType::Q5_K, DType::Q6_K, DType::IQ4_NL] {
        for huge in [1e9, -1e9, f32::MAX, f32::MIN] {
            let mut values = [1.0; 256];
            values[17] = huge;
            let back = round_trip(dtype, &values);
            assert!(back.iter().all(|v| v.is_finite()), "{dtype}: {huge}");
            assert!(back[17] * huge.signum() > 4e6, "{dtype}: {huge} came back as {}", back[17]);
        }
    }
}

proptest! {
    #[test]
    fn any_values_can_be_written(dtype in any_writable(), values in any_floats()) {
        let back = round_trip(dtype, &values);
        // Scales and minima are in half precision, and values beyond its range become infinite, as
        // in the public `gguf` package: Q4_1 keeps the smallest value of a block unchanged.
        if values.iter().all(|v| v.abs() <= half::f16::MAX.to_f32()) {
            prop_assert!(back.iter().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn any_bytes_can_be_read(
        dtype in proptest::sample::select(DType::ALL.to_vec()),
        bytes in proptest::collection::vec(any::<u8>(), 840),
    ) {
        let blocks = bytes.len() / dtype.block_bytes();
        let mut out = vec![0.0; blocks * dtype.block_len()];
        dequantize(dtype, &bytes[..blocks * dtype.block_bytes()], &mut out).unwrap();
    }

    /// Half a step, plus what rounding the scale to f16 may cost.
    #[test]
    fn errors_are_bounded(
        values in proptest::collection::vec(-1.0f32..1.0, 256),
        exponent in -8i32..12,
    ) {
        let values: Vec<f32> = values.iter().map(|v| v * (exponent as f32).exp2()).collect();
        for dtype in writable() {
            let back = round_trip(dtype, &values);
            let len = dtype.block_len();
            for (x, y) in values.chunks(len).zip(back.chunks(len)) {
                let most = x.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                // The end of Q4_0's range without a counterpart may cost a whole step of an eighth.
                // Those with a search minimize squares and may sacrifice a value for the others.
                let steps = match dtype {
                    DType::F32 => 0.0,
                    DType::F16 => 1.0 / 2048.0,
                    DType::BF16 => 1.0 / 256.0,
                    DType::Q8_0 => 0.5 / 127.0,
                    DType::Q4_0 => 1.0 / 8.0,
                    DType::Q4_1 => 1.0 / 15.0,
                    DType::Q6_K => 2.0 / 32.0,
                    DType::Q5_K => 3.0 / 31.0,
                    DType::Q3_K => 3.0 / 8.0,
                    _ => 3.0 / 15.0,
                };
                let allowed = most * (steps + if dtype.is_quantized() { 1e-3 } else { 0.0 }) + 1e-6;
                for (x, y) in x.iter().zip(y) {
                    prop_assert!((x - y).abs() <= allowed, "{dtype}: {x} came back as {y}");
                }
            }
        }
    }
}
