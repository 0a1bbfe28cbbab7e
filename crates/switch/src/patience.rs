//! Time limits of what clients do: for one request, one transaction, and silence inside and outside of one.
//!
//! Nobody arms a timer per client. While any pool or user has a limit, each loop goes round its clients several times within
//! the shortest of them; so an end comes late by an eighth of that limit at most, and what has no limit costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::Time;
use poolwarden_relay::{Doing, Keep};

use crate::client::{ClientSlot, Stage};
use crate::io::Io;
use crate::refusal;
use crate::switch::Switch;

/// Longest a client may take for what it does; `None`: no limit (in a user's own: the pool's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// For one request.
    pub query: Option<Duration>,
    /// For one transaction.
    pub transaction: Option<Duration>,
    /// For silence inside a transaction.
    pub idle_in_transaction: Option<Duration>,
    /// For silence outside a transaction.
    pub client_idle: Option<Duration>,
}

/// Which limit was outlasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlasted {
    Query,
    Transaction,
    IdleInTransaction,
    ClientIdle,
}

/// Rounds per shortest limit.
const ROUNDS: u32 = 8;
/// Rounds are never closer than this, whatever limit somebody writes.
const CLOSEST: Duration = Duration::from_millis(10);
/// Nor further apart: an end is late by a second at most.
const FURTHEST: Duration = Duration::from_secs(1);

impl Patience {
    /// These limits, and where there is none (zero is none by its own word) those of `pool`.
    pub(crate) fn or(self, pool: Self) -> Self {
        let over = |own: Option<Duration>, pool: Option<Duration>| own.or(pool).filter(|limit| !limit.is_zero());
        Self {
            query: over(self.query, pool.query),
            transaction: over(self.transaction, pool.transaction),
            idle_in_transaction: over(self.idle_in_transaction, pool.idle_in_transaction),
            client_idle: over(self.client_idle, pool.client_idle),
        }
    }

    pub(crate) fn shortest(self) -> Option<Duration> {
        let limits = [self.query, self.transaction, self.idle_in_transaction, self.client_idle];
        limits.into_iter().flatten().filter(|limit| !limit.is_zero()).min()
    }

    /// The first limit that `doing` has outlasted at `now`, and how long it is.
    fn outlasted(self, now: u64, doing: Doing) -> Option<(Outlasted, Duration)> {
        let over = |limit: Option<Duration>, since: u64, which: Outlasted| {
            limit.filter(|limit| Duration::from_nanos(now.saturating_sub(since)) >= *limit).map(|limit| (which, limit))
        };
        match doing {
            Doing::Nothing { since } => over(self.client_idle, since, Outlasted::ClientIdle),
            Doing::Request { since, transaction } => over(self.query, since, Outlasted::Query)
                .or_else(|| over(self.transaction, transaction, Outlasted::Transaction)),
            Doing::IdleInTransaction { since, transaction } => {
                over(self.idle_in_transaction, since, Outlasted::IdleInTransaction)
                    .or_else(|| over(self.transaction, transaction, Outlasted::Transaction))
            }
        }
    }
}

/// How often to go round when this is the shortest limit.
pub(crate) fn rounds(shortest: Option<Duration>) -> Duration {
    shortest.map_or(Duration::ZERO, |limit| (limit / ROUNDS).clamp(CLOSEST, FURTHEST))
}

impl<L> Switch<L> {
    /// When to go round next; `None` while nobody has a limit.
    pub(crate) fn next_round(&self) -> Option<Time> {
        let every = self.shared.rounds();
        (!every.is_zero()).then(|| self.round_at + every)
    }

    /// Ends every client that has outlasted a limit of its pool.
    pub(crate) fn go_round<I: Io<Link = L>>(&mut self, now: Time, io: &mut I) {
        self.round_at = now;
        let mut limits: BTreeMap<usize, Patience> = BTreeMap::new();
        let mut ended = Vec::new();
        for (key, client) in self.clients.iter().filter(|(_, client)| client.greeted) {
            let limit = limits.entry(client.pool.number).or_insert_with(|| client.pool.terms().patience);
            let outlasted = self.doing(client).and_then(|doing| limit.outlasted(now.as_nanos(), doing));
            ended.extend(outlasted.map(|outlasted| (key, outlasted)));
        }
        for (key, (which, limit)) in ended {
            self.dismiss(now, key, &refusal::outlasted(which, limit), io);
        }
    }

    /// What a client does; `None` while it waits for a server connection, which has limits of its own.
    fn doing(&self, client: &ClientSlot) -> Option<Doing> {
        match client.stage {
            Stage::Idle => Some(Doing::Nothing { since: client.idle_since }),
            Stage::Waiting { .. } => None,
            Stage::Leased { server } => {
                let slot = self.servers.at(server).filter(|slot| slot.relay.keep() != Keep::Tunnel)?; // a standby may be silent for ever
                Some(slot.relay.doing())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn limits() -> Patience {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        Patience {
            query: seconds(3),
            transaction: seconds(10),
            idle_in_transaction: seconds(5),
            client_idle: seconds(60),
        }
    }

    #[test]
    fn each_limit_ends_what_it_is_for_and_nothing_earlier() {
        let cases = [
            (Doing::Nothing { since: 0 }, 60, Outlasted::ClientIdle),
            (Doing::Request { since: 0, transaction: 0 }, 3, Outlasted::Query),
            (Doing::IdleInTransaction { since: 0, transaction: 0 }, 5, Outlasted::IdleInTransaction),
            (Doing::Request { since: 9 * SECOND, transaction: 0 }, 10, Outlasted::Transaction),
            (Doing::IdleInTransaction { since: 9 * SECOND, transaction: 0 }, 10, Outlasted::Transaction),
        ];
        for (doing, seconds, expected) in cases {
            assert_eq!(limits().outlasted(seconds * SECOND - 1, doing), None, "{doing:?}");
            let outlasted = limits().outlasted(seconds * SECOND, doing);
            assert_eq!(outlasted.map(|(which, _)| which), Some(expected), "{doing:?}");
        }
        assert_eq!(Patience::default().outlasted(u64::MAX, Doing::Nothing { since: 0 }), None);
    }

    #[test]
    fn a_users_limit_goes_before_the_pools_and_its_zero_is_none() {
        let own =
            Patience { query: Some(Duration::ZERO), client_idle: Some(Duration::from_secs(1)), ..Patience::default() };
        let both = own.or(limits());
        assert_eq!(both.query, None);
        assert_eq!(both.client_idle, Some(Duration::from_secs(1)));
        assert_eq!(both.transaction, limits().transaction);
        assert_eq!(both.shortest(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn rounds_follow_the_shortest_limit_within_bounds() {
        assert_eq!(rounds(None), Duration::ZERO);
        assert_eq!(rounds(Some(Duration::from_secs(2))), Duration::from_millis(250));
        assert_eq!(rounds(Some(Duration::from_millis(1))), CLOSEST);
        assert_eq!(rounds(Some(Duration::from_secs(3600))), FURTHEST);
    }
}
