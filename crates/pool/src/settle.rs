//! What follows from a call: chores, connects, evictions, and which limit binds where somebody waits.
//!
//! A pool is *needy* while somebody waits or it wants a connection. Only pools that changed are looked at,
//! and all needy ones when something that they share changed (`recount`): never per transaction.

use std::time::Duration;

use crate::admit::LOOK_AGAIN;
use crate::checkout::LeaseEnd;
use crate::door::{BREAKER, Why};
use crate::host::Host;
use crate::limits::{Of, Room, own_room, room};
use crate::list::NONE;
use crate::pool::{Pool, Shut, Spell};
use crate::{CloseReason, Event, Limit, LoopId, PoolId, Time, Wake};

impl Host {
    /// Something changed in the pool: it is looked at before the call ends.
    pub(crate) fn touch(&mut self, id: PoolId) {
        let pool = &mut self.pools[id];
        if !pool.touched {
            pool.touched = true;
            self.touched.push(id);
        }
    }

    /// The pool has waiters to refuse, connections to close or idle connections to lend.
    pub(crate) fn add_chore(&mut self, id: PoolId) {
        self.pools[id].chore = true;
        self.chores.insert(id);
        self.touch(id);
    }

    /// Whether work was left over that the budget of a call did not allow.
    pub(crate) fn unfinished(&self) -> bool {
        !self.chores.is_empty() || self.recount || self.trim || self.sweep.is_some()
    }

    /// Draws the conclusions of a call.
    pub(crate) fn settle(&mut self) {
        self.sweep_ghosts();
        while !self.turn.spent()
            && let Some(&id) = self.chores.first()
        {
            if self.upkeep(id) {
                self.pools[id].chore = false;
                self.chores.remove(&id);
            }
        }
        self.trim_shared();
        self.weigh_touched();
        let mut wide = false;
        while self.recount && !self.turn.spent() {
            self.recount = false;
            wide = true;
            let progress = self.serve();
            self.weigh_touched();
            if !progress {
                self.recount = false;
            }
        }
        if wide {
            for place in 0..self.needy.len() {
                self.rebind(self.needy[place]);
            }
        }
        while let Some(id) = self.touched.pop() {
            if self.pools.find(id).is_some() {
                self.pools[id].touched = false;
                self.rebind(id);
            }
        }
    }

    /// Does a pool's chores; tells whether all are done.
    fn upkeep(&mut self, id: PoolId) -> bool {
        if !self.refuse_doomed(id) {
            return false;
        }
        self.pools[id].fail_through = None;
        loop {
            let pool = &self.pools[id];
            let killed = |index: u32| index != NONE && self.slots.table[index as usize].epoch < pool.killed;
            let victim = [pool.lent.head, pool.aside.head].into_iter().find(|&index| killed(index));
            let victim = victim.map(|index| (index, CloseReason::Killed)).or_else(|| {
                // The one idle longest is of the oldest epoch: if it may stay, all may.
                let index = self.slots.oldest_idle(pool)?;
                Some((index, self.must_leave(index)?))
            });
            match victim {
                None => break,
                Some(_) if self.turn.spent() => return false,
                Some((index, reason)) => {
                    self.record_lease(index, LeaseEnd::Broken, Duration::ZERO);
                    self.close(index, reason);
                }
            }
        }
        while self.pools[id].lends() && self.pools[id].queue.len() > 0 && self.pools[id].counts.idle > 0 {
            if self.turn.spent() {
                return false;
            }
            if !self.lend_to_next(id) {
                break;
            }
        }
        self.refuse_doomed(id) // with what was closed the last that served may have gone
    }

    /// Refuses whoever nothing will ever serve; tells whether that is done.
    fn refuse_doomed(&mut self, id: PoolId) -> bool {
        while let Some((head, why)) = self.doomed(id) {
            if self.turn.spent() {
                return false;
            }
            self.refuse(head, why);
        }
        true
    }

    /// Lends an idle connection to whoever is next, wherever that lives; false where all who wait are held back.
    fn lend_to_next(&mut self, id: PoolId) -> bool {
        let Some(next) = self.next(id, LoopId(u16::MAX)) else { return false };
        let entry = &self.tickets.table[next as usize];
        let Some(slot) = self.slots.pick(&self.pools[id], entry.home, entry.flavor) else { return false };
        let waited = self.unqueue(next);
        self.grant(slot, next, Some(waited));
        true
    }

    /// The oldest waiter, if it is to be refused whatever its time.
    fn doomed(&self, id: PoolId) -> Option<(u32, Why)> {
        let pool = &self.pools[id];
        let head = pool.queue.fifo.head;
        if head == NONE {
            return None;
        }
        let failed = |last| self.tickets.table[head as usize].number <= last;
        let why = match pool.shut() {
            Some(shut @ (Shut::Dropped | Shut::Stopping | Shut::Password)) => Why::Shut(shut),
            None if pool.fail_through.is_some_and(failed) => Why::Failed,
            None => return None,
        };
        Some((head, why))
    }

    /// Brings the list of needy pools up to date, and notes whether one of them can be helped.
    fn weigh_touched(&mut self) {
        for place in 0..self.touched.len() {
            let id = self.touched[place];
            if self.pools.find(id).is_none() {
                continue;
            }
            let now = self.turn.now;
            let pool = &mut self.pools[id];
            let needs = pool.queue.len() > 0 || pool.want() > 0;
            if needs && pool.needy == NONE {
                pool.needy = self.needy.len() as u32;
                self.needy.push(id);
            } else if !needs && pool.needy != NONE {
                let place = std::mem::replace(&mut pool.needy, NONE);
                self.forget_need(place);
            }
            let pool = &mut self.pools[id];
            if !pool.empty() {
                pool.empty_since = Time::NEVER;
            } else if pool.empty_since == Time::NEVER {
                pool.empty_since = now;
            }
            if pool.dropped && pool.empty() {
                self.retire(id);
            } else {
                self.recount |= needs && self.can_help(&self.pools[id]);
            }
        }
    }

    /// Takes the pool at `place` out of the list of needy pools.
    pub(crate) fn forget_need(&mut self, place: u32) {
        self.needy.swap_remove(place as usize);
        if let Some(&moved) = self.needy.get(place as usize) {
            self.pools[moved].needy = place;
        }
    }

    /// Whether a connect could be begun for this pool, or another pool's connection evicted.
    fn can_help(&self, pool: &Pool) -> bool {
        let now = self.turn.now;
        if pool.want() == 0 || pool.retry_at > now || !self.pace.open(now, 0) {
            return false;
        }
        let room = self.room(pool);
        let scope = || room.shared(pool).map(|of| self.slots.scopes.of(of));
        room.left > 0
            || scope().is_some_and(|scope| scope.barren_until <= now && self.pace.open(now, self.slots.evicting))
    }

    /// How many more connections the pool may have.
    pub(crate) fn room(&self, pool: &Pool) -> Room {
        room(&self.slots.scopes, pool, self.reserve_open(pool), self.turn.now)
    }

    /// The pool's own part of that.
    pub(crate) fn own_room(&self, pool: &Pool) -> Room {
        own_room(pool, self.reserve_open(pool))
    }

    /// Whether the oldest waiter has waited long enough for the reserve.
    pub(crate) fn reserve_open(&self, pool: &Pool) -> bool {
        pool.rules.reserve > 0 && self.reserve_opens(pool) <= self.turn.now
    }

    fn reserve_opens(&self, pool: &Pool) -> Time {
        match pool.queue.fifo.head {
            NONE => Time::NEVER,
            head => self.tickets.table[head as usize].since + pool.rules.reserve_after,
        }
    }

    /// Begins connects as long as they are wanted and allowed, each for the pool whose waiting is oldest; then evicts.
    /// Tells whether it did anything.
    fn serve(&mut self) -> bool {
        let before = (self.turn.actions.len(), self.evicted);
        while !self.turn.spent() && self.pace.open(self.turn.now, 0) {
            let able = self.needy.iter().filter(|&&id| {
                let pool = &self.pools[id];
                pool.want() > 0 && pool.retry_at <= self.turn.now && self.room(pool).left > 0
            });
            let Some(id) = able.copied().min_by_key(|&id| self.claim(&self.pools[id])) else { break };
            self.open(id);
        }
        self.evict();
        before != (self.turn.actions.len(), self.evicted)
    }

    /// Which pool a connect is begun for first: where admission acts, the one that has the least for what its classes weigh.
    fn claim(&self, pool: &Pool) -> (u64, (Time, u64, PoolId)) {
        /// So that small weights do not make all claims equal.
        const FINE: u64 = 1 << 16;
        let has = if self.guards() { (u64::from(pool.living()) + 1) * FINE / pool.weight() } else { 0 };
        (has, self.seniority(pool))
    }

    /// Who comes first: the pool whose first waiter without a coming connection waited longest; then those that only
    /// want their `min_size`.
    pub(crate) fn seniority(&self, pool: &Pool) -> (Time, u64, PoolId) {
        match self.tickets.uncovered(pool, pool.coming()) {
            Some(entry) => (entry.since, entry.number, pool.id),
            None => (Time::NEVER, u64::MAX, pool.id),
        }
    }

    /// What keeps the pool from having one more connection.
    pub(crate) fn verdict(&self, pool: &Pool) -> Room {
        self.verdict_within(pool, self.room(pool))
    }

    fn verdict_within(&self, pool: &Pool, room: Room) -> Room {
        let connects = Room { left: 0, limit: Limit::Connects, size: self.pace.allowed, used: self.pace.in_flight };
        let waiting = pool.queue.len();
        if !pool.lends() && waiting > 0 {
            // A pause is no limit: only the bound on waiting is left.
            return Room { left: 0, limit: Limit::WaitTime, size: 0, used: 0 };
        }
        if waiting > 0 && pool.counts.idle > 0 {
            // Who waits is held back: the places left are for others.
            let lent = pool.counts.lent;
            return Room { left: 0, limit: Limit::ClassShare, size: pool.living(), used: lent };
        }
        if waiting > 0 && pool.locked {
            return BREAKER;
        }
        if waiting > 0 && waiting <= pool.counts.opening {
            return if self.pace.down { BREAKER } else { connects };
        }
        if room.left == 0 || pool.want() == 0 {
            room
        } else if pool.retry_at.max(self.pace.not_before) > self.turn.now {
            BREAKER
        } else {
            connects
        }
    }

    /// When what the pool may have may change by the passage of time alone.
    fn next_look(&self, pool: &Pool, room: &Room) -> Time {
        let scopes = &self.slots.scopes;
        let circles = [scopes.of(Of::User(pool.user)), scopes.of(Of::Database(pool.database)), &scopes.host];
        let retries = circles.into_iter().filter_map(|scope| scope.learned).map(|learned| learned.retry_at);
        let reserve = if pool.rules.reserve > 0 { self.reserve_opens(pool) } else { Time::NEVER };
        let held_back = pool.queue.len() > 0 && pool.counts.idle > 0 && pool.lends();
        let held_back = if held_back { self.turn.now + LOOK_AGAIN } else { Time::NEVER };
        let again = pool.retry_at.max(self.pace.not_before);
        let evict = if room.left == 0 { room.shared(pool) } else { None };
        let evict = evict.map_or(Time::NEVER, |of| scopes.of(of).barren_until);
        let later = retries.chain([reserve, evict, again, held_back]).filter(|&at| at > self.turn.now);
        later.min().unwrap_or(Time::NEVER)
    }

    /// Notes which limit binds the pool and tells when that changed; sets the pool's alarm.
    fn rebind(&mut self, id: PoolId) {
        let now = self.turn.now;
        let pool = &self.pools[id];
        let (binding, look) = match pool.needy {
            NONE => (BREAKER, Time::NEVER),
            _ => {
                let room = self.room(pool);
                (self.verdict_within(pool, room), self.next_look(pool, &room))
            }
        };
        let pool = &mut self.pools[id];
        pool.look = look;
        let Room { limit, size, used, .. } = binding;
        match (pool.queue.len(), pool.spell) {
            (0, None) => {}
            (0, Some(Spell { since, granted, refused, .. })) => {
                pool.note_waits(now);
                pool.spell = None;
                self.turn.events.push_back(Event::Cleared { pool: id, lasted: now.since(since), granted, refused });
            }
            (_, None) => {
                pool.note_waits(now);
                pool.spell = Some(Spell { since: now, binding, granted: 0, refused: 0 });
                self.turn.events.push_back(Event::Waiting { pool: id, limit, size, used });
            }
            (_, Some(spell)) => {
                if spell.binding.limit != limit {
                    pool.note_waits(now);
                    self.turn.events.push_back(Event::Binding { pool: id, limit, size, used });
                }
                pool.spell = Some(Spell { binding, ..spell });
            }
        }
        self.arm_pool(id);
    }

    fn arm_pool(&mut self, id: PoolId) {
        let pool = &self.pools[id];
        let look = pool.look;
        let wake = match pool.spell.map(|spell| spell.binding.limit) {
            Some(Limit::Breaker) => Wake::Backoff,
            Some(Limit::Reserve) => Wake::Reserve,
            Some(_) | None => Wake::Upkeep,
        };
        self.pool_alarms.advance(id.0, look, wake);
        if self.pools[id].queue.len() > 0 {
            let patience = self.first_patience(&self.pools[id]);
            self.pool_alarms.advance(id.0, patience, Wake::Deadline);
        }
        let pool = &self.pools[id];
        if pool.any && pool.empty_since != Time::NEVER {
            self.pool_alarms.advance(id.0, pool.empty_since + self.settings.any_idle, Wake::Upkeep);
        }
    }
}
