//! How lent connections are used at one moment: working, waiting for a lock, idle in transaction, forgotten, or slow.

use std::collections::BTreeMap;

use crate::{Activity, Backend, LeaseState, LeaseView, ServerView};

/// What PostgreSQL told is believed for so long: it is asked every second while somebody waits.
const FRESH_MS: u64 = 2_500;
/// A transaction that is idle for less is not called stuck, however short others are: a person would not call it forgotten yet.
const STUCK_US: f64 = 3e6;
/// One that is idle for longer is, whatever others do.
const SURELY_STUCK_US: f64 = 60e6;
/// In between, one that is idle for so many times the longest hold that ended: those that live come to an end.
const STUCK_HOLDS: f64 = 3.0;
/// A statement that runs for so many times what leases usually take is slow.
const SLOW_HOLDS: f64 = 5.0;
/// A statement that has run for less is not called slow, however quick others are.
const SLOW_US: f64 = 50_000.0;
/// Kinds of slow statements that are kept apart per sample.
const MAX_SLOW: usize = 8;

/// What a lease is held against.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Yardstick {
    /// The usual hold: half of the leases are shorter; `None`: too few were seen.
    pub(crate) median_us: Option<f64>,
    /// The longest that ended lately, and one in a hundred of the usual ones is longer than this; `None`: none was seen.
    pub(crate) longest_us: Option<f64>,
}

impl Yardstick {
    /// For how long a transaction is idle when it is called stuck.
    pub(crate) fn stuck_us(self) -> f64 {
        self.longest_us.map_or(STUCK_US, |longest| (longest * STUCK_HOLDS).clamp(STUCK_US, SURELY_STUCK_US))
    }

    fn slow_us(self) -> Option<f64> {
        self.median_us.map(|median| (median * SLOW_HOLDS).max(SLOW_US))
    }
}

/// How one lent connection is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A request runs, or has just ended.
    Working,
    /// A request runs for far longer than they usually do.
    Slow,
    /// It waits for a lock, or holds the one that others wait for.
    Locked,
    /// A transaction is open, and its client does something else.
    IdleInTransaction,
    /// The same for so long that nobody will come back.
    Stuck,
}

/// Counts of uses; means when divided by `samples`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Occupancy {
    pub(crate) samples: u32,
    pub(crate) lent: u32,
    pub(crate) locked: u32,
    pub(crate) idle: u32,
    pub(crate) stuck: u32,
    pub(crate) slow: u32,
    /// Of `slow`, by fingerprint, most first.
    pub(crate) slow_by: Vec<(u64, u32)>,
    /// Connections whose backend PostgreSQL told of; of those, busy on the processor, the disk or an internal lock.
    pub(crate) told: u32,
    pub(crate) busy: u32,
}

impl Occupancy {
    pub(crate) fn note(&mut self, usage: Use, fingerprint: u64) {
        self.lent += 1;
        match usage {
            Use::Working => {}
            Use::Slow => {
                self.slow += 1;
                self.note_slow(fingerprint, 1);
            }
            Use::Locked => self.locked += 1,
            Use::IdleInTransaction => self.idle += 1,
            Use::Stuck => self.stuck += 1,
        }
    }

    fn note_slow(&mut self, fingerprint: u64, count: u32) {
        if let Some((_, known)) = self.slow_by.iter_mut().find(|(known, _)| *known == fingerprint) {
            *known += count;
        } else if self.slow_by.len() < MAX_SLOW {
            self.slow_by.push((fingerprint, count));
        }
        self.slow_by.sort_by_key(|(fingerprint, count)| (u32::MAX - count, *fingerprint));
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        let mut sum = Self {
            samples: self.samples + other.samples,
            lent: self.lent + other.lent,
            locked: self.locked + other.locked,
            idle: self.idle + other.idle,
            stuck: self.stuck + other.stuck,
            slow: self.slow + other.slow,
            slow_by: self.slow_by.clone(),
            told: self.told + other.told,
            busy: self.busy + other.busy,
        };
        for (fingerprint, count) in &other.slow_by {
            sum.note_slow(*fingerprint, *count);
        }
        sum
    }

    /// Share of the lent connections, 0 to 1.
    pub(crate) fn share(&self, count: u32) -> f64 {
        if self.lent == 0 { 0.0 } else { f64::from(count) / f64::from(self.lent) }
    }

    /// Mean number of connections.
    pub(crate) fn mean(&self, count: u32) -> f64 {
        if self.samples == 0 { 0.0 } else { f64::from(count) / f64::from(self.samples) }
    }
}

/// What leases of now turn out to have been all the time, though nobody could know at first; times in milliseconds since 1970 UTC.
#[derive(Debug, Default)]
pub(crate) struct Hindsight {
    /// Since when each transaction that is stuck has been idle.
    stuck: Vec<u64>,
    /// Since when each request that waits for a lock has run, and its statement's fingerprint.
    locked: Vec<(u64, u64)>,
}

impl Hindsight {
    pub(crate) fn note(&mut self, usage: Use, lease: &LeaseView, now_ms: u64) {
        let since = now_ms.saturating_sub(lease.state_us / 1_000);
        match usage {
            Use::Stuck => self.stuck.push(since),
            Use::Locked if lease.state == LeaseState::Active => self.locked.push((since, lease.fingerprint)),
            Use::Locked | Use::Working | Use::Slow | Use::IdleInTransaction => {}
        }
    }

    /// Puts the sample of `at_ms` right: who is stuck now was called idle then, and who waits for a lock was called slow.
    pub(crate) fn correct(&self, sample: &mut Occupancy, at_ms: u64, yard: Yardstick) {
        let stuck_ms = (yard.stuck_us() / 1e3) as u64;
        let idle = self.stuck.iter().filter(|since| (**since..=**since + stuck_ms).contains(&at_ms)).count();
        let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(sample.idle);
        (sample.idle, sample.stuck) = (sample.idle - idle, sample.stuck + idle);
        let Some(slow_ms) = yard.slow_us().map(|slow| (slow / 1e3) as u64) else { return };
        for (since, fingerprint) in &self.locked {
            let known = sample.slow_by.iter_mut().find(|(known, count)| known == fingerprint && *count > 0);
            if let Some((_, count)) = known.filter(|_| at_ms > since + slow_ms) {
                *count -= 1;
                (sample.slow, sample.locked) = (sample.slow - 1, sample.locked + 1);
            }
        }
        sample.slow_by.retain(|(_, count)| *count > 0);
    }
}

/// Backends by process, where what PostgreSQL told is fresh.
pub(crate) struct Backends<'a> {
    by_pid: BTreeMap<u32, &'a Backend>,
    /// Processes at the head of a chain of locks.
    roots: Vec<u32>,
    age_us: u64,
}

impl<'a> Backends<'a> {
    pub(crate) fn new(activity: Option<&'a Activity>, now_ms: u64) -> Self {
        let fresh = activity.filter(|activity| now_ms.saturating_sub(activity.seen_at_ms) <= FRESH_MS);
        let by_pid: BTreeMap<u32, &Backend> =
            fresh.iter().flat_map(|activity| &activity.backends).map(|backend| (backend.pid, backend)).collect();
        let blocked = |pid: &u32| by_pid.get(pid).is_some_and(|backend| !backend.blocked_by.is_empty());
        let mut roots: Vec<u32> =
            by_pid.values().flat_map(|backend| &backend.blocked_by).copied().filter(|pid| !blocked(pid)).collect();
        roots.sort_unstable();
        roots.dedup();
        let age_us = fresh.map_or(0, |activity| now_ms.saturating_sub(activity.seen_at_ms) * 1_000);
        Self { by_pid, roots, age_us }
    }

    /// The backend of a server connection, if PostgreSQL told of it during this very lease.
    fn of(&self, server: &ServerView, lease: &LeaseView) -> Option<&'a Backend> {
        let told = server.remote_pid.and_then(|pid| self.by_pid.get(&pid)).copied();
        told.filter(|_| lease.held_us >= self.age_us)
    }

    pub(crate) fn backend(&self, pid: u32) -> Option<&'a Backend> {
        self.by_pid.get(&pid).copied()
    }

    /// The processes for which most others wait, directly or behind others, with how many do; most first.
    pub(crate) fn roots(&self) -> Vec<(u32, usize)> {
        let behind = |root: u32| self.by_pid.values().filter(|backend| self.is_behind(backend, root)).count();
        let mut roots: Vec<_> = self.roots.iter().map(|&root| (root, behind(root))).collect();
        roots.sort_by_key(|(pid, count)| (usize::MAX - count, *pid));
        roots
    }

    /// Whether a backend waits for `root`, or for one that waits for it. Chains are followed for a few links only: they may be circles.
    fn is_behind(&self, backend: &Backend, root: u32) -> bool {
        let mut front: Vec<u32> = backend.blocked_by.clone();
        for _link in 0..8 {
            if front.contains(&root) {
                return true;
            }
            let next = front.iter().filter_map(|pid| self.by_pid.get(pid)).flat_map(|backend| &backend.blocked_by);
            front = next.copied().collect();
            front.sort_unstable();
            front.dedup();
            front.truncate(64);
        }
        false
    }

    /// How a lent connection is used.
    pub(crate) fn usage(&self, server: &ServerView, lease: &LeaseView, yard: Yardstick) -> Use {
        let backend = self.of(server, lease);
        if backend.is_some_and(|backend| backend.waits_for_lock() || self.roots.contains(&backend.pid)) {
            return Use::Locked;
        }
        let lasted = lease.state_us as f64;
        match lease.state {
            LeaseState::IdleInTransaction if lasted > yard.stuck_us() => Use::Stuck,
            LeaseState::IdleInTransaction => Use::IdleInTransaction,
            LeaseState::Active if yard.slow_us().is_some_and(|slow| lasted > slow) => Use::Slow,
            LeaseState::Active | LeaseState::Idle => Use::Working,
        }
    }

    /// Whether PostgreSQL told of the connection, and if so, whether its backend was busy rather than asleep.
    pub(crate) fn busy(&self, server: &ServerView, lease: &LeaseView) -> Option<bool> {
        let backend = self.of(server, lease)?;
        let busy = matches!(backend.wait.0.as_str(), "" | "IO" | "LWLock" | "BufferPin");
        Some(busy && backend.state == crate::BackendState::Active)
    }
}
