//! The process's clock: nanoseconds since its start, without the time during which the whole process stood still.
//!
//! A process that was stopped (SIGSTOP, a suspended or moved machine) must not blame its clients for the gap: every deadline moves with it.
//! Somebody reads the clock at least every [`TICK`]; a gap of more than [`GAP_NANOS`] between two readings is taken out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use poolwarden_switch::pool::Time;

/// Every loop reads the clock at least this often.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// A longer silence means that the process stood still.
const GAP_NANOS: u64 = 1_000_000_000;

pub(crate) struct Clock {
    start: Instant,
    started_unix_ms: u64,
    last: AtomicU64,
    gaps: AtomicU64,
    taking_out: Mutex<()>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Instant::now(),
            started_unix_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            last: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            taking_out: Mutex::new(()),
        }
    }

    pub(crate) fn now(&self) -> Time {
        let raw = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if raw.saturating_sub(self.last.load(Ordering::Acquire)) > GAP_NANOS {
            self.take_out(raw);
        } else {
            self.last.fetch_max(raw, Ordering::Release);
        }
        Time::from_nanos(raw.saturating_sub(self.gaps.load(Ordering::Acquire)))
    }

    /// Takes out the silence before `raw`, once: all threads wake from a stop together, and who sees the new reading must see the gap too.
    fn take_out(&self, raw: u64) {
        let _one = self.taking_out.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = raw.saturating_sub(self.last.load(Ordering::Acquire));
        if silence > GAP_NANOS {
            self.gaps.fetch_add(silence, Ordering::Release);
            self.last.fetch_max(raw, Ordering::Release);
        }
    }

    /// Time taken out so far.
    pub(crate) fn gaps(&self) -> Duration {
        Duration::from_nanos(self.gaps.load(Ordering::Relaxed))
    }

    /// When the process started, in milliseconds since 1970 UTC.
    pub(crate) fn started_unix_ms(&self) -> u64 {
        self.started_unix_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_taken_out_once_and_time_goes_on_behind_it() {
        let clock = Clock::new();
        let before = clock.now();
        let later = 5_000_000_000;
        clock.take_out(later);
        clock.take_out(later);
        let gap = u64::try_from(clock.gaps().as_nanos()).unwrap();
        assert!(gap <= later && gap > later - 1_000_000_000, "{gap}");
        let now = clock.start.elapsed();
        assert!(clock.now().since(before) <= now, "time does not run ahead of what has passed");
    }
}
