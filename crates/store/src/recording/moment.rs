//! Which time of the recordings is meant: `last:24h`, or from one moment to another.

use std::time::Duration;

/// A time that somebody asks for, in milliseconds since 1970 UTC, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its begin.
    pub from_ms: u64,
    /// Its end.
    pub until_ms: u64,
}

const DAY_S: i64 = 86_400;

impl Wanted {
    /// Reads `last:24h` (units s, m, h, d), which ends at `now_ms`, or `FROM/TO`, two moments as RFC 3339 writes them. `None`: the text
    /// is neither, and so perhaps a path.
    ///
    /// # Errors
    /// It is one of both and says it wrong: what is wrong, and what to write.
    pub fn read(text: &str, now_ms: u64) -> Option<Result<Self, String>> {
        if let Some(span) = text.strip_prefix("last:") {
            let wrong = || format!("{span:?} is no time: write last:24h, with one of the units s, m, h and d");
            let last = |span: Duration| Self {
                from_ms: now_ms.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
                until_ms: now_ms,
            };
            return Some(length(span).map(last).ok_or_else(wrong));
        }
        let (from, until) = text.split_once('/').filter(|(from, _)| looks_like_a_day(from))?;
        Some(between(from, until))
    }

    /// Whether any of it lies in this span.
    #[must_use]
    pub const fn meets(&self, (from_ms, until_ms): (u64, u64)) -> bool {
        from_ms <= self.until_ms && self.from_ms <= until_ms
    }
}

fn between(from: &str, until: &str) -> Result<Wanted, String> {
    let read = |text: &str| {
        unix_ms(text).ok_or_else(|| format!("{text:?} is no moment: write it as 2026-11-23T08:00:00Z, from 1970 on"))
    };
    let (from_ms, until_ms) = (read(from)?, read(until)?);
    if from_ms > until_ms {
        return Err(format!("{from} comes after {until}: write the earlier one first"));
    }
    Ok(Wanted { from_ms, until_ms })
}

fn looks_like_a_day(text: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() >= 10 && text.bytes().take(10).enumerate().all(shape)
}

fn length(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let count = number_of(number)?;
    Some(Duration::from_secs(count.checked_mul(seconds)?)).filter(|span| !span.is_zero())
}

fn number_of(digits: &str) -> Option<u64> {
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all { digits.parse().ok() } else { None }
}

/// A moment of RFC 3339 in milliseconds since 1970 UTC.
fn unix_ms(text: &str) -> Option<u64> {
    let field = |from: usize, until: usize| number_of(text.get(from..until)?)?.try_into().ok();
    let mark = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|byte| marks.contains(byte));
    let marked = mark(4, b"-") && mark(7, b"-") && mark(10, b"Tt ") && mark(13, b":") && mark(16, b":");
    let (year, month, day): (i64, i64, i64) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second): (i64, i64, i64) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let in_range = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    if !marked || !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_ms, zone) = fraction(text.get(19..)?)?;
    let seconds = days(year, month, day) * DAY_S + hour * 3_600 + minute * 60 + second - offset_s(zone)?;
    u64::try_from(seconds * 1_000 + fraction_ms).ok()
}

/// Milliseconds of what stands behind the seconds, and the rest.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let digits = rest.get(..length).filter(|digits| !digits.is_empty())?;
    let thousandths = digits.bytes().chain(*b"000").take(3);
    Some((thousandths.fold(0, |number, digit| number * 10 + i64::from(digit - b'0')), &rest[length..]))
}

/// How far a zone is ahead of UTC, in seconds.
fn offset_s(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let two = |digits: &str| number_of(digits).filter(|_| digits.len() == 2).and_then(|of| i64::try_from(of).ok());
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leaps(before) - leaps(1969);
    years + (1..month).map(|month| days_of(year, month)).sum::<i64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_795_424_400_000; // 2026-11-23T09:00:00Z

    fn read(text: &str) -> Option<Result<Wanted, String>> {
        Wanted::read(text, NOW_MS)
    }

    #[test]
    fn a_time_is_read_as_it_is_said() {
        let hour = 3_600_000;
        let wanted = |from_ms, until_ms| Some(Ok(Wanted { from_ms, until_ms }));
        assert_eq!(read("last:24h"), wanted(NOW_MS - 24 * hour, NOW_MS));
        assert_eq!(read("last:90s"), wanted(NOW_MS - 90_000, NOW_MS));
        assert_eq!(read("last:7d"), wanted(NOW_MS - 7 * 24 * hour, NOW_MS));
        assert_eq!(read("last:99999999h"), wanted(0, NOW_MS));
        assert_eq!(read("2026-11-23T08:00:00Z/2026-11-23T09:00:00Z"), wanted(NOW_MS - hour, NOW_MS));
        assert_eq!(read("2026-11-23T09:00:00.25+01:00/2026-11-23 09:00:00Z"), wanted(NOW_MS - hour + 250, NOW_MS));
        assert_eq!(read("1970-01-01T00:00:00Z/2000-02-29T00:00:00z"), wanted(0, 951_782_400_000));
        assert_eq!(read("2100-03-01T00:00:00Z/2100-03-01T00:00:00Z"), wanted(4_107_542_400_000, 4_107_542_400_000));
    }

    #[test]
    fn a_path_is_none_and_what_is_said_wrong_is_told() {
        for path in ["recordings/20261123T084112Z-0.pwrc", "a.pwrc", "/tmp/2026-11-23T08:00:00Z", "last", ""] {
            assert_eq!(read(path), None, "{path}");
        }
        for wrong in ["last:", "last:24", "last:h", "last:0h", "last:-1h", "last:1.5h", "last:1w", "last:é"] {
            assert!(read(wrong).unwrap().unwrap_err().contains("write last:24h"), "{wrong}");
        }
        for moment in [
            "2026-11-23",
            "2026-02-29T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T08:00:00",
            "2026-11-23T08:00:00.Z",
            "2026-11-23T08:00:00+1:00",
            "2026-11-23T08:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            let said = read(&format!("{moment}/2026-11-23T09:00:00Z")).unwrap().unwrap_err();
            assert!(said.contains(moment) && said.contains("2026-11-23T08:00:00Z"), "{said}");
        }
        let swapped = read("2026-11-23T09:00:00Z/2026-11-23T08:00:00Z").unwrap().unwrap_err();
        assert!(swapped.contains("write the earlier one first"), "{swapped}");
    }

    #[test]
    fn a_span_is_met_where_they_touch() {
        let wanted = Wanted { from_ms: 10, until_ms: 20 };
        for (span, meets) in [((0, 9), false), ((0, 10), true), ((12, 13), true), ((20, 30), true), ((21, 30), false)] {
            assert_eq!(wanted.meets(span), meets, "{span:?}");
        }
    }
}
