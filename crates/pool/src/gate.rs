//! When a class is overloaded in a pool: CoDel on its wait, rescaled to how long connections are held there; and how fast it is served.
//!
//! CoDel for services keeps the least wait of an interval (Nichols, Jacobson 2012; Maurer, "Fail at Scale", ACM Queue 2015): a burst
//! has short waits among its long ones, a queue that stands has none. A burst that is being worked off is no overload either, so the
//! state begins only where a second such interval has left the queue no shorter, and an interval without a grant says nothing.

use std::time::Duration;

use crate::Time;

/// The interval is twice the 95th percentile of hold times, within these.
const INTERVAL: (u64, u64) = (200_000_000, 5_000_000_000);
/// The target is a tenth of the interval, and at least this.
const LEAST_TARGET: u64 = 10_000_000;
/// A class that waits up to a tenth of its longest wait loses nobody, however short the target.
const PATIENCE_SHARE: u32 = 10;
/// Grants before the tempo is believed.
const WARM: u64 = 16;
/// How many grants or holds a smoothed value remembers: 2^5.
const MEMORY: u32 = 5;
/// A pause between grants counts as at most so many usual ones: a stall is no tempo.
const PAUSE: u64 = 8;

/// A smoothed value and its mean deviation, nanoseconds: each new value moves it by a 32nd, the first ones by more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Smooth {
    pub(crate) mean: u64,
    pub(crate) spread: u64,
    pub(crate) count: u64,
}

impl Smooth {
    pub(crate) fn note(&mut self, value: u64) {
        let off = value.abs_diff(self.mean);
        if self.count >= 1 << MEMORY {
            // Most of the time, and without a division.
            self.mean = if value >= self.mean { self.mean + (off >> MEMORY) } else { self.mean - (off >> MEMORY) };
            self.spread = self.spread - (self.spread >> MEMORY) + (off >> MEMORY);
            return;
        }
        self.count += 1;
        self.mean = nearer(self.mean, value, self.count);
        self.spread = if self.count == 1 { 0 } else { nearer(self.spread, off, self.count) };
    }

    /// About the 95th percentile: for exponential times the mean deviation is 0.74 of the mean and this is 3.2 means (exactly 3.0),
    /// for constant ones it is the mean.
    pub(crate) fn high(&self) -> u64 {
        self.mean.saturating_add(self.spread.saturating_mul(3))
    }
}

/// `from` moved towards `to` by one of `parts` parts.
fn nearer(from: u64, to: u64, parts: u64) -> u64 {
    if to >= from { from + (to - from) / parts } else { from - (from - to) / parts }
}

/// The state of one class in one pool.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gate {
    /// When the interval ends; nobody waited when it is zero.
    until: u64,
    /// The least wait of a grant in it.
    least: Option<u64>,
    /// How many waited when it began; none, where the one before it does not count.
    waited: Option<u32>,
    /// Since when it is overloaded.
    since: Option<Time>,
    /// Refused for it since then.
    pub(crate) shed: u64,
}

/// What an interval's end changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    Overloaded,
    Relaxed { lasted: Duration, shed: u64 },
}

/// The interval for such holds, nanoseconds.
fn interval(hold: &Smooth) -> u64 {
    hold.high().saturating_mul(2).clamp(INTERVAL.0, INTERVAL.1)
}

/// The target for such holds, nanoseconds.
fn target(hold: &Smooth) -> u64 {
    (interval(hold) / 10).max(LEAST_TARGET)
}

impl Gate {
    pub(crate) fn overloaded(&self) -> bool {
        self.since.is_some()
    }

    /// A request of the class was granted after `wait`.
    pub(crate) fn granted(&mut self, wait: Duration) {
        let wait = nanos(wait);
        self.least = Some(self.least.map_or(wait, |least| least.min(wait)));
    }

    /// `waiting` of the class wait now for one of `servers` connections: an interval may begin or end. Where no more wait than there
    /// are connections, each waits for one hold at most, which is no overload.
    pub(crate) fn look(&mut self, now: Time, waiting: u32, servers: u32, hold: &Smooth) -> Option<Turned> {
        if waiting == 0 {
            (self.until, self.least) = (0, None);
            return self.relax(now);
        }
        if self.until == 0 {
            (self.until, self.least, self.waited) = (now.as_nanos().saturating_add(interval(hold)), None, None);
            return None;
        }
        if now.as_nanos() < self.until {
            return None;
        }
        let least = self.least.take()?; // nobody was granted anything: the interval goes on
        let stands = least > target(hold);
        let grew = self.waited.is_some_and(|waited| waiting >= waited) && waiting > servers;
        (self.until, self.waited) = (now.as_nanos().saturating_add(interval(hold)), stands.then_some(waiting));
        match (self.overloaded(), stands) {
            (false, true) if grew => {
                (self.since, self.shed) = (Some(now), 0);
                Some(Turned::Overloaded)
            }
            (true, false) => self.relax(now),
            (false | true, _) => None,
        }
    }

    fn relax(&mut self, now: Time) -> Option<Turned> {
        let since = self.since.take()?;
        Some(Turned::Relaxed { lasted: now.since(since), shed: std::mem::take(&mut self.shed) })
    }
}

/// How long one may wait while its class is overloaded: twice the target, four times in the heaviest class, and never less than a tenth
/// of its longest wait.
pub(crate) fn slough(hold: &Smooth, heaviest: bool, max_wait: Duration) -> Duration {
    let targets = if heaviest { 4 } else { 2 };
    Duration::from_nanos(target(hold) * targets).max(max_wait / PATIENCE_SHARE)
}

/// How fast the waiting of a class are granted connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tempo {
    gap: Smooth,
    /// The last grant, or when the first of those who wait came.
    last: Time,
}

impl Tempo {
    /// Somebody waits where nobody did.
    pub(crate) fn begins(&mut self, now: Time) {
        self.last = now;
    }

    /// One who waited was granted a connection.
    pub(crate) fn granted(&mut self, now: Time) {
        let mut gap = nanos(now.since(self.last));
        if self.gap.count >= WARM {
            gap = gap.min(self.gap.mean.saturating_mul(PAUSE).max(1_000_000));
        }
        self.gap.note(gap);
        self.last = now;
    }

    /// How long the one behind `ahead` others waits at this tempo; `None` where nobody can tell yet.
    pub(crate) fn wait(&self, ahead: u32) -> Option<Duration> {
        let gaps = u64::from(ahead) + 1;
        (self.gap.count >= WARM).then(|| Duration::from_nanos(self.gap.mean.saturating_mul(gaps)))
    }
}

pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * MILLI)
    }

    fn held(millis: u64) -> Smooth {
        let mut hold = Smooth::default();
        (0..100).for_each(|_| hold.note(millis * MILLI));
        hold
    }

    #[test]
    fn a_queue_that_stands_is_overload_and_a_burst_that_is_worked_off_is_not() {
        let hold = held(20);
        let mut gate = Gate::default();
        assert_eq!(gate.look(at(0), 100, 10, &hold), None);
        gate.granted(Duration::from_millis(50));
        assert_eq!(gate.look(at(200), 80, 10, &hold), None, "it becomes shorter");
        gate.granted(Duration::from_millis(50));
        assert_eq!(gate.look(at(300), 500, 10, &hold), None, "the interval has not ended");
        assert_eq!(gate.look(at(400), 70, 10, &hold), None, "and shorter");
        gate.granted(Duration::from_millis(50));
        assert_eq!(gate.look(at(600), 90, 10, &hold), Some(Turned::Overloaded));
        gate.granted(Duration::from_millis(50));
        assert_eq!(gate.look(at(800), 20, 10, &hold), None, "it still stands");
        gate.shed = 7;
        gate.granted(Duration::from_millis(19));
        let lasted = Duration::from_millis(400);
        assert_eq!(gate.look(at(1000), 20, 10, &hold), Some(Turned::Relaxed { lasted, shed: 7 }));
    }

    #[test]
    fn a_stall_is_no_overload_and_an_empty_queue_ends_it() {
        let hold = held(20);
        let mut gate = Gate::default();
        gate.look(at(0), 1, 10, &hold);
        assert_eq!(gate.look(at(3000), 900, 10, &hold), None, "nothing was granted: nothing is known");
        gate.granted(Duration::from_secs(1));
        assert_eq!(gate.look(at(3100), 900, 10, &hold), None);
        gate.granted(Duration::from_secs(1));
        assert_eq!(gate.look(at(3300), 900, 10, &hold), Some(Turned::Overloaded));
        assert!(matches!(gate.look(at(3400), 0, 10, &hold), Some(Turned::Relaxed { .. })));
        assert_eq!(gate.look(at(3500), 0, 10, &hold), None);
    }

    #[test]
    fn intervals_follow_the_hold_time_within_bounds() {
        assert_eq!((interval(&held(1)), target(&held(1))), (200 * MILLI, 20 * MILLI));
        assert_eq!((interval(&held(500)), target(&held(500))), (1000 * MILLI, 100 * MILLI));
        assert_eq!(interval(&held(60_000)), 5_000 * MILLI);
        let second = Duration::from_secs(1);
        assert_eq!(slough(&held(1), false, second), Duration::from_millis(100));
        assert_eq!(slough(&held(500), true, second), Duration::from_millis(400));
    }

    #[test]
    fn a_tempo_forgets_a_stall() {
        let mut tempo = Tempo::default();
        assert_eq!(tempo.wait(10), None);
        (1..=100).for_each(|milli| tempo.granted(at(milli)));
        assert_eq!(tempo.wait(9), Some(Duration::from_millis(10)));
        tempo.granted(at(5_000));
        assert!(tempo.wait(9).is_some_and(|wait| wait < Duration::from_millis(13)), "{:?}", tempo.wait(9));
    }

    #[test]
    fn a_smoothed_value_knows_its_high_end() {
        assert_eq!(held(20).high(), 20 * MILLI);
        let mut mixed = Smooth::default();
        (0..1000).for_each(|turn| mixed.note(if turn % 10 == 0 { 100 * MILLI } else { 10 * MILLI }));
        assert!(mixed.mean > 15 * MILLI && mixed.high() > 50 * MILLI, "{mixed:?}");
    }
}
