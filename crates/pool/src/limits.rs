//! The hierarchy of limits: capacity is a minimum over named limits, and the argument of that minimum is kept.
//!
//! A scope is what pools share: a user, a database, the host. Its counts are kept by `Slots::move_to` alone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::pool::Pool;
use crate::slot::State;
use crate::{Limit, PoolId, Time};

/// An idle connection younger than this is not evicted: it would likely be wanted again at once.
pub(crate) const EVICTION_AGE: Duration = Duration::from_secs(5);

/// Beyond what its pool needs it is not evicted before this, while others wait.
pub(crate) const SPARE_AGE: Duration = Duration::from_millis(25);

/// PostgreSQL said that it has no room: one more try after each of these spans.
pub(crate) const CAPACITY_RETRY: Duration = Duration::from_secs(10);

/// What PostgreSQL's own refusal taught about one of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    /// The limit it named.
    pub(crate) limit: Limit,
    /// Connections that were open then.
    pub(crate) cap: u32,
    /// When one more is tried.
    pub(crate) retry_at: Time,
}

/// What several pools share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Its size as configured; `None` is unlimited.
    pub(crate) max: Option<u32>,
    /// Our share of PostgreSQL's own limit, from the newest facts.
    pub(crate) pg: Option<u32>,
    /// What a refusal taught.
    pub(crate) learned: Option<Learned>,
    /// All connections counted against it.
    pub(crate) used: u32,
    /// Of those, connects under way.
    pub(crate) opening: u32,
    /// Of those, told to go: places that will be free soon.
    pub(crate) ending: u32,
    /// Of those, in use or of use soon.
    pub(crate) living: u32,
    /// Places becoming free that a waiting pool counts on, during one pass.
    pub(crate) claimed: u32,
    /// No connection of this scope can be evicted before.
    pub(crate) barren_until: Time,
    /// The pools that share it, in the order they were made.
    pub(crate) pools: Vec<PoolId>,
}

impl Scope {
    fn moved(&mut self, from: State, to: State, now: Time) {
        let opening = |state| u32::from(matches!(state, State::Opening { .. }));
        let ending = |state| u32::from(matches!(state, State::Ending { .. }));
        self.used = self.used + u32::from(to.counted()) - u32::from(from.counted());
        self.living = self.living + u32::from(to.living()) - u32::from(from.living());
        self.opening = self.opening + opening(to) - opening(from);
        self.ending = self.ending + ending(to) - ending(from);
        if to.living() && !from.living() {
            // A pool that grows has a larger surplus: some old idle connection may have become evictable.
            self.barren_until = Time::ZERO;
        } else if matches!(to, State::Idle) {
            self.barren_until = self.barren_until.min(now + SPARE_AGE);
        }
    }

    /// Living connections beyond the configured size, after it was made smaller.
    pub(crate) fn over(&self) -> bool {
        self.max.is_some_and(|max| self.living > max)
    }

    /// A connect was begun: a due retry is used up.
    pub(crate) fn tried(&mut self, now: Time) {
        if let Some(learned) = &mut self.learned
            && now >= learned.retry_at
            && self.used > learned.cap
        {
            learned.retry_at = now + CAPACITY_RETRY;
        }
    }

    /// The size that a refusal taught, one more when a retry is due.
    fn taught(&self, now: Time) -> Option<(Limit, u32)> {
        let learned = self.learned?;
        let size = if now >= learned.retry_at { learned.cap.max(self.used) + 1 } else { learned.cap };
        Some((learned.limit, size))
    }
}

/// Which scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    User(u32),
    Database(u32),
    Host,
}

/// All scopes of a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scopes {
    /// All pools.
    pub(crate) host: Scope,
    /// By user.
    pub(crate) users: Family,
    /// By database.
    pub(crate) databases: Family,
}

/// Scopes of one kind by name; a place is reused once no pool needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Family {
    pub(crate) by_name: BTreeMap<String, u32>,
    pub(crate) list: Vec<Scope>,
    free: Vec<u32>,
}

impl Family {
    /// The scope of that name, made if need be.
    pub(crate) fn enter(&mut self, name: &str, pool: PoolId) -> u32 {
        let index = self.by_name.get(name).copied().unwrap_or_else(|| {
            let index = self.free.pop().unwrap_or_else(|| {
                self.list.push(Scope::default());
                self.list.len() as u32 - 1
            });
            self.by_name.insert(name.to_owned(), index);
            index
        });
        self.list[index as usize].pools.push(pool);
        index
    }

    /// A pool is retired; its connections are gone.
    pub(crate) fn leave(&mut self, name: &str, pool: PoolId) {
        let Some(&index) = self.by_name.get(name) else { return };
        let scope = &mut self.list[index as usize];
        scope.pools.retain(|&other| other != pool);
        if scope.pools.is_empty() {
            *scope = Scope::default();
            self.by_name.remove(name);
            self.free.push(index);
        }
    }
}

impl Scopes {
    /// The scope itself.
    pub(crate) fn of(&self, of: Of) -> &Scope {
        match of {
            Of::User(index) => &self.users.list[index as usize],
            Of::Database(index) => &self.databases.list[index as usize],
            Of::Host => &self.host,
        }
    }

    /// The scope itself, to change it.
    pub(crate) fn of_mut(&mut self, of: Of) -> &mut Scope {
        match of {
            Of::User(index) => &mut self.users.list[index as usize],
            Of::Database(index) => &mut self.databases.list[index as usize],
            Of::Host => &mut self.host,
        }
    }

    /// Every scope, to change them all.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Scope> {
        self.users.list.iter_mut().chain(&mut self.databases.list).chain(std::iter::once(&mut self.host))
    }

    /// A connection of that user and database changed its state.
    pub(crate) fn moved(&mut self, (user, database): (u32, u32), from: State, to: State, now: Time) {
        self.users.list[user as usize].moved(from, to, now);
        self.databases.list[database as usize].moved(from, to, now);
        self.host.moved(from, to, now);
    }
}

/// How many more connections there may be, and what says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) left: u32,
    pub(crate) limit: Limit,
    pub(crate) size: u32,
    pub(crate) used: u32,
}

impl Room {
    fn of(limit: Limit, size: u32, used: u32) -> Self {
        Self { left: size.saturating_sub(used), limit, size, used }
    }

    /// The smaller of the two; of equals the one that came first.
    fn narrowed(self, limit: Limit, size: u32, used: u32) -> Self {
        let other = Self::of(limit, size, used);
        if other.left < self.left { other } else { self }
    }

    /// The shared scope behind this limit, where another pool's connection could make room.
    pub(crate) fn shared(&self, pool: &Pool) -> Option<Of> {
        match self.limit {
            Limit::User | Limit::PgRole => Some(Of::User(pool.user)),
            Limit::Database | Limit::PgDatabase => Some(Of::Database(pool.database)),
            Limit::HostBudget | Limit::PgSlots => Some(Of::Host),
            Limit::PoolSize
            | Limit::Reserve
            | Limit::ClassShare
            | Limit::Connects
            | Limit::Breaker
            | Limit::MaxClients
            | Limit::Fds
            | Limit::Memory
            | Limit::QueueLength
            | Limit::WaitTime => None,
        }
    }
}

/// The pool's own part of its room.
pub(crate) fn own_room(pool: &Pool, reserve_open: bool) -> Room {
    let (rules, used) = (&pool.rules, pool.counts.counted());
    if reserve_open {
        Room::of(Limit::PoolSize, rules.size.saturating_add(rules.reserve), used)
    } else if rules.reserve > 0 && used >= rules.size {
        Room { left: 0, limit: Limit::Reserve, size: rules.reserve, used: used - rules.size }
    } else {
        Room::of(Limit::PoolSize, rules.size, used)
    }
}

/// How many more connections `pool` may have: the minimum over every limit, in the documented order.
pub(crate) fn room(scopes: &Scopes, pool: &Pool, reserve_open: bool, now: Time) -> Room {
    let (user, database) = (scopes.of(Of::User(pool.user)), scopes.of(Of::Database(pool.database)));
    let host = &scopes.host;
    let mut room = own_room(pool, reserve_open);
    for (limit, scope) in [(Limit::User, user), (Limit::Database, database), (Limit::HostBudget, host)] {
        if let Some(max) = scope.max {
            room = room.narrowed(limit, max, scope.used);
        }
    }
    for (limit, scope) in [(Limit::PgRole, user), (Limit::PgDatabase, database), (Limit::PgSlots, host)] {
        if let Some(size) = scope.pg {
            room = room.narrowed(limit, size, scope.used);
        }
        if let Some((limit, size)) = scope.taught(now) {
            room = room.narrowed(limit, size, scope.used);
        }
    }
    room
}
