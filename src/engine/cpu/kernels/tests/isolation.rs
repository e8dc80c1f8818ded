//! A NaN or an infinity of one row must not reach another: sequences are computed together, and a
//! broken one must not break its neighbors. What is compared is bits.

use super::*;

const ODD: [f32; 4] = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// Tokens per block: whole tiles on every machine, plus some left over.
const TOKENS: usize = 15;

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// `x` with odd values in row `row` of `cols` values: throughout, or at one position.
fn poisoned(x: &[f32], cols: usize, row: usize, numbers: &mut Numbers) -> Vec<f32> {
    let mut x = x.to_vec();
    let odd = ODD[numbers.below(ODD.len())];
    let values = &mut x[row * cols..][..cols];
    match numbers.below(4) {
        0 => values.fill(odd),
        1 => values[0] = odd,
        2 => values[cols - 1] = odd,
        _ => values[numbers.below(cols)] = odd,
    }
    x
}

/// Products of all rows of weights with all tokens, `[token][row]`: one token at a time, and with
/// panels.
fn products(k: &Kernels, w: &Weights, x: &[f32]) -> [Vec<f32>; 2] {
    let (rows, tokens) = (w.rows(), x.len() / w.cols);
    let a = activations(k, w.cols, x);
    let mut vectors = vec![0.0; tokens * rows];
    for (t, out) in vectors.chunks_exact_mut(rows).enumerate() {
        // SAFETY: row t of the activations is complete.
        unsafe { k.matvec(w.dtype, &w.bytes, w.cols, a.row(t), out) };
    }
    [vectors, panel_product(k, w, x)]
}

#[test]
fn a_broken_row_of_activations_changes_no_other() {
    let mut numbers = Numbers(10);
    for dtype in DType::ALL {
        for &cols in widths(dtype) {
            let rows = 1 + numbers.below(PANEL);
            let w = Weights::random(dtype, rows, cols, &mut numbers);
            let clean = inputs(&mut numbers, TOKENS * cols);
            for broken in 0..TOKENS {
                let x = poisoned(&clean, cols, broken, &mut numbers);
                for k in available() {
                    let ways = products(k, &w, &clean).into_iter().zip(products(k, &w, &x));
                    for (way, (expected, got)) in ["matvec", "matmul"].into_iter().zip(ways) {
                        for t in (0..TOKENS).filter(|&t| t != broken) {
                            let of_token = t * rows..(t + 1) * rows;
                            assert_eq!(
                                bits(&got[of_token.clone()]),
                                bits(&expected[of_token]),
                                "{}: {way} {dtype}, {cols} values, token {t} beside {broken}",
                                k.name
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_broken_row_of_weights_changes_no_other() {
    let mut numbers = Numbers(11);
    for dtype in DType::ALL {
        for &cols in widths(dtype) {
            let rows = 1 + numbers.below(PANEL);
            let clean = Weights::random(dtype, rows, cols, &mut numbers);
            let x = inputs(&mut numbers, TOKENS * cols);
            for broken in 0..rows {
                let mut bytes = clean.bytes.clone();
                let row =
                    &mut bytes[broken * clean.bytes.len() / rows..][..clean.bytes.len() / rows];
                let odd = ODD[numbers.below(ODD.len())];
                if dtype.is_quantized() {
                    set_scales(dtype, row, || odd);
                } else {
                    quantize(dtype, &vec![odd; cols], row).unwrap();
                }
                let w = Weights::new(dtype, cols, bytes);
                for k in available() {
                    let ways = products(k, &clean, &x).into_iter().zip(products(k, &w, &x));
                    for (way, (expected, got)) in ["matvec", "matmul"].into_iter().zip(ways) {
                        for i in (0..got.len()).filter(|i| i % rows != broken) {
                            assert_eq!(
                                got[i].to_bits(),
                                expected[i].to_bits(),
                                "{}: {way} {dtype}, {cols} values, row {} of {rows} beside {broken}",
                                k.name,
                                i % rows
                            );
                        }
                    }
                }
            }
        }
    }
}

fn attention_case<K: Kept>(
    case: &AttentionCase,
    broken: &AttentionCase,
    same: impl Fn(usize) -> bool,
) {
    for k in available() {
        let parts = [1, 3].map(|parts| {
            (format!("{parts} parts"), case.run::<K>(k, parts), broken.run::<K>(k, parts))
        });
        let blocks = [1, case.heads].map(|tokens| {
            let block = |case: &AttentionCase| case.run_block::<K>(k, tokens);
            (format!("a block of {tokens} tokens"), block(case), block(broken))
        });
        for (way, expected, got) in parts.into_iter().chain(blocks) {
            for i in (0..got.len()).filter(|i| same(i / case.head_dim)) {
                assert_eq!(
                    got[i].to_bits(),
                    expected[i].to_bits(),
                    "{}: {way}, value {i} of heads of {}",
                    k.name,
                    case.head_dim
                );
            }
        }
    }
}

#[test]
fn a_broken_query_head_changes_no_other() {
    let mut numbers = Numbers(12);
    for head_dim in [2, 6, 16, 64, 80] {
        for rows in [1, 31, 33, 200] {
            let seed = numbers.bits();
            let case = || AttentionCase::new(5, head_dim, rows, 1.0, &mut Numbers(seed)).in_bytes();
            for broken in 0..5 {
                let clean = case();
                let mut other = case();
                other.q = poisoned(&clean.q, head_dim, broken, &mut numbers);
                attention_case::<Single>(&clean, &other, |head| head != broken);
                attention_case::<Half>(&clean, &other, |head| head != broken);
                attention_case::<Bytes>(&clean, &other, |head| head != broken);
            }
        }
    }
}

/// Ring and window hold rows that a token does not see: not written yet, evicted, or from a broken
/// past.
#[test]
fn rows_that_are_not_seen_change_nothing() {
    let mut numbers = Numbers(13);
    for head_dim in [2, 6, 16, 64, 80] {
        for rows in [1, 31, 33, 200] {
            let seed = numbers.bits();
            let case = || AttentionCase::new(3, head_dim, rows, 1.0, &mut Numbers(seed)).in_bytes();
            let mut broken = case();
            let odd = ODD[numbers.below(ODD.len())];
            let mut seen = broken.places.each_ref().map(|[k, _]| vec![false; k.len() / head_dim]);
            for run in &broken.runs {
                let index = [Place::Ring, Place::Window, Place::Block]
                    .iter()
                    .position(|place| *place == run.place)
                    .unwrap();
                (0..run.len).for_each(|i| seen[index][run.row(i)] = true);
            }
            for (sides, seen) in broken.places.iter_mut().zip(&seen) {
                for side in sides {
                    let rows = side.chunks_exact_mut(head_dim).zip(seen);
                    rows.filter(|(_, seen)| !**seen).for_each(|(row, _)| row.fill(odd));
                }
            }
            attention_case::<Single>(&case(), &broken, |_| true);
            attention_case::<Half>(&case(), &broken, |_| true);
            attention_case::<Bytes>(&case(), &broken, |_| true);
        }
    }
}
