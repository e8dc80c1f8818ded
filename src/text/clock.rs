//! The time of day for chat templates that tell the model what day it is.

use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A moment in UTC: what a template renders must not depend on where it runs.
pub(super) struct Clock(Zoned);

impl Clock {
    /// The current time.
    pub(super) fn now() -> Clock {
        Clock(Timestamp::now().to_zoned(TimeZone::UTC))
    }

    /// Like C's `strftime`; an unknown directive is left unchanged.
    pub(super) fn format(&self, format: &str) -> String {
        let config = Config::new().custom(PosixCustom::new()).lenient(true);
        let text = BrokenDownTime::from(&self.0).to_string_with_config(&config, format);
        text.unwrap_or_else(|_| format.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Clock {
        Clock(Timestamp::from_second(seconds).unwrap().to_zoned(TimeZone::UTC))
    }

    #[test]
    fn directives_are_those_of_strftime() {
        let everything = "%Y-%m-%d %H:%M:%S %j %a %A %b %B %-d %y %I %p %w %Z %z %% %!";
        assert_eq!(
            at(0).format(everything),
            "1970-01-01 00:00:00 001 Thu Thursday Jan January 1 70 12 AM 4 UTC +0000 % %!"
        );
        // The last second of a leap day.
        assert_eq!(
            at(1_709_251_199).format(everything),
            "2024-02-29 23:59:59 060 Thu Thursday Feb February 29 24 11 PM 4 UTC +0000 % %!"
        );
        assert_eq!(at(1_767_225_600).format("%d %b %Y"), "01 Jan 2026");
        assert_eq!(at(0).format("%F %T"), "1970-01-01 00:00:00");
        assert_eq!(at(0).format("100%"), "100%");
    }

    proptest! {
        #[test]
        fn no_format_is_an_error(format in "([-%:_0-9a-zA-Zé]|\\PC){0,12}") {
            // The widest number that a directive may ask for has three digits.
            prop_assert!(at(0).format(&format).len() <= 1024 * (1 + format.len()));
        }
    }
}
