//! The slow, obvious pool: plain vectors, everything counted anew at each step, no alarms and no caches.
//!
//! Written from the product's words, not from the core's code. It must not know how the core is built;
//! it shares with it only the closed lists of inputs and outputs.

use std::collections::BTreeMap;

use poolwarden_pool::{CloseReason, DatabaseSettings, HostSettings, Limit, PoolKey, ServerFacts, Verb};

use super::rules::Room;

pub(crate) const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum S {
    Opening { stuck: bool },
    Idle,
    Lent(u64),
    Resetting,
    Fenced { reset: bool },
    Ending(CloseReason),
    Ghost(Option<CloseReason>, bool),
    Gone,
}

#[derive(Clone, Debug)]
pub(crate) struct Conn {
    pub(crate) pool: usize,
    pub(crate) state: S,
    pub(crate) since: u64,
    pub(crate) order: u64,
    pub(crate) opened: u64,
    pub(crate) home: u16,
    pub(crate) flavor: u64,
    pub(crate) pid: Option<u32>,
    pub(crate) look: u64,
    pub(crate) life: u64,
    pub(crate) epoch: u32,
    pub(crate) fences: u32,
    pub(crate) facts: u64,
}

impl Conn {
    pub(crate) fn living(&self) -> bool {
        !matches!(self.state, S::Ending(_) | S::Ghost(..) | S::Gone)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Wait {
    pub(crate) number: u64,
    pub(crate) home: u16,
    pub(crate) flavor: u64,
    pub(crate) since: u64,
    pub(crate) deadline: u64,
    /// Waited while the server was up and the pool not paused.
    pub(crate) up: u64,
    /// Waited in the present regime.
    pub(crate) regime: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Regime {
    Up,
    Paused,
    Down,
}

#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) key: PoolKey,
    pub(crate) rules: DatabaseSettings,
    pub(crate) any: bool,
    pub(crate) retired: bool,
    pub(crate) dropped: bool,
    pub(crate) clients: u32,
    pub(crate) entered: bool,
    pub(crate) paused: bool,
    pub(crate) disabled: bool,
    pub(crate) draining: bool,
    pub(crate) locked: bool,
    pub(crate) failed: bool,
    pub(crate) failures: u32,
    pub(crate) retry_at: u64,
    pub(crate) epoch: u32,
    pub(crate) killed: u32,
    pub(crate) skipped: u32,
    pub(crate) queue: Vec<Wait>,
    pub(crate) regime: Regime,
    pub(crate) spell: Option<(u64, Room, u64, u64)>,
    pub(crate) empty_since: u64,
    pub(crate) books: Books,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) granted: u64,
    pub(crate) granted_after_wait: u64,
    pub(crate) refused: [u64; 16],
    pub(crate) abandoned: u64,
    pub(crate) wait_nanos: [u64; 16],
    pub(crate) lent_nanos: u64,
    pub(crate) leases: u64,
    pub(crate) connects: u64,
    pub(crate) connects_failed: u64,
    pub(crate) closed: [u64; 10],
    pub(crate) waits_granted: u64,
    pub(crate) waits_failed: u64,
}

/// What a refusal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct No {
    pub(crate) limit: Limit,
    pub(crate) binding: Limit,
    pub(crate) lent: u32,
    pub(crate) waiting: u32,
    pub(crate) waited: u64,
    pub(crate) longest_held: u64,
    pub(crate) failure: bool,
    pub(crate) no_such: bool,
    pub(crate) stopping: bool,
}

/// Actions and events, with the model's own numbers for connections and tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Out {
    Open(usize, usize, u16),
    Close(usize, u16, CloseReason),
    Forget(usize, u16),
    Reset(usize, u16),
    Grant(u64, usize, u16, u16, u64),
    Refuse(u64, No),
    Made(usize),
    Retired(usize),
    Waiting(usize, Limit, u32, u32),
    Binding(usize, Limit, u32, u32),
    Cleared(usize, u64, u64, u64),
    Connected(usize, usize),
    ConnectFailed(usize),
    Down,
    Up,
    Gone(usize, usize, Option<CloseReason>),
    Ghost(usize, usize),
    Applied,
    Paused(usize, bool),
}

/// What the caller learns at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    Entered(usize),
    Queued(u64),
    Refused(No),
    Cancelled,
    AlreadyGranted(usize),
    Stale,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Learned {
    pub(crate) limit: Limit,
    pub(crate) cap: u32,
    pub(crate) retry_at: u64,
}

/// Whom a shared limit counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    User(String),
    Database(String),
    Host,
}

pub(crate) struct Model {
    pub(crate) settings: HostSettings,
    pub(crate) seed: u64,
    pub(crate) now: u64,
    pub(crate) conns: Vec<Conn>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) tickets: u64,
    pub(crate) order: u64,
    pub(crate) out: Vec<Out>,
    // Pacing.
    pub(crate) allowed: u32,
    pub(crate) successes: u32,
    pub(crate) rounds_failed: u32,
    pub(crate) failed_at: u64,
    pub(crate) not_before: u64,
    pub(crate) down: bool,
    pub(crate) told_down: bool,
    // Facts.
    pub(crate) facts: Option<ServerFacts>,
    pub(crate) facts_seen: u64,
    pub(crate) pg: BTreeMap<Who, u32>,
    pub(crate) learned: BTreeMap<Who, Learned>,
    // Words.
    pub(crate) said: Vec<(Verb, Option<String>)>,
    pub(crate) evicted: u64,
    pub(crate) moved: u64,
}

impl Model {
    pub(crate) fn new(settings: HostSettings, seed: u64) -> Self {
        Self {
            allowed: settings.connects_start.max(1),
            settings,
            seed,
            now: 0,
            conns: vec![],
            pools: vec![],
            tickets: 0,
            order: 0,
            out: vec![],
            successes: 0,
            rounds_failed: 0,
            failed_at: 0,
            not_before: 0,
            down: false,
            told_down: false,
            facts: None,
            facts_seen: 0,
            pg: BTreeMap::new(),
            learned: BTreeMap::new(),
            said: vec![],
            evicted: 0,
            moved: 0,
        }
    }

    pub(crate) fn count(&self, pool: usize, what: impl Fn(&Conn) -> bool) -> u32 {
        self.conns.iter().filter(|c| c.pool == pool && c.state != S::Gone && what(c)).count() as u32
    }

    pub(crate) fn within(&self, who: &Who, pool: usize) -> bool {
        let key = &self.pools[pool].key;
        match who {
            Who::User(user) => *user == key.user,
            Who::Database(database) => *database == key.database,
            Who::Host => true,
        }
    }

    pub(crate) fn count_of(&self, who: &Who, what: impl Fn(&Conn) -> bool) -> u32 {
        self.conns.iter().filter(|c| c.state != S::Gone && self.within(who, c.pool) && what(c)).count() as u32
    }

    pub(crate) fn circles(&self, pool: usize) -> [Who; 3] {
        let key = &self.pools[pool].key;
        [Who::User(key.user.clone()), Who::Database(key.database.clone()), Who::Host]
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.conns.iter().filter(|c| c.state == S::Opening { stuck: false }).count() as u32
    }

    pub(crate) fn shut(&self, pool: usize) -> bool {
        let p = &self.pools[pool];
        p.dropped || p.draining || p.disabled || p.rules.disabled || p.locked && !self.serves(pool)
    }

    /// Whether there is a connection that is lent, or will be.
    fn serves(&self, pool: usize) -> bool {
        self.count(pool, |c| c.living() && !matches!(c.state, S::Opening { .. })) > 0
    }

    pub(crate) fn lends(&self, pool: usize) -> bool {
        !self.pools[pool].paused && !self.shut(pool)
    }

    pub(crate) fn coming(&self, pool: usize) -> u32 {
        self.count(pool, |c| matches!(c.state, S::Opening { .. } | S::Resetting))
    }

    pub(crate) fn want(&self, pool: usize) -> u32 {
        let p = &self.pools[pool];
        if p.retired || p.locked || !self.lends(pool) {
            return 0;
        }
        let kept = if p.entered { p.rules.min_size.saturating_sub(self.count(pool, Conn::living)) } else { 0 };
        kept.max((p.queue.len() as u32).saturating_sub(self.coming(pool)))
    }
}

pub(crate) fn empty_no(no_such: bool) -> No {
    No {
        limit: Limit::WaitTime,
        binding: Limit::WaitTime,
        lent: 0,
        waiting: 0,
        waited: 0,
        longest_held: 0,
        failure: false,
        no_such,
        stopping: !no_such,
    }
}
