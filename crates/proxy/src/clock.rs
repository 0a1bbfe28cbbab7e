//! The process's clock: nanoseconds since its start, without the time during which the whole process stood still.
//!
//! A process that was stopped (SIGSTOP, a suspended or moved machine) must not blame its clients for the gap: every deadline moves with it.
//! Somebody reads the clock at least every [`TICK`]; a gap of more than [`GAP`] between two readings is taken out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use poolwarden_switch::pool::Time;

/// Every loop reads the clock at least this often.
pub(crate) const TICK: Duration = Duration::from_millis(250);
/// A longer silence means that the process stood still.
const GAP: Duration = Duration::from_secs(1);

pub(crate) struct Clock {
    start: Instant,
    started_unix_ms: u64,
    last: AtomicU64,
    gaps: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Instant::now(),
            started_unix_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            last: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
        }
    }

    pub(crate) fn now(&self) -> Time {
        let raw = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let last = self.last.fetch_max(raw, Ordering::Relaxed);
        let silence = raw.saturating_sub(last);
        let gap = u64::try_from(GAP.as_nanos()).unwrap_or(u64::MAX);
        if silence > gap {
            self.gaps.fetch_add(silence, Ordering::Relaxed);
        }
        Time::from_nanos(raw.saturating_sub(self.gaps.load(Ordering::Relaxed)))
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
