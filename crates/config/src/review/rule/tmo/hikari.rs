//! HikariCP's legal ranges, as `HikariConfig.validateNumerics` has them, and what a file writes of them.

use std::collections::BTreeMap;

use crate::review::chain::App;
use crate::review::place::Known;
use crate::unit::parse_duration;

/// What HikariCP takes: from so many milliseconds on (0 turns the setting off, or is no limit), and what it uses instead.
pub(super) struct Range {
    /// Its name without case and hyphens.
    pub(super) key: &'static str,
    /// Milliseconds from which on it holds.
    pub(super) least: u64,
    /// What HikariCP does with less.
    pub(super) instead: &'static str,
}

/// Every range.
pub(super) const RANGES: [Range; 6] = [
    Range { key: "connectiontimeout", least: 250, instead: "refuses it, or waits 30 s in older versions" },
    Range { key: "validationtimeout", least: 250, instead: "refuses it, or waits 5 s in older versions" },
    Range { key: "maxlifetime", least: 30_000, instead: "closes connections after 30 minutes" },
    Range { key: "keepalivetime", least: 30_000, instead: "sends no keepalive, or one every 2 minutes" },
    Range { key: "leakdetectionthreshold", least: 2_000, instead: "detects no leaks" },
    Range { key: IDLE, least: 10_000, instead: "closes idle connections after 10 minutes" },
];
/// A number this many times below the least is taken for seconds that were meant: 30 of 250 ms, and not 100.
const AS_SECONDS: u64 = 4;

/// What to write instead of a number below the least of its range.
pub(super) fn meant(millis: u64, least: u64) -> u64 {
    let seconds = millis.saturating_mul(1_000);
    if millis.saturating_mul(AS_SECONDS) <= least && seconds >= least { seconds } else { least }
}

/// The key of the idle time.
pub(super) const IDLE: &str = "idletimeout";
/// Milliseconds that the idle time has to be below the lifetime.
pub(super) const BELOW: u64 = 1_000;
/// HikariCP's defaults in milliseconds: the lifetime, and the idle time it does not warn of.
pub(super) const LIFETIME: u64 = 1_800_000;
/// See [`LIFETIME`].
pub(super) const IDLE_DEFAULT: u64 = 600_000;

/// What is written, by key without case and hyphens: the key as it is written, milliseconds, and the place.
pub(super) type Written<'a> = BTreeMap<String, (&'a str, u64, &'a Known<String>)>;

/// All numbers and times that are written.
pub(super) fn written(app: &App) -> Written<'_> {
    let mut all = Written::new();
    for (key, known) in &app.written {
        let last = key.rsplit('.').next().unwrap_or(key);
        let plain: String = last.chars().filter(char::is_ascii_alphanumeric).collect();
        let text = known.value.trim().trim_matches(['"', '\'']).replace('_', "");
        let millis = text.parse().ok().or_else(|| u64::try_from(parse_duration(&text).ok()?.as_millis()).ok());
        if let Some(millis) = millis {
            all.insert(plain.to_ascii_lowercase(), (last, millis, known));
        }
    }
    all
}

/// Whether the pool keeps its size: without a smaller minimum it does.
pub(super) fn fixed(app: &App, written: &Written<'_>) -> bool {
    let number = |key: &str| written.get(key).map(|(_, number, _)| *number);
    let most = number("maximumpoolsize").or_else(|| app.pool_size.as_ref()?.value.number());
    number("minimumidle").is_none_or(|least| most.is_some_and(|most| least >= most))
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn a_number_far_below_the_range_was_meant_in_seconds() {
        assert_eq!([meant(2, 250), meant(62, 250), meant(63, 250), meant(100, 250)], [2_000, 62_000, 250, 250]);
        assert_eq!([meant(1_800, 30_000), meant(20, 30_000)], [1_800_000, 30_000]);
    }
}
