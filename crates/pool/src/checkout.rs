//! What became of each request, one value each, for whoever records traffic. Off unless asked for; nothing decides by it.
//!
//! Invariants: every request that was not withdrawn while it waited gives one value when it ends; what has no place is counted as
//! lost; the list never grows beyond what was asked for.

use std::time::Duration;

use crate::host::Host;
use crate::limit::Limit;
use crate::slot::State;
use crate::{ClassId, Fitness, PoolId, Reason, Refusal, Request, Time};

/// One request for a server connection that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckoutRecord {
    /// From whose connections.
    pub pool: PoolId,
    /// Of which class.
    pub class: ClassId,
    /// Who shares fairly: the application, as a hash.
    pub tenant: u64,
    /// How often in a row the same client had been refused and come again at once.
    pub attempt: u8,
    /// Whose request, see [`Request::client`].
    pub client: u32,
    /// When it came.
    pub arrived: Time,
    /// When its wait ended: it was granted, refused or given up.
    pub until: Time,
    /// How it ended.
    pub outcome: CheckoutOutcome,
}

impl CheckoutRecord {
    /// How long it waited.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.until.since(self.arrived)
    }

    /// How long it held a connection; zero where it got none.
    #[must_use]
    pub fn held(&self) -> Duration {
        match self.outcome {
            CheckoutOutcome::Lent(lease) => lease.ended.since(self.until),
            CheckoutOutcome::Refused { .. } | CheckoutOutcome::Abandoned => Duration::ZERO,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckoutOutcome {
    /// It was lent a connection, which came back or did not.
    Lent(LeaseRecord),
    /// It was refused.
    Refused {
        /// As it came; else after it had waited.
        at_once: bool,
        /// What moved admission.
        reason: Reason,
        /// The limit that refused.
        limit: Limit,
        /// The limit that bound while it waited, see [`Refusal::binding`].
        binding: Limit,
    },
    /// Its client gave up.
    Abandoned,
}

/// A lease that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// When it ended.
    pub ended: Time,
    /// How much of it the transaction was open and no query in flight; zero where the connection did not come back.
    pub idle_in_transaction: Duration,
    /// How it ended.
    pub end: LeaseEnd,
    /// The connection's place on its server.
    pub conn: u32,
    /// What the connect of this connection took: told by its first lease alone.
    pub connect: Option<Duration>,
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// The connection came back, fit for the next.
    Served,
    /// It came back unfit, or was taken away.
    Broken,
    /// It ended while it was lent.
    Lost,
}

/// The values that nobody has taken yet. A copy of a host keeps none.
#[derive(Debug, Default)]
pub(crate) struct Records {
    kept: Vec<CheckoutRecord>,
    /// The most that are kept; 0: off.
    capacity: usize,
    lost: u64,
}

impl Clone for Records {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Records {
    /// Whether anything is kept.
    #[inline]
    pub(crate) fn are_kept(&self) -> bool {
        self.capacity > 0
    }

    #[inline]
    fn note(&mut self, record: CheckoutRecord) {
        if self.kept.len() < self.capacity {
            self.kept.push(record);
        } else {
            self.lost += 1;
        }
    }
}

impl Host {
    /// Keeps what becomes of each request from now on, `capacity` of them at most between two calls of [`Host::take_records`]; zero
    /// ends that, and forgets what is kept. Off by default.
    pub fn keep_records(&mut self, capacity: usize) {
        if capacity == self.records.capacity {
            return;
        }
        if self.records.capacity == 0 {
            // their first leases were not recorded
            self.slots.table.iter_mut().for_each(|slot| slot.connect = None);
        }
        self.records.capacity = capacity;
        if capacity == 0 {
            self.records = Records::default();
        }
    }

    /// Swaps what is kept, oldest end first, with `into`, which is emptied; tells how many had no place since the last call. Where
    /// `into` has room for as many as are kept at most, nothing is allocated before the next call.
    pub fn take_records(&mut self, into: &mut Vec<CheckoutRecord>) -> u64 {
        into.clear();
        std::mem::swap(&mut self.records.kept, into);
        std::mem::take(&mut self.records.lost)
    }

    /// How many pools were ever made: ids below that are known.
    #[must_use]
    pub fn pools_made(&self) -> u32 {
        self.pools.next_id().0
    }

    /// The lease of a lent connection ends this way. To be called while it is still lent, once.
    #[inline]
    pub(crate) fn record_lease(&mut self, index: u32, end: LeaseEnd, idle_in_transaction: Duration) {
        if self.records.are_kept() {
            self.record_kept_lease(index, end, idle_in_transaction);
        }
    }

    fn record_kept_lease(&mut self, index: u32, end: LeaseEnd, idle_in_transaction: Duration) {
        let slot = &mut self.slots.table[index as usize];
        let State::Lent { ticket } = slot.state else { return };
        let ended = self.turn.now;
        let lease = LeaseRecord { ended, idle_in_transaction, end, conn: index, connect: slot.connect.take() };
        let granted = slot.since;
        self.record_ticket(ticket, granted, CheckoutOutcome::Lent(lease));
    }

    /// The request of a ticket has ended; `until`: when its wait did. Its entry is as it was when it was drawn.
    #[inline]
    pub(crate) fn record_ticket(&mut self, ticket: u32, until: Time, outcome: CheckoutOutcome) {
        if !self.records.are_kept() {
            return;
        }
        let entry = &self.tickets.table[ticket as usize];
        let record = CheckoutRecord {
            pool: entry.pool,
            class: self.known_class(entry.class),
            tenant: entry.tenant,
            attempt: entry.attempt,
            client: entry.client,
            arrived: entry.since,
            until,
            outcome,
        };
        self.records.note(record);
    }

    /// A request was refused as it came.
    pub(crate) fn record_refused(&mut self, request: &Request, refusal: &Refusal) {
        if !self.records.are_kept() {
            return;
        }
        let record = CheckoutRecord {
            pool: request.pool,
            class: self.known_class(request.class),
            tenant: request.tenant,
            attempt: request.attempt,
            client: request.client,
            arrived: self.turn.now,
            until: self.turn.now,
            outcome: refused(refusal, true),
        };
        self.records.note(record);
    }
}

/// The outcome of a refusal.
pub(crate) fn refused(of: &Refusal, at_once: bool) -> CheckoutOutcome {
    CheckoutOutcome::Refused { at_once, reason: of.reason, limit: of.limit, binding: of.binding }
}

impl From<Fitness> for LeaseEnd {
    fn from(fitness: Fitness) -> Self {
        match fitness {
            Fitness::Clean | Fitness::NeedsReset => Self::Served,
            Fitness::Broken => Self::Broken,
        }
    }
}
