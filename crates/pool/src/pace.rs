//! How fast connects may be tried: so many in flight, doubled after each successful round, and full jitter after a failure.
//!
//! A connect older than half of `connect_timeout` is *stuck*: it keeps its own place under every limit
//! but not its place in the pacing, so that it never holds up the others.

use std::time::Duration;

use crate::random::Random;
use crate::{HostSettings, Time};

/// The state of connecting to one host.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// Connects in flight, stuck ones left out.
    pub(crate) in_flight: u32,
    /// Most of them now.
    pub(crate) allowed: u32,
    /// Successes since the last doubling.
    successes: u32,
    /// Failed rounds in a row.
    failures: u32,
    /// When the last of them was counted; connects begun before do not count again.
    failed_at: Time,
    /// No connect before this.
    pub(crate) not_before: Time,
    /// The server is believed down: its last answer to a connect was none.
    pub(crate) down: bool,
}

impl Pace {
    /// As at start.
    pub(crate) fn new(settings: &HostSettings) -> Self {
        Self {
            in_flight: 0,
            allowed: settings.connects_start.max(1),
            successes: 0,
            failures: 0,
            failed_at: Time::ZERO,
            not_before: Time::ZERO,
            down: false,
        }
    }

    /// Whether `taken` more places than those in flight leave room for another connect.
    pub(crate) fn open(&self, now: Time, taken: u32) -> bool {
        now >= self.not_before && self.in_flight + taken < self.allowed
    }

    /// A connect ended well.
    pub(crate) fn succeeded(&mut self, settings: &HostSettings) {
        self.answered();
        self.successes += 1;
        if self.successes >= self.allowed {
            self.successes = 0;
            self.allowed =
                self.allowed.saturating_mul(2).min(settings.connects_max.max(settings.connects_start)).max(1);
        }
    }

    /// The server answered, whatever it said: it is not down.
    pub(crate) fn answered(&mut self) {
        self.failures = 0;
        self.down = false;
        self.not_before = Time::ZERO;
    }

    /// The server answered that it has no room: begin again with few at once.
    pub(crate) fn slowed(&mut self, settings: &HostSettings) {
        self.answered();
        self.allowed = settings.connects_start.max(1);
        self.successes = 0;
    }

    /// A connect begun at `begun` got no answer.
    pub(crate) fn failed(&mut self, now: Time, begun: Time, settings: &HostSettings, random: &mut Random) {
        self.allowed = settings.connects_start.max(1);
        self.successes = 0;
        let first = !self.down;
        self.down = true;
        if first || begun >= self.failed_at {
            self.not_before = now + back_off(settings.backoff, self.failures, random);
            self.failures += 1;
            self.failed_at = now;
        }
    }

    /// New settings.
    pub(crate) fn apply(&mut self, settings: &HostSettings) {
        let most = settings.connects_max.max(settings.connects_start).max(1);
        self.allowed = self.allowed.clamp(settings.connects_start.clamp(1, most), most);
    }
}

/// Full jitter: uniform in [0, min(largest, first * 2^failures)] (Brooker, "Exponential Backoff and Jitter", 2015).
pub(crate) fn back_off((first, largest): (Duration, Duration), failures: u32, random: &mut Random) -> Duration {
    let first = u64::try_from(first.as_nanos()).unwrap_or(u64::MAX);
    let largest = u64::try_from(largest.as_nanos()).unwrap_or(u64::MAX);
    let most = first.saturating_mul(1u64.checked_shl(failures).unwrap_or(u64::MAX)).min(largest);
    Duration::from_nanos(random.up_to(most))
}
