//! Time limits of what clients do: for one request, one transaction, and silence inside and outside of one.
//!
//! Nobody arms a timer per client. While any pool, class or user has a limit, each loop goes round its clients several times within
//! the shortest of them; so an end comes late by an eighth of that limit at most, and what has no limit costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{ClassId, Time};
use poolwarden_relay::{Doing, Keep};

use crate::client::{ClientSlot, Stage};
use crate::io::Io;
use crate::refusal;
use crate::switch::Switch;

/// Longest a client may take for what it does. `None`: the next one's in the order user, class, pool; zero: no limit.
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

impl Outlasted {
    /// The name of its setting.
    pub(crate) const fn setting(self) -> &'static str {
        match self {
            Self::Query => "query_timeout",
            Self::Transaction => "transaction_timeout",
            Self::IdleInTransaction => "idle_in_transaction_timeout",
            Self::ClientIdle => "client_idle_timeout",
        }
    }
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    User,
    Class(ClassId),
    Pool,
}

/// A limit, and whose it is.
pub(crate) type Limit = (Duration, Whose);

/// What one client is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    query: Option<Limit>,
    transaction: Option<Limit>,
    idle_in_transaction: Option<Limit>,
    client_idle: Option<Limit>,
    /// Somebody wrote down how long a transaction may be idle, or that it may for ever.
    idle_is_written: bool,
}

/// Rounds per shortest limit.
const ROUNDS: u32 = 8;
/// Rounds are never closer than this, whatever limit somebody writes.
const CLOSEST: Duration = Duration::from_millis(10);
/// Nor further apart: an end is late by a second at most.
const FURTHEST: Duration = Duration::from_secs(1);

impl Patience {
    pub(crate) fn shortest(self) -> Option<Duration> {
        let limits = [self.query, self.transaction, self.idle_in_transaction, self.client_idle];
        limits.into_iter().flatten().filter(|limit| !limit.is_zero()).min()
    }
}

impl Limits {
    /// Of each limit the first that somebody wrote; zero is none by its own word.
    pub(crate) fn new(written: [(Patience, Whose); 3]) -> Self {
        let first = |of: fn(&Patience) -> Option<Duration>| {
            written.iter().find_map(|(patience, whose)| of(patience).map(|limit| (limit, *whose)))
        };
        let idle = first(|patience| patience.idle_in_transaction);
        let is_one = |limit: &Limit| !limit.0.is_zero();
        Self {
            query: first(|patience| patience.query).filter(is_one),
            transaction: first(|patience| patience.transaction).filter(is_one),
            idle_in_transaction: idle.filter(is_one),
            client_idle: first(|patience| patience.client_idle).filter(is_one),
            idle_is_written: idle.is_some(),
        }
    }

    /// Of each limit the shorter; what either leaves to the rule, the rule holds.
    pub(crate) fn shorter(self, other: Self) -> Self {
        let least = |one: Option<Limit>, two: Option<Limit>| one.into_iter().chain(two).min_by_key(|limit| limit.0);
        Self {
            query: least(self.query, other.query),
            transaction: least(self.transaction, other.transaction),
            idle_in_transaction: least(self.idle_in_transaction, other.idle_in_transaction),
            client_idle: least(self.client_idle, other.client_idle),
            idle_is_written: self.idle_is_written && other.idle_is_written,
        }
    }

    /// Whether the rule of [`crate::idle`] holds for its transactions.
    pub(crate) fn leaves_idling_to_the_rule(&self) -> bool {
        !self.idle_is_written
    }

    /// The first limit that `doing` has outlasted at `now`.
    fn outlasted(&self, now: u64, doing: Doing) -> Option<(Outlasted, Limit)> {
        let over = |limit: Option<Limit>, since: u64, which: Outlasted| {
            limit
                .filter(|(span, _)| Duration::from_nanos(now.saturating_sub(since)) >= *span)
                .map(|limit| (which, limit))
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

    /// Ends every client that has outlasted a limit.
    pub(crate) fn go_round<I: Io<Link = L>>(&mut self, now: Time, io: &mut I) {
        self.round_at = now;
        let book = self.shared.book();
        let mut limits: BTreeMap<(usize, Option<&str>, ClassId, ClassId), Limits> = BTreeMap::new();
        let mut ended = Vec::new();
        for (key, client) in self.clients.iter().filter(|(_, client)| client.greeted) {
            let classes = (client.claim.base, client.claim.class);
            let held_to = limits
                .entry((client.pool.number, client.login.as_deref(), classes.0, classes.1))
                .or_insert_with(|| book.limits(client.asked_for(), classes));
            let outlasted = self.doing(client).and_then(|doing| held_to.outlasted(now.as_nanos(), doing));
            ended.extend(outlasted.map(|(which, (limit, whose))| {
                let setting = book.setting(client.asked_for(), whose, which.setting());
                (key, refusal::outlasted(which, limit, &setting))
            }));
        }
        for (key, told) in ended {
            self.dismiss(now, key, &told, io);
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

    const NONE: Patience = Patience { query: None, transaction: None, idle_in_transaction: None, client_idle: None };

    fn pools() -> Patience {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        Patience {
            query: seconds(3),
            transaction: seconds(10),
            idle_in_transaction: seconds(5),
            client_idle: seconds(60),
        }
    }

    fn limits_of(user: Patience, class: Patience, pool: Patience) -> Limits {
        Limits::new([(user, Whose::User), (class, Whose::Class(ClassId(1))), (pool, Whose::Pool)])
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
            assert_eq!(limits_of(NONE, NONE, pools()).outlasted(seconds * SECOND - 1, doing), None, "{doing:?}");
            let outlasted = limits_of(NONE, NONE, pools()).outlasted(seconds * SECOND, doing);
            assert_eq!(outlasted.map(|(which, _)| which), Some(expected), "{doing:?}");
        }
        assert_eq!(Limits::default().outlasted(u64::MAX, Doing::Nothing { since: 0 }), None);
    }

    #[test]
    fn a_users_limit_goes_before_the_classs_and_that_before_the_pools_and_zero_is_none() {
        let (zero, one, two) = (Some(Duration::ZERO), Some(Duration::from_secs(1)), Some(Duration::from_secs(2)));
        let user = Patience { query: zero, client_idle: one, ..NONE };
        let class = Patience { query: two, client_idle: two, transaction: two, ..NONE };
        let limits = limits_of(user, class, pools());
        assert_eq!(limits.query, None);
        assert_eq!(limits.client_idle, Some((Duration::from_secs(1), Whose::User)));
        assert_eq!(limits.transaction, Some((Duration::from_secs(2), Whose::Class(ClassId(1)))));
        assert_eq!(limits.idle_in_transaction, Some((Duration::from_secs(5), Whose::Pool)));
        assert_eq!(user.shortest(), one);
    }

    #[test]
    fn a_class_that_a_client_chose_makes_no_limit_longer() {
        let long =
            Patience { query: Some(Duration::from_secs(600)), idle_in_transaction: Some(Duration::ZERO), ..NONE };
        let (chosen, own) = (limits_of(NONE, long, NONE), limits_of(NONE, NONE, pools()));
        let both = chosen.shorter(own);
        assert_eq!(both.query, Some((Duration::from_secs(3), Whose::Pool)));
        assert_eq!(both.idle_in_transaction, own.idle_in_transaction, "a zero is not shorter");
        let ruled = chosen.shorter(limits_of(NONE, NONE, NONE));
        assert!(ruled.leaves_idling_to_the_rule() && !chosen.leaves_idling_to_the_rule());
    }

    #[test]
    fn rounds_follow_the_shortest_limit_within_bounds() {
        assert_eq!(rounds(None), Duration::ZERO);
        assert_eq!(rounds(Some(Duration::from_secs(2))), Duration::from_millis(250));
        assert_eq!(rounds(Some(Duration::from_millis(1))), CLOSEST);
        assert_eq!(rounds(Some(Duration::from_secs(3600))), FURTHEST);
    }
}
