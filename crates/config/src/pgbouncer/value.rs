//! Values as PgBouncer reads them: numbers in C's notation, seconds with a fraction, words in any case.

use std::time::Duration;

use super::catalogue::{Entry, Form};
use crate::nearest::nearest;
use crate::unit;

/// A hundred years, the longest duration of ours: stands for "never" where PgBouncer writes 0.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What is wrong with a value and what to write; `None`: nothing.
pub(crate) fn fault(entry: &Entry, text: &str) -> Option<(String, String)> {
    let wrong = |what: &str, fix: String| Some((format!("{} = {text}: {what}", entry.name), fix));
    let example = || format!("write {} = {}", entry.name, meant(entry, text));
    match entry.form {
        Form::Text => None,
        Form::Number => match number(text) {
            Some(_) => None,
            None => wrong("not a whole number; a comment stands on a line of its own", example()),
        },
        Form::Seconds => match seconds(text) {
            Some(_) => None,
            None => wrong("not a number of seconds (no unit, no comment behind it)", example()),
        },
        Form::Choice(words) => {
            if words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
                return None;
            }
            let near = nearest(text, words.iter().copied());
            let fix = near.map_or_else(
                || format!("write one of {}", words.join(", ")),
                |near| format!("write {} = {near}", entry.name),
            );
            wrong("not one of its words", fix)
        }
    }
}

/// The number that was meant: without a comment, a comma between thousands, or a unit; a time with one in seconds.
fn meant(entry: &Entry, text: &str) -> String {
    let plain = text.split([';', '#']).next().unwrap_or(text).trim();
    let time = unit::meant(plain).unwrap_or_else(|| plain.to_owned());
    let time = unit::parse_duration(&time).ok().filter(|_| entry.form == Form::Seconds);
    if let Some(time) = time {
        return time.as_secs_f64().to_string();
    }
    let grouped = plain.replace([',', '_', '\''], "");
    if !grouped.is_empty() && grouped.bytes().all(|byte| byte.is_ascii_digit()) {
        return grouped;
    }
    let digits = plain.find(|c: char| !c.is_ascii_digit()).unwrap_or(plain.len());
    if digits > 0 { plain[..digits].to_owned() } else { entry.example.to_owned() }
}

/// Whether two texts are the same value of this setting.
pub(crate) fn alike(entry: &Entry, a: &str, b: &str) -> bool {
    match entry.form {
        Form::Text => a == b,
        Form::Choice(_) => a.eq_ignore_ascii_case(b),
        Form::Number => number(a).is_some() && number(a) == number(b),
        Form::Seconds => seconds(a).is_some() && seconds(a) == seconds(b),
    }
}

/// A whole number as C's `strtol` with base 0 reads it, the whole text.
pub(crate) fn number(text: &str) -> Option<i64> {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(rest) => (rest, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    // A second sign is no digit.
    let all = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    let size = i64::from_str_radix(digits, radix).ok().filter(|_| all)?;
    size.checked_mul(sign)
}

/// A number in a connection string: PgBouncer takes the leading digits and leaves the rest.
pub(crate) fn leading(text: &str) -> Option<(i64, bool)> {
    let signed = usize::from(text.starts_with(['-', '+']));
    let end = text[signed..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |at| at + signed);
    text[..end].parse().ok().map(|number| (number, end == text.len()))
}

/// Seconds, not negative, in microseconds as PgBouncer keeps them.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    let plain = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    let seconds: f64 = Some(text.trim_ascii_start()).filter(|text| text.chars().all(plain))?.parse().ok()?;
    let most = FOREVER.as_secs_f64();
    // Truncated as C does; a hundred years in microseconds fit.
    (seconds >= 0.0).then(|| Duration::from_micros((seconds.min(most) * 1e6) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_c() {
        for (text, expected) in [("10", 10), ("0x10", 16), ("010", 8), ("-3", -3), ("+4", 4), ("0", 0), ("0777", 511)] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        for text in ["", "1O", "08", "1 ; x", "0x", "--1", "-+1", "yes", "99999999999999999999", "1.5"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(
            [leading("5x"), leading("x5"), leading("-1"), leading("é"), leading("")],
            [Some((5, false)), None, Some((-1, true)), None, None]
        );
    }

    #[test]
    fn a_fix_says_the_number_that_was_meant() {
        let fix = |name: &str, text: &str| {
            let entry = crate::pgbouncer::find(crate::pgbouncer::Section::Pgbouncer, name).expect("a setting");
            fault(entry, text).map_or_else(String::new, |(_, fix)| fix)
        };
        let wait = |text: &str| fix("query_wait_timeout", text);
        assert_eq!(
            ["500ms", "2s", "2min", "3 ; enough", "soon"].map(wait),
            ["0.5", "2", "120", "3", "7"].map(|number| format!("write query_wait_timeout = {number}"))
        );
        let most = |text: &str| fix("max_client_conn", text);
        assert_eq!(
            ["1,000", "1_000", "20 # per user", "6432;"].map(most),
            ["1000", "1000", "20", "6432"].map(|number| format!("write max_client_conn = {number}"))
        );
        assert_eq!(fix("pool_mode", "transactional"), "write pool_mode = transaction");
    }

    #[test]
    fn seconds_may_have_fractions_and_no_unit() {
        let millis = |text: &str| seconds(text).map(|time| time.as_millis());
        assert_eq!(
            [millis("1.5"), millis("1e2"), millis("+1"), millis("0")],
            [Some(1500), Some(100_000), Some(1000), Some(0)]
        );
        assert_eq!(seconds("1e300"), Some(FOREVER));
        for text in ["", "1m", "-1", "inf", "nan", "1 2", "3 ; x"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
