//! The SHOW family: one file per table, each a list of columns and a function from the picture to rows.

pub(super) mod absent;
pub(super) mod clients;
pub(super) mod config;
pub(super) mod databases;
pub(super) mod fds;
pub(super) mod help;
pub(super) mod limits;
pub(super) mod lists;
pub(super) mod mem;
pub(super) mod peers;
pub(super) mod pins;
pub(super) mod pools;
pub(super) mod servers;
pub(super) mod sockets;
pub(super) mod state;
pub(super) mod stats;
pub(super) mod users;
pub(super) mod waits;

use super::{Column, Kind, Row, Rows};

/// A text value.
fn text(value: impl Into<String>) -> Option<String> {
    Some(value.into())
}

/// A number.
fn int(value: impl Into<u64>) -> Option<String> {
    Some(value.into().to_string())
}

/// A number that may be unlimited or unsaid: NULL then.
fn maybe(value: Option<impl Into<u64>>) -> Option<String> {
    value.map(|value| value.into().to_string())
}

/// Yes or no.
fn yes(value: bool) -> Option<String> {
    text(if value { "t" } else { "f" })
}

/// A moment as PgBouncer writes it; always UTC.
fn moment(unix_ms: u64) -> Option<String> {
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"))
}

/// Year, month and day of a day counted from 1970-01-01 (Gregorian; years begin in March inside).
fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468; // days from 0000-03-01 to 1970-01-01
    let (era, of_era) = (shifted / 146_097, shifted % 146_097); // 400 years have 146,097 days
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153; // March is 0
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        let cases = [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (1_723_708_800_999, "2024-08-15 08:00:00 UTC"),
            (4_107_542_399_000, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
        ];
        for (unix_ms, written) in cases {
            assert_eq!(moment(unix_ms).unwrap(), written);
        }
    }
}
