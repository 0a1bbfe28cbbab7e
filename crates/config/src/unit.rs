//! Durations, sizes and rates as the file writes them: a number and its unit, never a bare number.

use std::time::Duration;

const DURATIONS: [(&str, u64); 6] =
    [("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60 * NS), ("h", 3_600 * NS), ("d", 86_400 * NS)];
const NS: u64 = 1_000_000_000;
/// A hundred years: longer is a slip of the keyboard, and stays far from the end of 64-bit nanoseconds.
const LONGEST_NS: u64 = 100 * 365 * 86_400 * NS;

const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];

/// Reads `"250ms"`, `"2s"`, `"1h30m"`, `"30d"`.
///
/// # Errors
/// What is wrong and what to write, for a message.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("an empty duration".to_owned());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, unit, after) = split(rest)?;
        if unit.is_empty() {
            return Err(format!("`{text}` has no unit"));
        }
        let Some((_, ns)) = DURATIONS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("`{unit}` is no unit of time (us, ms, s, m, h, d)"));
        };
        total = number
            .checked_mul(*ns)
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum <= LONGEST_NS)
            .ok_or_else(|| format!("`{text}` is longer than a hundred years"))?;
        rest = after;
    }
    Ok(Duration::from_nanos(total))
}

/// What a unit that is none most likely meant: `30m` for `30min`, `64MiB` for `64M`.
pub(crate) fn meant(text: &str) -> Option<String> {
    const WORDS: [(&str, &[&str]); 9] = [
        ("us", &["usec", "usecs", "microsecond", "microseconds"]),
        ("ms", &["msec", "msecs", "millis", "millisecond", "milliseconds"]),
        ("s", &["sec", "secs", "second", "seconds"]),
        ("m", &["min", "mins", "minute", "minutes"]),
        ("h", &["hr", "hrs", "hour", "hours"]),
        ("d", &["day", "days"]),
        ("KiB", &["k", "kb"]),
        ("MiB", &["m", "mb"]),
        ("GiB", &["g", "gb"]),
    ];
    let (number, unit, after) = split(text.trim()).ok()?;
    let unit = unit.to_ascii_lowercase();
    let ours = WORDS.iter().find(|(_, words)| words.contains(&unit.as_str())).map(|(ours, _)| *ours);
    ours.filter(|_| after.is_empty()).map(|ours| format!("{number}{ours}"))
}

/// Reads `"64MiB"`, `"1GiB"`, `"10kB"`, in bytes.
///
/// # Errors
/// What is wrong and what to write, for a message.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit, after) = split(text.trim())?;
    if unit.is_empty() {
        return Err(format!("`{text}` has no unit"));
    }
    let Some((_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit).filter(|_| after.is_empty()) else {
        return Err(format!("`{unit}{after}` is no unit of size (B, KiB, MiB, GiB, TiB)"));
    };
    number.checked_mul(*bytes).ok_or_else(|| format!("`{text}` is more than a machine holds"))
}

/// Reads `"400/s"`, `"1200/m"`, `"10/h"`, as events per second.
///
/// # Errors
/// What is wrong and what to write, for a message.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let Some((number, unit)) = text.trim().split_once('/') else {
        return Err(format!("`{text}` has no unit"));
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("`{number}` is not a number"))?;
    if !number.is_finite() || number < 0.0 {
        return Err(format!("`{text}` is not a rate"));
    }
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("`/{other}` is no unit of rate (/s, /m, /h)")),
    };
    Ok(number / seconds)
}

/// The shortest exact text: `1h`, `90s`, `250ms`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    if ns == 0 {
        return "0s".to_owned();
    }
    let exact = DURATIONS.iter().rev().find(|(_, unit)| ns.is_multiple_of(u128::from(*unit)));
    exact.map_or_else(|| format!("{ns}ns"), |(name, unit)| format!("{}{name}", ns / u128::from(*unit)))
}

/// The shortest exact text in binary units: `64MiB`.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    const BINARY: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let exact = BINARY.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    exact.map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// A leading whole number, the letters behind it, and what follows.
fn split(text: &str) -> Result<(u64, &str, &str), String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!("`{text}` does not start with a whole number"));
    }
    let number = number.parse().map_err(|_| format!("`{number}` is too large"))?;
    let rest = rest.trim_start();
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    if unit.is_empty() && !after.is_empty() {
        return Err(format!("`{text}` is not a whole number and a unit"));
    }
    Ok((number, unit, after.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_shown_again() {
        for (text, shown) in [("250ms", "250ms"), ("1h30m", "90m"), ("90 s", "90s"), ("3600s", "1h"), ("0s", "0s")] {
            assert_eq!(parse_duration(text).map(show_duration), Ok(shown.to_owned()), "{text}");
        }
        for (text, shown) in [("1GiB", "1GiB"), ("1024 KiB", "1MiB"), ("1MB", "1000000B"), ("0B", "0B")] {
            assert_eq!(parse_size(text).map(show_size), Ok(shown.to_owned()), "{text}");
        }
        assert_eq!(parse_rate("1200/m"), Ok(20.0));
    }

    #[test]
    fn bare_numbers_foreign_units_and_overflow_are_refused() {
        for text in ["", "5", "5 parsecs", "s", "-1s", "1.5s", "1s!", "99999999999999999999s", "1000000d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["", "5", "5MiBs", "5 MiB 3", "99999999999TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for text in ["", "5", "5/y", "x/s", "inf/s", "-1/s"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn units_of_other_tongues_are_understood_and_nothing_else() {
        let all = ["30min", "5 seconds", "64M", "2GB", "500msec", "5 parsecs", "30min 5s", "min"].map(meant);
        let known = ["30m", "5s", "64MiB", "2GiB", "500ms"].map(|text| Some(text.to_owned()));
        assert_eq!(all[..5], known);
        assert_eq!(all[5..], [None, None, None]);
    }
}
