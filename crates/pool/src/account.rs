//! What a pool has done: exact integrals over time, counters, histograms. Told, never fetched.

use std::time::Duration;

use crate::{CloseReason, Limit, Phases, Time, WAIT_BUCKETS};

/// One pool's books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Up to when the integrals are complete.
    lent_at: Time,
    waits_at: Time,
    /// See `PoolSnapshot` for the rest.
    pub(crate) granted: u64,
    pub(crate) granted_after_wait: u64,
    pub(crate) refused: [u64; 16],
    pub(crate) abandoned: u64,
    pub(crate) wait_nanos: [u64; 16],
    pub(crate) wait_granted: [u64; 16],
    pub(crate) wait_failed: [u64; 16],
    pub(crate) hold: [u64; 16],
    pub(crate) leases: u64,
    pub(crate) lent_nanos: u64,
    pub(crate) on_server_nanos: u64,
    pub(crate) idle_in_transaction_nanos: u64,
    pub(crate) connects: u64,
    pub(crate) connects_failed: u64,
    pub(crate) closed: [u64; 10],
    pub(crate) high_water: (u32, u32),
}

impl Account {
    /// `lent` connections were lent from the last call until `now`; to be called before that number changes.
    pub(crate) fn lent_until(&mut self, now: Time, lent: u32) {
        self.lent_nanos = self.lent_nanos.saturating_add(area(self.lent_at, now, lent));
        self.lent_at = now;
    }

    /// `waiting` requests waited for `limit` from the last call until `now`; to be called before either changes.
    pub(crate) fn waited_until(&mut self, now: Time, waiting: u32, limit: Option<Limit>) {
        if let Some(limit) = limit {
            let nanos = &mut self.wait_nanos[limit.index()];
            *nanos = nanos.saturating_add(area(self.waits_at, now, waiting));
        }
        self.waits_at = now;
    }

    /// A request was granted after `waited`; `at_once` if it never stood in the queue.
    pub(crate) fn granted(&mut self, waited: Duration, at_once: bool) {
        self.granted += 1;
        self.granted_after_wait += u64::from(!at_once);
        self.wait_granted[bucket(waited)] += 1;
    }

    /// A request was refused after `waited`.
    pub(crate) fn refused(&mut self, limit: Limit, waited: Duration) {
        self.refused[limit.index()] += 1;
        self.wait_failed[bucket(waited)] += 1;
    }

    /// A client gave up after `waited`.
    pub(crate) fn abandoned(&mut self, waited: Duration) {
        self.abandoned += 1;
        self.wait_failed[bucket(waited)] += 1;
    }

    /// A lease ended after `held`.
    pub(crate) fn lease_ended(&mut self, held: Duration) {
        self.leases += 1;
        self.hold[bucket(held)] += 1;
    }

    /// Where the time of a lease went.
    pub(crate) fn phases(&mut self, phases: &Phases) {
        self.on_server_nanos = self.on_server_nanos.saturating_add(nanos(phases.on_server));
        self.idle_in_transaction_nanos =
            self.idle_in_transaction_nanos.saturating_add(nanos(phases.idle_in_transaction));
    }

    /// A connection was told to go (`None`: it went by itself).
    pub(crate) fn closed(&mut self, reason: Option<CloseReason>) {
        self.closed[reason.map_or(9, |reason| reason as usize)] += 1;
    }
}

fn area(from: Time, to: Time, height: u32) -> u64 {
    (to.as_nanos() - from.as_nanos()).saturating_mul(u64::from(height))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The bucket of `WAIT_BUCKETS` whose upper bound is the first not below `span`; the last holds the rest.
fn bucket(span: Duration) -> usize {
    let span = nanos(span);
    WAIT_BUCKETS.partition_point(|&bound| bound < span)
}
