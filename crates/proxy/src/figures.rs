//! Numbers of the process, told by whoever does the counting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use poolwarden_switch::pool::{Limit, Time, WAIT_BUCKETS};

use crate::auth::LoginFailures;
use crate::tls::Expiry;

/// One event loop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoopFigures {
    /// Clients on it.
    pub clients: u32,
    /// Server connections on it.
    pub servers: u32,
    /// Share of a core it uses, waiting for the core included, 0 to 1.
    pub busy_ratio: f64,
    /// Longest turn since the last look, nanoseconds.
    pub lag_nanos: u64,
    /// Connections that came over from other loops.
    pub moved: u64,
    /// It has not turned for seconds.
    pub stuck: bool,
}

/// Cancel requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cancels {
    /// Sent on to PostgreSQL, or refused a waiting request.
    pub forwarded: u64,
    /// With a key that fits nobody.
    pub refused: u64,
    /// Not taken because too many were on their way.
    pub dropped: u64,
}

/// The process.
#[derive(Clone, Debug, Default)]
pub struct ProcessFigures {
    /// Clients.
    pub clients: u32,
    /// Most clients.
    pub max_clients: u32,
    /// Connections that have not proven who they are.
    pub logins: u32,
    /// Most of those.
    pub max_logins: u32,
    /// Bytes kept for peers that do not read.
    pub memory: u64,
    /// Most of those.
    pub max_memory: u64,
    /// Open descriptors' soft limit.
    pub max_fds: u64,
    /// Client connections accepted that said something.
    pub opened_total: u64,
    /// Clients refused at the door, by limit.
    pub refused: Vec<(Limit, u64)>,
    /// How long logins took that ended well, from the first word, by bucket of `WAIT_BUCKETS`.
    pub login_took: [u64; 16],
    /// Logins that failed, by reason.
    pub login_failures: LoginFailures,
    /// Keys derived from passwords (PBKDF2), towards clients and servers.
    pub scram_derivations: u64,
    /// Cancel requests.
    pub cancels: Cancels,
    /// The certificates in use, of bundles of authorities the one that ends first.
    pub certificates: Vec<Expiry>,
    /// Failures to accept (descriptors ran out).
    pub accept_errors: u64,
    /// Time the whole process stood still, milliseconds.
    pub gaps_ms: u64,
}

/// Spans of time by bucket of `WAIT_BUCKETS`.
#[derive(Debug, Default)]
pub(crate) struct Spans([AtomicU64; 16]);

impl Spans {
    pub(crate) fn note(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        bump(&self.0[WAIT_BUCKETS.partition_point(|&bound| bound < nanos)]);
    }

    pub(crate) fn counts(&self) -> [u64; 16] {
        std::array::from_fn(|bucket| self.0[bucket].load(Ordering::Relaxed))
    }
}

/// Where the counting happens.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) clients: Arc<AtomicU32>,
    pub(crate) logins: Arc<AtomicU32>,
    /// Those who came in by the door aside.
    pub(crate) aside: Arc<AtomicU32>,
    /// Sessions on the SQL console.
    pub(crate) consoles: Arc<AtomicU32>,
    pub(crate) memory: AtomicU64,
    pub(crate) opened: AtomicU64,
    pub(crate) login_took: Spans,
    pub(crate) refused_clients: AtomicU64,
    pub(crate) refused_fds: AtomicU64,
    pub(crate) refused_memory: AtomicU64,
    pub(crate) cancels_dropped: AtomicU64,
    pub(crate) cancels_refused: AtomicU64,
    pub(crate) cancels_handed_on: AtomicU64,
    pub(crate) askers: Arc<AtomicU32>,
    pub(crate) accept_errors: AtomicU64,
}

/// What a loop tells about itself, without being asked.
#[derive(Debug, Default)]
pub(crate) struct LoopGauge {
    pub(crate) clients: AtomicU32,
    pub(crate) servers: AtomicU32,
    pub(crate) lag: AtomicU64,
    pub(crate) moved: AtomicU64,
    /// When it last turned, nanoseconds.
    pub(crate) turned_at: AtomicU64,
    /// Its thread, once it runs.
    pub(crate) thread: AtomicU32,
    /// Its CPU time and run-queue wait when last looked at, and when that was.
    pub(crate) used: AtomicU64,
    pub(crate) looked_at: AtomicU64,
    /// Share of a core in thousandths.
    pub(crate) busy: AtomicU32,
}

/// A loop that has not turned for so long is stuck; it turns at least four times a second.
const STUCK_NANOS: u64 = 5_000_000_000;

impl LoopGauge {
    /// What it says now; the longest turn starts anew.
    pub(crate) fn figures(&self, now: Time) -> LoopFigures {
        let turned_at = self.turned_at.load(Ordering::Relaxed);
        LoopFigures {
            clients: self.clients.load(Ordering::Relaxed),
            servers: self.servers.load(Ordering::Relaxed),
            busy_ratio: f64::from(self.busy.load(Ordering::Relaxed)) / 1000.0,
            lag_nanos: self.lag.swap(0, Ordering::Relaxed),
            moved: self.moved.load(Ordering::Relaxed),
            stuck: turned_at > 0 && now.as_nanos().saturating_sub(turned_at) > STUCK_NANOS,
        }
    }

    /// Looks at the loop's thread: CPU time and time it waited for a core since the last look, as a share of one core.
    /// Returns thousandths.
    pub(crate) fn measure(&self, now: Time) -> u32 {
        let thread = self.thread.load(Ordering::Relaxed);
        let Some(used) = schedstat(thread) else { return 0 };
        let before = self.used.swap(used, Ordering::Relaxed);
        let looked_at = self.looked_at.swap(now.as_nanos(), Ordering::Relaxed);
        let span = now.as_nanos().saturating_sub(looked_at).max(1);
        let share = used.saturating_sub(before).saturating_mul(1000) / span;
        let share = u32::try_from(share.min(1000)).unwrap_or(1000);
        self.busy.store(share, Ordering::Relaxed);
        share
    }
}

/// Nanoseconds a thread of ours has run and waited to run.
fn schedstat(thread: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?;
    let mut numbers = text.split_ascii_whitespace().map_while(|number| number.parse::<u64>().ok());
    Some(numbers.next()? + numbers.next()?)
}

pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
