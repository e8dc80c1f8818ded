//! [`Simd`] in plain Rust: the reference for the others, and the fallback for machines without
//! them.

use super::{LANES, Products, Simd};
use half::{bf16, f16};

#[derive(Clone, Copy)]
pub(crate) struct Portable;

type F = [f32; LANES];
type I = [i32; LANES];
type W = [i8; 64];
type A = [i16; 64];

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> F {
    std::array::from_fn(f)
}

impl Simd for Portable {
    type F = F;
    type I = I;

    const REGISTERS: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> F {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> F {
        unsafe { p.cast::<F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> F {
        let v = unsafe { p.cast::<[u16; LANES]>().read_unaligned() };
        each(|i| f16::from_bits(v[i]).to_f32())
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> F {
        let v = unsafe { p.cast::<[u16; LANES]>().read_unaligned() };
        each(|i| bf16::from_bits(v[i]).to_f32())
    }
    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> F {
        let v = unsafe { p.cast::<[i8; LANES]>().read_unaligned() };
        each(|i| f32::from(v[i]))
    }
    #[inline(always)]
    unsafe fn nibbles(p: *const u8) -> [F; 2] {
        let v = unsafe { p.cast::<[u8; LANES]>().read_unaligned() };
        [each(|i| f32::from(v[i] & 15)), each(|i| f32::from(v[i] >> 4))]
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: F) {
        unsafe { p.cast::<F>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: F) {
        let bits: [u16; LANES] = std::array::from_fn(|i| f16::from_f32(v[i]).to_bits());
        unsafe { p.cast::<[u16; LANES]>().write_unaligned(bits) }
    }
    #[inline(always)]
    unsafe fn add(a: F, b: F) -> F {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: F, b: F) -> F {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: F, b: F) -> F {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: F, b: F) -> F {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn max(a: F, b: F) -> F {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: F, b: F) -> F {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn fma(a: F, b: F, c: F) -> F {
        // Not f32::mul_add: without the instruction that is a call for each lane.
        each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn sum(v: F) -> f32 {
        v.iter().sum()
    }
    #[inline(always)]
    unsafe fn greatest(v: F) -> f32 {
        v.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn round(v: F) -> I {
        // Adding 1.5 * 2^23 leaves the integer, rounded to nearest, in the low bits.
        const MAGIC: f32 = 12_582_912.0;
        std::array::from_fn(|i| (v[i] + MAGIC).to_bits() as i32 - MAGIC.to_bits() as i32)
    }
    #[inline(always)]
    unsafe fn exp2(v: I) -> F {
        each(|i| f32::from_bits(((v[i] + 127) << 23) as u32))
    }
    #[inline(always)]
    unsafe fn to_f32(v: I) -> F {
        each(|i| v[i] as f32)
    }
    #[inline(always)]
    unsafe fn sum_i(v: I) -> i32 {
        v.iter().sum()
    }
    #[inline(always)]
    unsafe fn store_activations(p: *mut i16, low: I, high: I) {
        let values: [i16; 32] =
            std::array::from_fn(|i| if i < 16 { low[i] as i16 } else { high[i - 16] as i16 });
        unsafe { p.cast::<[i16; 32]>().write_unaligned(values) }
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}
    #[inline(always)]
    unsafe fn f16x4(p: [*const u16; 4]) -> [f32; 4] {
        p.map(|p| f16::from_bits(unsafe { p.read_unaligned() }).to_f32())
    }
    #[inline(always)]
    unsafe fn look_up(table: &[i8; 16], p: *const u8) -> [i8; 32] {
        let bytes = unsafe { p.cast::<[u8; 16]>().read() };
        std::array::from_fn(|i| {
            table[usize::from(if i < 16 { bytes[i] & 15 } else { bytes[i - 16] >> 4 })]
        })
    }
}

impl Products for Portable {
    type W = W;
    type A = A;

    const TILE: usize = 2;
    const GROUP_BYTES: usize = 256;
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> F {
        each(|i| unsafe { p.add(i / 8).read_unaligned() })
    }
    #[inline(always)]
    unsafe fn splat_i(x: i32) -> I {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn negated_shift<const BITS: u32>(v: I) -> I {
        std::array::from_fn(|i| -(v[i] << BITS))
    }
    #[inline(always)]
    unsafe fn halves(p0: *const i8, p1: *const i8) -> W {
        let (a, b) = unsafe { (p0.cast::<[i8; 32]>().read(), p1.cast::<[i8; 32]>().read()) };
        std::array::from_fn(|i| if i < 32 { a[i] } else { b[i - 32] })
    }
    #[inline(always)]
    unsafe fn half(p: *const i8) -> W {
        let a = unsafe { p.cast::<[i8; 32]>().read() };
        std::array::from_fn(|i| if i < 32 { a[i] } else { 0 })
    }
    #[inline(always)]
    unsafe fn nibbles_of_two(p0: *const u8, p1: *const u8) -> W {
        let (a, b) = unsafe { (p0.cast::<[u8; 16]>().read(), p1.cast::<[u8; 16]>().read()) };
        std::array::from_fn(|i| {
            let byte = if i < 32 { a[i % 16] } else { b[i % 16] };
            if i % 32 < 16 { (byte & 15) as i8 } else { (byte >> 4) as i8 }
        })
    }
    #[inline(always)]
    unsafe fn nibbles_of_one(p: *const u8) -> W {
        let a = unsafe { p.cast::<[u8; 16]>().read() };
        std::array::from_fn(|i| match i {
            0..16 => (a[i] & 15) as i8,
            16..32 => (a[i - 16] >> 4) as i8,
            _ => 0,
        })
    }
    #[inline(always)]
    unsafe fn nibbles_of_half(p: *const u8) -> W {
        let a = unsafe { p.cast::<[u8; 32]>().read() };
        std::array::from_fn(|i| if i < 32 { (a[i] & 15) as i8 } else { (a[i - 32] >> 4) as i8 })
    }
    #[inline(always)]
    unsafe fn five_bits_of_half(low: *const u8, high: *const u8, j: usize) -> W {
        let high = unsafe { high.cast::<[u8; 32]>().read() };
        let bits = |k: usize| {
            high.iter().enumerate().fold(0, |all, (i, high)| all | u32::from(high >> k & 1) << i)
        };
        unsafe { Self::with_fifth_bits(Self::nibbles_of_half(low), [bits(2 * j), bits(2 * j + 1)]) }
    }
    #[inline(always)]
    unsafe fn with_fifth_bits(w: W, bits: [u32; 2]) -> W {
        std::array::from_fn(|i| w[i] + ((bits[i / 32] >> (i % 32) & 1) << 4) as i8)
    }
    #[inline(always)]
    unsafe fn six_bits(low: *const u8, high: *const u8) -> [W; 2] {
        let (low, high) =
            unsafe { (low.cast::<[u8; 64]>().read(), high.cast::<[u8; 32]>().read()) };
        std::array::from_fn(|half| {
            std::array::from_fn(|i| {
                let low = low[i] >> (4 * half) & 15;
                let high = high[i % 32] >> (4 * half + 2 * (i / 32)) & 3;
                (low | high << 4) as i8 - 32
            })
        })
    }
    #[inline(always)]
    unsafe fn activations(p: *const i16) -> A {
        unsafe { p.cast::<A>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn half_activations(p: *const i16) -> A {
        let half = unsafe { p.cast::<[i16; 32]>().read_unaligned() };
        std::array::from_fn(|i| if i < 32 { half[i] } else { 0 })
    }
    #[inline(always)]
    unsafe fn lane_sums(a: A) -> I {
        unsafe { Self::dot([0; LANES], [1; 64], a) }
    }
    #[inline(always)]
    unsafe fn dot(acc: I, w: W, a: A) -> I {
        std::array::from_fn(|lane| {
            (4 * lane..4 * lane + 4)
                .fold(acc[lane], |sum, i| sum + i32::from(w[i]) * i32::from(a[i]))
        })
    }
    #[inline(always)]
    unsafe fn dot_scaled(w: W, scales: *const i16, a: A) -> I {
        let scales = unsafe { scales.cast::<[i16; 4]>().read_unaligned() };
        let sums = unsafe { Self::dot([0; LANES], w, a) };
        std::array::from_fn(|lane| sums[lane] * i32::from(scales[lane / 4]))
    }
    #[inline(always)]
    unsafe fn pack<const SIGNED: bool>(rows: [*const u8; LANES], group: *mut u8) {
        for (row, p) in rows.into_iter().enumerate() {
            for k in 0..4 {
                // SAFETY: 16 values of each row, and its part of the group's four steps.
                unsafe {
                    let four = p.add(4 * k).cast::<[u8; 4]>().read();
                    group.add(k * 64 + row * 4).cast::<[u8; 4]>().write(four);
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn pack_nibbles(rows: [*const u8; LANES], groups: [*mut u8; 2]) {
        // SAFETY: 16 bytes of each row.
        let bytes = rows.map(|p| unsafe { p.cast::<[u8; 16]>().read() });
        let (low, high) = (bytes.map(|b| b.map(|b| b & 15)), bytes.map(|b| b.map(|b| b >> 4)));
        for (nibbles, group) in [low, high].iter().zip(groups) {
            // SAFETY: 16 values of each row, and a group.
            unsafe { Self::pack::<false>(nibbles.each_ref().map(|row| row.as_ptr()), group) };
        }
    }
    #[inline(always)]
    unsafe fn dot_group<const N: usize>(
        acc: &mut [I; N],
        group: *const u8,
        a: [*const i16; N],
        half: usize,
    ) {
        for k in 0..4 {
            let weights = unsafe { group.add(64 * k).cast::<W>().read() };
            for t in 0..N {
                let four =
                    unsafe { a[t].add(16 * half + 4 * k).cast::<[i16; 4]>().read_unaligned() };
                let repeated = std::array::from_fn(|i| four[i % 4]);
                acc[t] = unsafe { Self::dot(acc[t], weights, repeated) };
            }
        }
    }
}
