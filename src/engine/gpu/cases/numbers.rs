//! Random numbers for kernel inputs.

/// xorshift64* (Vigna 2016).
pub(super) struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        let mut numbers = Numbers((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| {
            numbers.bits();
        });
        numbers
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    #[inline(never)]
    pub fn below(&mut self, end: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(end)) >> 32) as u32
    }

    /// Uniform in -1..1.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    // A small library matters more here than speed.
    #[inline(never)]
    pub fn floats(&mut self, len: usize, spread: f32) -> Vec<f32> {
        (0..len).map(|_| spread * self.uniform()).collect()
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }
}

/// Cosines and sines of random angles.
#[inline(never)]
pub(super) fn turns(numbers: &mut Numbers, pairs: usize) -> Vec<f32> {
    (0..pairs)
        .flat_map(|_| {
            let (sin, cos) = (3.0 * numbers.uniform()).sin_cos();
            [cos, sin]
        })
        .collect()
}
