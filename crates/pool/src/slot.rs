//! Slots: one per server connection, from the decision to open it until it is really gone.
//!
//! `Slots::move_to` is the only function that changes a connection's state; it keeps the lists, the
//! counts of pool, user, database and host, and the integrals of time in step with it. A connection
//! stands in exactly one list, the one of its state.

use std::time::Duration;

use crate::limits::Scopes;
use crate::list::{Linked, Links, NONE};
use crate::pool::Pools;
use crate::turn::Turn;
use crate::{CloseReason, ConnId, LoopId, PoolId, Time};

/// Where a connection stands.
///
/// ```text
///             Opened            grant             Checkin
///   Vacant ─► Opening ─────► Idle ◄────► Lent ──────────► (Lent, Idle, Resetting, Fenced)
///     ▲          │             │           │                   │
///     │ failed   │             │ Fence     │ close             │ ResetDone, Unfence: Idle or Lent
///     ├──────────┘             ▼           ▼                   ▼
///     │   end of file       Fenced      Ending ◄── close ── any living state
///     ├────────────────────────────────────┤
///     │   pid missing, restart, timeout    ▼  no end of file in time, or the socket failed
///     └───────────────────────────────── Ghost
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No connection.
    Vacant,
    /// Connect or login under way; a stuck one has lost its place in the pacing.
    Opening { stuck: bool },
    /// Free to be lent.
    Idle,
    /// Lent to this ticket.
    Lent { ticket: u32 },
    /// Reset query under way.
    Resetting,
    /// Not lent, a cancel request is in the air; whether a reset must follow.
    Fenced { reset: bool },
    /// Told to go.
    Ending { reason: CloseReason },
    /// Told to go or failed, without an end; `closed` if its descriptor is known to be of no use.
    Ghost { reason: Option<CloseReason>, closed: bool },
}

impl State {
    /// Counted against every limit.
    pub(crate) const fn counted(self) -> bool {
        !matches!(self, Self::Vacant)
    }

    /// Of use now or soon.
    pub(crate) const fn living(self) -> bool {
        match self {
            Self::Opening { .. } | Self::Idle | Self::Lent { .. } | Self::Resetting | Self::Fenced { .. } => true,
            Self::Vacant | Self::Ending { .. } | Self::Ghost { .. } => false,
        }
    }
}

/// One server connection.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) generation: u32,
    pub(crate) pool: PoolId,
    pub(crate) state: State,
    /// Since when it is in that state.
    pub(crate) since: Time,
    /// When it was opened.
    pub(crate) opened: Time,
    pub(crate) home: LoopId,
    pub(crate) flavor: u64,
    pub(crate) pid: Option<u32>,
    /// While idle: when its idle time is examined next.
    pub(crate) look: Time,
    /// Its own lifetime in thousandths of the pool's: 900 to 1100.
    pub(crate) life: u32,
    /// RECONNECTs and KILLs its pool had seen when it was asked for.
    pub(crate) epoch: u32,
    /// Cancel requests in the air.
    pub(crate) fences: u32,
    /// Facts the host had seen when it was opened.
    pub(crate) facts: u64,
    /// What its connect took, until a lease has told it.
    pub(crate) connect: Option<Duration>,
    pub(crate) links: Links,
}

/// All server connections of a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    pub(crate) table: Vec<Slot>,
    free: Vec<u32>,
    /// What they count against besides their pool.
    pub(crate) scopes: Scopes,
    /// Evicted ones whose end has not been seen.
    pub(crate) evicting: u32,
}

impl Linked for Vec<Slot> {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self[index as usize].links
    }
}

impl Slots {
    /// A vacant slot for `pool`, to be moved to `Opening` at once.
    pub(crate) fn vacant(&mut self, pool: PoolId, life: u32, epoch: u32) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.table.push(Slot {
                generation: 0,
                pool,
                state: State::Vacant,
                since: Time::ZERO,
                opened: Time::ZERO,
                home: LoopId(0),
                flavor: 0,
                pid: None,
                look: Time::NEVER,
                life,
                epoch,
                fences: 0,
                facts: 0,
                connect: None,
                links: Links::default(),
            });
            self.table.len() as u32 - 1
        });
        let slot = &mut self.table[index as usize];
        (slot.pool, slot.life, slot.epoch, slot.pid, slot.fences) = (pool, life, epoch, None, 0);
        index
    }

    /// Places that no connection has.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// The slot of `conn`, if that connection is not gone yet.
    pub(crate) fn find(&self, conn: ConnId) -> Option<u32> {
        let slot = self.table.get(conn.index as usize)?;
        (slot.generation == conn.generation && slot.state.counted()).then_some(conn.index)
    }

    /// The name of the connection in slot `index`.
    pub(crate) fn id(&self, index: u32) -> ConnId {
        ConnId { index, generation: self.table[index as usize].generation }
    }

    /// Changes a connection's state, and with it every list, count and integral. Tells what it was before.
    pub(crate) fn move_to(&mut self, turn: &mut Turn, pools: &mut Pools, index: u32, to: State) -> State {
        turn.spend();
        let now = turn.now;
        let (from, id) = (self.table[index as usize].state, self.table[index as usize].pool);
        let pool = &mut pools[id];
        self.unlink(pool, index, now);
        if let Some(count) = pool.counts.of(from) {
            *count -= 1;
        }
        if let Some(count) = pool.counts.of(to) {
            *count += 1;
        }
        self.evicting -= u32::from(evicted(from));
        self.evicting += u32::from(evicted(to));
        self.scopes.moved((pool.user, pool.database), from, to, now);
        let slot = &mut self.table[index as usize];
        (slot.state, slot.since) = (to, now);
        match to {
            State::Idle => {
                let lane = pool.lane(slot.home);
                pool.lanes[lane].idle.push_front(&mut self.table, index);
            }
            State::Lent { .. } => {
                pool.lent.push_back(&mut self.table, index);
            }
            State::Resetting | State::Fenced { .. } => pool.aside.push_back(&mut self.table, index),
            State::Vacant => {
                slot.generation = slot.generation.wrapping_add(1);
                self.free.push(index);
            }
            State::Opening { .. } | State::Ending { .. } | State::Ghost { .. } => {}
        }
        from
    }

    /// Takes a connection out of the list of its state, and closes the books on a lease.
    fn unlink(&mut self, pool: &mut crate::pool::Pool, index: u32, now: Time) {
        let slot = &self.table[index as usize];
        // The books are brought up to date whenever the number of lent connections may change.
        pool.account.lent_until(now, pool.counts.lent);
        match slot.state {
            State::Idle => {
                let lane = pool.lane(slot.home);
                pool.lanes[lane].idle.remove(&mut self.table, index);
            }
            State::Lent { .. } => {
                pool.account.lease_ended(now.since(slot.since));
                pool.lent.remove(&mut self.table, index);
            }
            State::Resetting | State::Fenced { .. } => pool.aside.remove(&mut self.table, index),
            State::Vacant | State::Opening { .. } | State::Ending { .. } | State::Ghost { .. } => {}
        }
    }

    /// Chooses an idle connection: among the last used ones of the client's own loop, then of the others, one of
    /// equal flavor; else the last used one of its own loop; else any. Looks at no more than `LOOKS` per group.
    pub(crate) fn pick(&self, pool: &crate::pool::Pool, home: LoopId, flavor: u64) -> Option<u32> {
        /// Beyond a handful the search costs more than the SET that it saves.
        const LOOKS: u32 = 8;
        let (mut own, mut other) = (NONE, NONE);
        let mut looks = LOOKS;
        if let Some(lane) = pool.lanes.iter().find(|lane| lane.home == home) {
            own = lane.idle.head;
            let mut at = own;
            while at != NONE && looks > 0 {
                let slot = &self.table[at as usize];
                if slot.flavor == flavor {
                    return Some(at);
                }
                (at, looks) = (slot.links.next, looks - 1);
            }
        }
        looks = LOOKS;
        for lane in pool.lanes.iter().filter(|lane| lane.home != home) {
            let mut at = lane.idle.head;
            other = if other == NONE { at } else { other };
            while at != NONE && looks > 0 {
                let slot = &self.table[at as usize];
                if slot.flavor == flavor {
                    return Some(at);
                }
                (at, looks) = (slot.links.next, looks - 1);
            }
        }
        [own, other].into_iter().find(|&index| index != NONE)
    }

    /// The connection of `pool` that has been idle longest.
    pub(crate) fn oldest_idle(&self, pool: &crate::pool::Pool) -> Option<u32> {
        let tails = pool.lanes.iter().map(|lane| lane.idle.tail).filter(|&index| index != NONE);
        tails.min_by_key(|&index| (self.table[index as usize].since, index))
    }
}

fn evicted(state: State) -> bool {
    matches!(state, State::Ending { reason: CloseReason::Evicted })
}
