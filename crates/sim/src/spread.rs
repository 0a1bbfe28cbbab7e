//! Durations by the thousand million in little room: counted by size, each size known to within 1/128 of itself.
//!
//! Buckets are linear within each power of two, as in an HDR histogram (Tene 2012), so that a quantile of milliseconds is as
//! exact as one of hours.

use std::time::Duration;

/// Parts each power of two is cut into, as a power of two itself.
const BITS: u32 = 7;
const PARTS: u64 = 1 << BITS;

/// Quantiles of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Half are shorter.
    pub p50: Duration,
    /// One in twenty is longer.
    pub p95: Duration,
    /// One in a hundred is longer.
    pub p99: Duration,
    /// The longest, exactly.
    pub max: Duration,
}

/// How often which durations were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    counts: Vec<u64>,
    count: u64,
    sum_nanos: u128,
    max: Duration,
}

impl Spread {
    /// One more.
    pub fn note(&mut self, duration: Duration) {
        let place = place(nanos(duration));
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
        self.count += 1;
        self.sum_nanos += duration.as_nanos();
        self.max = self.max.max(duration);
    }

    /// All of another's, too.
    pub fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, more)| *mine += more);
        self.count += other.count;
        self.sum_nanos += other.sum_nanos;
        self.max = self.max.max(other.max);
    }

    /// None seen, keeping the room.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.count, self.sum_nanos, self.max) = (0, 0, Duration::ZERO);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean, exactly; zero of none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let mean = self.sum_nanos.checked_div(u128::from(self.count)).unwrap_or_default();
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The smallest duration that so great a share is not longer than (nearest rank); zero of none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        for (place, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return Duration::from_nanos(middle(place)).min(self.max);
            }
        }
        Duration::ZERO
    }

    /// How many were longer than this, as far as sizes are told apart.
    #[must_use]
    pub fn longer_than(&self, limit: Duration) -> u64 {
        self.counts.iter().skip(place(nanos(limit)) + 1).sum()
    }

    /// The quantiles that are reported.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        Quantiles { p50: self.quantile(0.5), p95: self.quantile(0.95), p99: self.quantile(0.99), max: self.max }
    }
}

impl FromIterator<Duration> for Spread {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut spread = Self::default();
        durations.into_iter().for_each(|duration| spread.note(duration));
        spread
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The bucket of so many nanoseconds.
fn place(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(BITS + 1);
    (u64::from(shift) * PARTS + (nanos >> shift)) as usize // at most 58 * 128
}

/// The middle of a bucket, in nanoseconds.
fn middle(place: usize) -> u64 {
    let place = place as u64;
    if place < 2 * PARTS {
        return place; // these hold one number each
    }
    let shift = place / PARTS - 1;
    ((place - shift * PARTS) << shift) + (1 << (shift - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_found_again_to_within_its_bucket() {
        for nanos in [0, 1, 127, 128, 255, 256, 257, 1_000_000, 20_000_000, 3_600_000_000_000, u64::MAX] {
            let found = middle(place(nanos));
            assert!(found.abs_diff(nanos) <= nanos / PARTS, "{nanos}: {found}");
            assert!(place(nanos) <= place(nanos.saturating_add(1)), "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let all: Spread = (1..=200).rev().map(Duration::from_nanos).collect();
        let Quantiles { p50, p95, p99, max } = all.quantiles();
        assert_eq!([p50, p95, p99, max].map(|it| it.as_nanos()), [100, 190, 198, 200]);
        assert_eq!(
            (all.count(), all.mean(), all.longer_than(Duration::from_nanos(150))),
            (200, Duration::from_nanos(100), 50)
        );
        assert_eq!(Spread::default().quantiles(), Quantiles::default());
    }

    #[test]
    fn two_together_are_as_one() {
        let (low, high): (Spread, Spread) =
            ((1..50).map(Duration::from_millis).collect(), (50..90).map(Duration::from_millis).collect());
        let mut both = low;
        both.add(&high);
        assert_eq!(both, (1..90).map(Duration::from_millis).collect());
        both.clear();
        assert_eq!((both.count(), both.quantile(0.5)), (0, Duration::ZERO));
    }
}
