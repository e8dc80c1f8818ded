//! Whole numbers that a user gives. Each has a limit, far above what anybody wants and far below
//! where sums overflow.

/// The limit of a number of tokens, states and the like.
const MOST: u64 = u32::MAX as u64;

fn whole(text: &str, most: u64) -> Result<u64, String> {
    let number = text.parse().ok().filter(|&number| number <= most);
    number.ok_or_else(|| format!("a whole number from 0 to {most} is expected"))
}

/// A number of tokens, states or the like.
pub fn count(text: &str) -> Result<usize, String> {
    at_most::<MOST>(text)
}

/// As [`count`], for what may be more than an address.
pub fn long_count(text: &str) -> Result<u64, String> {
    whole(text, MOST)
}

/// A number of tokens with an optional suffix, such as 8K.
pub fn tokens(text: &str) -> Result<u64, String> {
    let tokens = crate::common::bytes(text).ok().filter(|&tokens| tokens <= MOST);
    tokens.ok_or_else(|| format!("a number such as 512 or 8K, of at most {MOST}, is expected"))
}

/// As [`tokens`], up to `MOST`.
pub fn tokens_up_to<const MOST: u64>(text: &str) -> Result<usize, String> {
    match tokens(text) {
        Ok(tokens) if tokens <= MOST => Ok(tokens as usize),
        _ => Err(format!("a number such as 512 or 8K, of at most {MOST}, is expected")),
    }
}

/// A number up to `MOST`.
pub fn at_most<const MOST: u64>(text: &str) -> Result<usize, String> {
    whole(text, MOST).map(|number| number as usize)
}
