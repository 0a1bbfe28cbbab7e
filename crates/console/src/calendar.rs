//! Moments as people and machines read them; always UTC.

/// A moment as PgBouncer writes it.
pub(crate) fn moment(unix_ms: u64) -> Option<String> {
    let [year, month, day, hour, minute, second] = parts(unix_ms);
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"))
}

/// A moment as RFC 3339 writes it, in whole seconds.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    let [year, month, day, hour, minute, second] = parts(unix_ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn parts(unix_ms: u64) -> [u64; 6] {
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    [year, month, day, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60]
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
            assert_eq!(rfc3339(unix_ms), written.replacen(' ', "T", 1).replace(" UTC", "Z"));
        }
    }
}
