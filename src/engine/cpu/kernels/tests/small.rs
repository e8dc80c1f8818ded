//! Every kernel on inputs small enough for Miri (`scripts/soundness.sh miri`), which sees what other
//! tests cannot: a read past a buffer that happens to be mapped, an unaligned access, a value that
//! was never written. Sizes end in the middle of a vector of 16 lanes.

use super::*;

#[test]
fn small_products() {
    let mut numbers = Numbers(21);
    for dtype in DType::ALL {
        let cols = match dtype.block_len() {
            1 => 19,
            32 => 96,
            block => block,
        };
        let w = Weights::random(dtype, 3, cols, &mut numbers);
        // A whole tile of tokens of the portable table, and one left over.
        check_products(&w, &inputs(&mut numbers, 5 * cols), false, 1);
    }
}

#[test]
fn small_scan() {
    let mut numbers = Numbers(22);
    let reset = [true, false, false, true, false];
    ScanCase::new(6, 5, reset.to_vec(), &mut numbers).check(&[0, 2]);
}

#[test]
fn small_convolution() {
    let mut numbers = Numbers(23);
    let (taps, channels, tokens) = (4, 19, 3);
    let [weight, past, x] = [taps, taps - 1, tokens].map(|rows| numbers.normals(rows * channels));
    let bias = numbers.normals(channels);
    let case = Conv { taps, weight: &weight, bias: &bias, past: &past, channels };
    for k in available() {
        let mut out = vec![UNTOUCHED; tokens * channels];
        let input = Strided { at: x.as_ptr(), stride: channels };
        // SAFETY: inputs and outputs have all the tokens.
        unsafe { k.conv(&case, 1, channels - 1, input, &[0, 1, 2], out.as_mut_ptr()) };
        for token in out.chunks_exact(channels) {
            assert_eq!(token[0], UNTOUCHED, "{}", k.name);
            assert!(token[1..].iter().all(|v| v.abs() < 1e3), "{}: {token:?}", k.name);
        }
    }
}

#[test]
fn small_attention() {
    let case = |head_dim| AttentionCase::new(2, head_dim, 5, 1.0, &mut Numbers(24));
    case(6).check::<Single>(2);
    case(6).rounded().check::<Half>(2);
    case(6).in_bytes().check::<Bytes>(2);
    case(32).run::<Fours>(portable(), 2);
    case(32).run_block::<Fours>(portable(), 2);
}
