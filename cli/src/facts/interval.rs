//! The uncertainty of a share.

use serde::Serialize;

/// A share of successes with its 95 % interval (Wilson 1927).
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct Share {
    /// Successes.
    pub hits: usize,
    /// Attempts.
    pub of: usize,
    /// `hits / of`; 0 if nothing was attempted.
    pub share: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Share {
    /// The share of `hits` in `of` attempts.
    pub fn new(hits: usize, of: usize) -> Share {
        /// 97.5 % quantile of the normal distribution.
        const Z: f64 = 1.959_964;
        if of == 0 {
            return Share { hits, of, share: 0.0, low: 0.0, high: 1.0 };
        }
        let n = of as f64;
        let share = hits as f64 / n;
        let center = share + Z * Z / (2.0 * n);
        let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        let end = |x: f64| (x / (1.0 + Z * Z / n)).clamp(0.0, 1.0);
        Share { hits, of, share, low: end(center - half), high: end(center + half) }
    }
}

impl std::fmt::Display for Share {
    /// `75 % (64-84)`
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let percent = |x: f64| 100.0 * x;
        let Share { share, low, high, .. } = *self;
        write!(f, "{:.0} % ({:.0}-{:.0})", percent(share), percent(low), percent(high))
    }
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn intervals_are_those_of_the_textbook() {
        // Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20.
        for (hits, of, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
        {
            let share = Share::new(hits, of);
            assert!(
                (share.low - low).abs() < 5e-5 && (share.high - high).abs() < 5e-5,
                "{share:?}"
            );
        }
        assert_eq!(Share::new(3, 3).high, 1.0);
    }
}
