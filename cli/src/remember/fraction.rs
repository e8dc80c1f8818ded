//! A budget as a fraction of what everything takes.

use serde::{Serialize, Serializer};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// A fraction of at most one, such as 1/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    part: u64,
    of: u64,
}

impl Fraction {
    /// This fraction of `bytes`, rounded down.
    pub fn bytes(self, bytes: u64) -> u64 {
        // At most `bytes`, since the fraction is at most one.
        (u128::from(bytes) * u128::from(self.part) / u128::from(self.of)) as u64
    }
}

impl FromStr for Fraction {
    type Err = String;

    fn from_str(text: &str) -> Result<Fraction, String> {
        let expected = || format!("{text:?} where a fraction such as 1/8 is expected");
        let (part, of) = text.split_once('/').unwrap_or((text, "1"));
        let number = |digits: &str| digits.trim().parse::<u64>().map_err(|_| expected());
        let (part, of) = (number(part)?, number(of)?);
        if part == 0 || of == 0 {
            return Err(format!(
                "a budget of {text} is nothing; it must be a fraction such as 1/8"
            ));
        }
        if part > of {
            return Err(format!("a budget of {text} is more than everything; the most is 1/1"));
        }
        Ok(Fraction { part, of })
    }
}

impl Display for Fraction {
    fn fmt(&self, f: &mut Formatter) -> std::fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_of_at_most_one() {
        let of = |text: &str| text.parse::<Fraction>().map(|fraction| fraction.bytes(1000));
        assert_eq!(of("1/8"), Ok(125));
        assert_eq!(of("3 / 7"), Ok(428));
        assert_eq!(of("1"), Ok(1000));
        let most = format!("{0}/{0}", u64::MAX);
        assert_eq!(most.parse::<Fraction>().map(|all| all.bytes(u64::MAX)), Ok(u64::MAX));
        for wrong in ["0", "0/8", "1/0", "2/1", "9/8", "-1/8", "1/8/2", "0.5", "", "/", "1/x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
