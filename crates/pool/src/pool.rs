//! One pool: its rules, its connections by state and loop, its queue, its books.

use std::ops::{Index, IndexMut};

use crate::account::Account;
use crate::fair::Fair;
use crate::limits::Room;
use crate::list::{List, NONE};
use crate::queue::Queue;
use crate::slot::State;
use crate::{ConnectFailure, DatabaseSettings, LoopId, PoolId, PoolKey, Slots, Time};

/// What of a pool lives on one loop.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) home: LoopId,
    /// Idle connections, the last used first.
    pub(crate) idle: List,
    /// Waiting requests, the oldest first.
    pub(crate) waiters: List,
}

/// What an operator said, where it was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) paused: bool,
    pub(crate) disabled: bool,
    pub(crate) draining: bool,
}

/// A spell of waiting: from the first client that waits until nobody does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spell {
    pub(crate) since: Time,
    pub(crate) binding: Room,
    pub(crate) granted: u64,
    pub(crate) refused: u64,
}

/// Why a pool lends to nobody and refuses whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// The database is not configured any more.
    Dropped,
    /// The process stops, or the database is disabled.
    Stopping,
    /// The configured password is wrong, and no connection is left that serves.
    Password,
}

/// One (database, user) pair.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) id: PoolId,
    pub(crate) key: PoolKey,
    pub(crate) rules: DatabaseSettings,
    /// Served by `*`.
    pub(crate) any: bool,
    /// It serves one client, whose connection nobody else gets.
    pub(crate) alone: bool,
    /// Its user's scope.
    pub(crate) user: u32,
    /// Its database's scope.
    pub(crate) database: u32,
    /// Connections by state.
    pub(crate) counts: Slots,
    /// In order of loop.
    pub(crate) lanes: Vec<Lane>,
    /// Lent connections, the longest held first.
    pub(crate) lent: List,
    /// Connections being reset or fenced.
    pub(crate) aside: List,
    pub(crate) queue: Queue,
    /// Who is next in it.
    pub(crate) fair: Fair,
    pub(crate) account: Account,
    pub(crate) clients: u32,
    /// A client has been there: `min_size` holds.
    pub(crate) entered: bool,
    pub(crate) word: Word,
    /// Not configured any more.
    pub(crate) dropped: bool,
    /// RECONNECTs and KILLs so far; connections of an older epoch go.
    pub(crate) epoch: u32,
    /// The epoch of the last KILL: lent connections older than it go at once.
    pub(crate) killed: u32,
    /// The configured password was refused: no more connections are opened.
    pub(crate) locked: bool,
    /// The newest failed connect not followed by a good one.
    pub(crate) failure: Option<ConnectFailure>,
    /// The pool's own failures in a row, and when it may try again.
    pub(crate) failures: u32,
    pub(crate) retry_at: Time,
    /// Tickets numbered up to here are refused with `failure`.
    pub(crate) fail_through: Option<u64>,
    pub(crate) spell: Option<Spell>,
    /// Place in the host's list of pools that wait or want, or `NONE`.
    pub(crate) needy: u32,
    /// When its limits must be looked at again.
    pub(crate) look: Time,
    /// Since when it has had neither clients nor connections nor waiters; `NEVER` while it has.
    pub(crate) empty_since: Time,
    /// Stands in the list of pools touched during this call, and in that of unfinished chores.
    pub(crate) touched: bool,
    pub(crate) chore: bool,
}

impl Pool {
    /// Its connections are replaced as they come back, and what kept it from opening any counts no more.
    pub(crate) fn replace(&mut self) {
        self.epoch += 1;
        (self.locked, self.retry_at) = (false, Time::ZERO);
    }

    /// A pool without anything.
    pub(crate) fn new(id: PoolId, key: PoolKey, rules: DatabaseSettings, now: Time) -> Self {
        Self {
            id,
            key,
            rules,
            any: false,
            alone: false,
            user: 0,
            database: 0,
            counts: Slots::default(),
            lanes: Vec::new(),
            lent: List::default(),
            aside: List::default(),
            queue: Queue::new(now),
            fair: Fair::default(),
            account: Account::default(),
            clients: 0,
            entered: false,
            word: Word::default(),
            dropped: false,
            epoch: 0,
            killed: 0,
            locked: false,
            failure: None,
            failures: 0,
            retry_at: Time::ZERO,
            fail_through: None,
            spell: None,
            needy: NONE,
            look: Time::NEVER,
            empty_since: Time::NEVER,
            touched: false,
            chore: false,
        }
    }

    /// Whether, and why, it lends to nobody and refuses whoever asks.
    pub(crate) fn shut(&self) -> Option<Shut> {
        if self.dropped {
            Some(Shut::Dropped)
        } else if self.word.draining || self.word.disabled || self.rules.disabled {
            Some(Shut::Stopping)
        } else if self.locked && self.living() == self.counts.opening {
            Some(Shut::Password)
        } else {
            None
        }
    }

    /// Whether connections are lent now.
    pub(crate) fn lends(&self) -> bool {
        !self.word.paused && self.shut().is_none()
    }

    /// Connections in use, or of use soon.
    pub(crate) fn living(&self) -> u32 {
        let counts = &self.counts;
        counts.opening + counts.idle + counts.lent + counts.resetting + counts.fenced
    }

    /// Connections that will serve a waiting request by themselves.
    pub(crate) fn coming(&self) -> u32 {
        self.counts.opening + self.counts.resetting
    }

    /// How many more connections it would have, were there no limit: one for each waiting request that no coming
    /// connection will serve, and as many as `min_size` asks.
    pub(crate) fn want(&self) -> u32 {
        if self.locked || !self.lends() {
            return 0;
        }
        let kept = if self.entered { self.rules.min_size.saturating_sub(self.living()) } else { 0 };
        // While one is idle nobody waits for want of connections: they are held back.
        let held_back = self.counts.idle > 0 && !self.chore;
        kept.max(if held_back { 0 } else { self.queue.len().saturating_sub(self.coming()) })
    }

    /// Living connections beyond what may be.
    pub(crate) fn over(&self) -> bool {
        self.living() > self.rules.size.saturating_add(self.rules.reserve)
    }

    /// The lane of that loop, made if need be; there are as many as loops.
    pub(crate) fn lane(&mut self, home: LoopId) -> usize {
        match self.lanes.binary_search_by_key(&home, |lane| lane.home) {
            Ok(place) => place,
            Err(place) => {
                self.lanes.insert(place, Lane { home, idle: List::default(), waiters: List::default() });
                place
            }
        }
    }

    /// Nobody and nothing is there.
    pub(crate) fn empty(&self) -> bool {
        self.clients == 0 && self.counts.counted() == 0 && self.queue.len() == 0
    }
}

impl Slots {
    /// The count of connections in that state.
    pub(crate) fn of(&mut self, state: State) -> Option<&mut u32> {
        match state {
            State::Vacant => None,
            State::Opening { .. } => Some(&mut self.opening),
            State::Idle => Some(&mut self.idle),
            State::Lent { .. } => Some(&mut self.lent),
            State::Resetting => Some(&mut self.resetting),
            State::Fenced { .. } => Some(&mut self.fenced),
            State::Ending { .. } => Some(&mut self.ending),
            State::Ghost { .. } => Some(&mut self.ghosts),
        }
    }
}

/// All pools ever made, by id; a retired one leaves an empty place of one pointer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pools(Vec<Option<Box<Pool>>>);

impl Pools {
    /// The id of the next pool.
    pub(crate) fn next_id(&self) -> PoolId {
        PoolId(self.0.len() as u32)
    }

    /// Takes in a pool made under `next_id`.
    pub(crate) fn add(&mut self, pool: Pool) {
        self.0.push(Some(Box::new(pool)));
    }

    /// The pool, if it was not retired.
    pub(crate) fn find(&self, id: PoolId) -> Option<&Pool> {
        self.0.get(id.0 as usize)?.as_deref()
    }

    /// Takes a pool out for good.
    pub(crate) fn remove(&mut self, id: PoolId) -> Option<Box<Pool>> {
        self.0.get_mut(id.0 as usize)?.take()
    }

    /// All pools, in the order they were made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.0.iter().flatten().map(|pool| &**pool)
    }

    /// All pools, in the order they were made, to change them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pool> {
        self.0.iter_mut().flatten().map(|pool| &mut **pool)
    }
}

impl Index<PoolId> for Pools {
    type Output = Pool;

    fn index(&self, id: PoolId) -> &Pool {
        self.find(id).expect("slots, tickets and lists name living pools only: a pool is retired when it has none")
    }
}

impl IndexMut<PoolId> for Pools {
    fn index_mut(&mut self, id: PoolId) -> &mut Pool {
        let pool = self.0.get_mut(id.0 as usize).and_then(Option::as_deref_mut);
        pool.expect("slots, tickets and lists name living pools only: a pool is retired when it has none")
    }
}
