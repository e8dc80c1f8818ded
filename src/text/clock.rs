//! The time of day for chat templates that tell the model what day it is.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment in UTC: the standard library knows no time zones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    year: u64,
    /// From 1.
    month: u64,
    /// From 1.
    day: u64,
    /// From 1.
    day_of_year: u64,
    /// From Sunday, 0.
    weekday: u64,
    /// Since midnight.
    seconds: u64,
}

impl Clock {
    /// The present; a clock that stands before 1970 counts as 1970.
    pub(super) fn now() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // No later than the year 9999, which the loop below can walk to.
        Clock::at(since.as_secs().min(253_402_300_799))
    }

    /// A number of seconds since 1970.
    fn at(seconds: u64) -> Clock {
        let days = seconds / 86_400;
        let (mut year, mut left) = (1970, days);
        while left >= days_in_year(year) {
            left -= days_in_year(year);
            year += 1;
        }
        let day_of_year = left + 1;
        let mut month = 1;
        while left >= days_in_month(year, month) {
            left -= days_in_month(year, month);
            month += 1;
        }
        // The first of January 1970 was a Thursday.
        let weekday = (days + 4) % 7;
        Clock { year, month, day: left + 1, day_of_year, weekday, seconds: seconds % 86_400 }
    }

    /// As C's `strftime` does, for the directives that dates and times are written with; another
    /// is left as it stands.
    pub(super) fn format(&self, format: &str) -> String {
        let (hour, minute) = (self.seconds / 3600, self.seconds / 60 % 60);
        let hour12 = (hour + 11) % 12 + 1;
        let name = |names: &[&'static str], at: u64| names.get(at as usize).copied().unwrap_or("");
        let (month, weekday) = (name(&MONTHS, self.month - 1), name(&DAYS, self.weekday));
        let mut out = String::with_capacity(format.len() + 16);
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut directive = chars.next();
            let padded = directive != Some('-');
            if !padded {
                directive = chars.next();
            }
            let mut number = |value: u64, width: usize| {
                // Writing to a string can't fail.
                let _ = write!(out, "{value:0width$}", width = if padded { width } else { 0 });
            };
            match directive {
                Some('Y') => number(self.year, 4),
                Some('y') => number(self.year % 100, 2),
                Some('m') => number(self.month, 2),
                Some('d') => number(self.day, 2),
                Some('j') => number(self.day_of_year, 3),
                Some('H') => number(hour, 2),
                Some('I') => number(hour12, 2),
                Some('M') => number(minute, 2),
                Some('S') => number(self.seconds % 60, 2),
                Some('w') => number(self.weekday, 1),
                Some('B') => out.push_str(month),
                Some('b' | 'h') => out.push_str(&month[..3]),
                Some('A') => out.push_str(weekday),
                Some('a') => out.push_str(&weekday[..3]),
                Some('p') => out.push_str(if hour < 12 { "AM" } else { "PM" }),
                Some('Z') => out.push_str("UTC"),
                Some('z') => out.push_str("+0000"),
                Some('F') => out.push_str(&self.format("%Y-%m-%d")),
                Some('T') => out.push_str(&self.format("%H:%M:%S")),
                Some('%') => out.push('%'),
                other => {
                    out.push_str(if padded { "%" } else { "%-" });
                    out.extend(other);
                }
            }
        }
        out
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let everything = "%Y-%m-%d %H:%M:%S %j %a %A %b %B %-d %y %I %p %% %Q";
        assert_eq!(
            Clock::at(0).format(everything),
            "1970-01-01 00:00:00 001 Thu Thursday Jan January 1 70 12 AM % %Q"
        );
        // The last second of a leap day.
        assert_eq!(
            Clock::at(1_709_251_199).format(everything),
            "2024-02-29 23:59:59 060 Thu Thursday Feb February 29 24 11 PM % %Q"
        );
        assert_eq!(Clock::at(1_767_225_600).format("%d %b %Y"), "01 Jan 2026");
        assert_eq!(Clock::at(253_402_300_799).format("%F %T"), "9999-12-31 23:59:59");
        assert_eq!(Clock::at(0).format("100%"), "100%");
    }
}
