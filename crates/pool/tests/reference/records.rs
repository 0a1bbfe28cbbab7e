//! What the core tells of requests that ended, held against what was asked and against the core's own books.

use std::collections::BTreeMap;

use poolwarden_pool::{
    CheckoutOutcome, CheckoutRecord, Handled, Host, HostSnapshot, Input, LeaseEnd, Limit, PoolId, Ticket, Time,
};

/// More than one call can end.
pub(super) const MOST_RECORDS: usize = 1_000;

/// What was asked and what was told of it.
#[derive(Default)]
pub(super) struct Recorded {
    asked: u64,
    withdrawn: u64,
    told: u64,
    pools: BTreeMap<PoolId, Sums>,
    /// Who waits or has waited, and since when: what is withdrawn is told by nobody.
    since: BTreeMap<Ticket, (PoolId, u64)>,
    taken: Vec<CheckoutRecord>,
}

/// What was told of one pool.
#[derive(Default)]
struct Sums {
    waited: u64,
    held: u64,
    idle: u64,
    leases: u64,
    lost: u64,
    connects: u64,
    abandoned: u64,
    refused: [u64; Limit::ALL.len()],
}

/// What an input asked.
pub(super) enum Asked {
    Checkout(PoolId),
    Withdraw(Ticket),
    Other,
}

impl Recorded {
    pub(super) fn asked(&self, input: &Input) -> Asked {
        if let Input::Checkout(request) = input {
            Asked::Checkout(request.pool)
        } else if let Input::Withdraw(ticket) = input {
            Asked::Withdraw(*ticket)
        } else {
            Asked::Other
        }
    }

    /// The core has handled it.
    pub(super) fn end(&mut self, asked: &Asked, handled: &Handled, core: &mut Host, now: u64) {
        match (asked, handled) {
            (Asked::Checkout(pool), Handled::Queued(ticket)) => {
                self.asked += 1;
                self.since.insert(*ticket, (*pool, now));
            }
            (Asked::Checkout(_), _) => self.asked += 1,
            (Asked::Withdraw(ticket), Handled::Cancelled) => {
                let (pool, since) = self.since[ticket];
                self.withdrawn += 1;
                self.pools.entry(pool).or_default().waited += now - since;
            }
            (Asked::Withdraw(_) | Asked::Other, _) => {}
        }
        if self.since.len() > 5_000 {
            self.since.retain(|_, (_, since)| now - *since < 600_000_000_000); // longer than anybody may wait
        }
        assert_eq!(core.take_records(&mut self.taken), 0, "there is room");
        for record in &self.taken {
            self.told += 1;
            assert!(record.arrived <= Time::from_nanos(now) && record.until <= Time::from_nanos(now));
            let sums = self.pools.entry(record.pool).or_default();
            sums.waited += record.waited().as_nanos() as u64;
            match record.outcome {
                CheckoutOutcome::Lent(lease) => {
                    sums.leases += 1;
                    sums.held += record.held().as_nanos() as u64;
                    sums.idle += lease.idle_in_transaction.as_nanos() as u64;
                    sums.lost += u64::from(lease.end == LeaseEnd::Lost);
                    sums.connects += u64::from(lease.connect.is_some());
                }
                CheckoutOutcome::Refused { at_once, binding, .. } => {
                    sums.refused[binding.index()] += 1;
                    assert!(!at_once || record.waited().is_zero());
                }
                CheckoutOutcome::Abandoned => sums.abandoned += 1,
            }
        }
    }

    /// Every request that has ended was told once, and the sums of what was told are those of the pools' books.
    pub(super) fn compare(&self, snapshot: &HostSnapshot) {
        let open: u64 = snapshot.pools.iter().map(|pool| u64::from(pool.waiting + pool.slots.lent)).sum();
        assert_eq!(self.told + self.withdrawn + open, self.asked, "each request is told once, when it ends");
        let nothing = Sums::default();
        for pool in &snapshot.pools {
            let sums = self.pools.get(&pool.id).unwrap_or(&nothing);
            assert_eq!((sums.leases, sums.abandoned, sums.refused), (pool.leases, pool.abandoned, pool.refused));
            assert_eq!(sums.idle, pool.idle_in_transaction_nanos, "idle in transaction");
            assert!(sums.connects <= pool.connects, "a connect is told once");
            assert!(sums.lost <= pool.closed[9], "who was lost ended by itself");
            if pool.slots.lent + pool.waiting == 0 {
                // everything that the books know has ended
                assert_eq!(sums.held, pool.lent_nanos, "held");
                assert_eq!(sums.waited, pool.wait_nanos.iter().sum::<u64>(), "waited");
            }
        }
    }
}
