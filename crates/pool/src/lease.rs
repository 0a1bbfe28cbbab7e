//! The lease: a connection is granted, comes back, is reset or fenced, and goes to whoever is next.

use std::time::Duration;

use crate::host::Host;
use crate::list::NONE;
use crate::pool::Shut;
use crate::slot::State;
use crate::{Action, Checkin, CloseReason, ConnId, Fitness, Handled, Time};

impl Host {
    /// Lends a connection to a ticket that stands in no queue (any more); `waited` is `None` if it never did.
    pub(crate) fn grant(&mut self, index: u32, ticket: u32, waited: Option<Duration>) {
        self.tickets.granted(ticket, index);
        self.shift(index, State::Lent { ticket });
        let (now, seat) = (self.turn.now, self.tickets.table[ticket as usize].seat);
        if let Some(waited) = waited {
            self.note_grant(self.slots.table[index as usize].pool, seat, waited);
        }
        let guards = self.guards();
        let pool = &mut self.pools[self.slots.table[index as usize].pool];
        let charged = pool.fair.granted(seat, guards && pool.queue.len() > 0 && pool.fair.is_shared(), now);
        let entry = &mut self.tickets.table[ticket as usize];
        (entry.charged, entry.spell) = (charged, pool.fair.spell());
        let slot = &mut self.slots.table[index as usize];
        let (id, from, to) = (slot.pool, slot.home, self.tickets.table[ticket as usize].home);
        slot.home = to;
        self.moved += u64::from(from != to);
        let pool = &mut self.pools[id];
        pool.account.granted(waited.unwrap_or_default(), waited.is_none());
        if let (Some(spell), true) = (&mut pool.spell, waited.is_some()) {
            spell.granted += 1;
        }
        let (ticket, conn) = (self.tickets.id(ticket), self.slots.id(index));
        self.turn.actions.push_back(Action::Grant { ticket, conn, from, to, waited: waited.unwrap_or_default() });
    }

    /// Changes a connection's state, ends the lease it may have had, and notes what must be looked at again.
    pub(crate) fn shift(&mut self, index: u32, to: State) {
        self.end_lease(index);
        let from = self.slots.move_to(&mut self.turn, &mut self.pools, index, to);
        if let State::Lent { ticket } = from {
            self.tickets.discard(ticket);
        }
        self.recount |= !(settled(from) && settled(to));
        let id = self.slots.table[index as usize].pool;
        if self.pools[id].shut() == Some(Shut::Password) {
            self.add_chore(id); // the last that served is gone, and there will be no other
        }
        self.touch(id);
    }

    /// Closes the books of a lease, once, before anybody is chosen who is next.
    fn end_lease(&mut self, index: u32) {
        let slot = &self.slots.table[index as usize];
        let State::Lent { ticket } = slot.state else { return };
        let guards = self.guards();
        let (entry, pool) = (&mut self.tickets.table[ticket as usize], &mut self.pools[slot.pool]);
        let seat = std::mem::replace(&mut entry.seat, NONE);
        if seat != NONE {
            let charged = if entry.spell == pool.fair.spell() { entry.charged } else { 0 };
            let charged = (guards && pool.queue.len() > 0 && pool.fair.is_shared()).then_some(charged);
            pool.fair.ended(seat, slot.since, charged, self.turn.now);
        }
    }

    /// A lent connection comes back.
    pub(crate) fn checkin(&mut self, conn: ConnId, checkin: &Checkin) -> Handled {
        let Some(index) = self.slots.find(conn) else { return Handled::Stale };
        let slot = &self.slots.table[index as usize];
        let id = slot.pool;
        match slot.state {
            State::Lent { .. } => {
                self.pools[id].account.phases(&checkin.phases);
                self.record_lease(index, checkin.fitness.into(), checkin.phases.idle_in_transaction);
            }
            // A reset that failed is told this way; any other word about it is late.
            State::Resetting if checkin.fitness == Fitness::Broken => {}
            State::Vacant
            | State::Opening { .. }
            | State::Idle
            | State::Resetting
            | State::Fenced { .. }
            | State::Ending { .. }
            | State::Ghost { .. } => return Handled::Stale,
        }
        let slot = &mut self.slots.table[index as usize];
        (slot.home, slot.flavor) = (checkin.home, checkin.flavor);
        match checkin.fitness {
            Fitness::Clean | Fitness::NeedsReset if self.pools[id].alone => self.close(index, CloseReason::Retired),
            Fitness::Clean => self.place(index, false),
            Fitness::NeedsReset => self.place(index, true),
            Fitness::Broken => self.close(index, CloseReason::Broken),
        }
        Handled::Done
    }

    /// A connection is free of its last use: it goes where it is needed.
    pub(crate) fn place(&mut self, index: u32, reset: bool) {
        let slot = &self.slots.table[index as usize];
        let (id, home) = (slot.pool, slot.home);
        if let Some(reason) = self.must_go(index) {
            self.close(index, reason);
        } else if slot.fences > 0 {
            self.shift(index, State::Fenced { reset });
        } else if reset {
            self.shift(index, State::Resetting);
            self.turn.actions.push_back(Action::Reset { conn: self.slots.id(index), home });
        } else {
            let pool = &self.pools[id];
            let lends = pool.lends() && !pool.chore;
            if lends && self.yields(id) {
                self.evicted += 1;
                return self.close(index, CloseReason::Evicted);
            }
            self.end_lease(index);
            match if lends { self.next(id, home) } else { None } {
                Some(ticket) => {
                    let waited = self.unqueue(ticket);
                    self.grant(index, ticket, Some(waited));
                }
                None if self.pools[id].alone => self.close(index, CloseReason::Retired), // it was opened for somebody who is gone
                None => self.rest(index),
            }
        }
    }

    /// Nobody needs it now.
    fn rest(&mut self, index: u32) {
        self.shift(index, State::Idle);
        let slot = &mut self.slots.table[index as usize];
        slot.look = match self.pools[slot.pool].rules.idle_timeout {
            Duration::ZERO => Time::NEVER,
            span => self.turn.now + span,
        };
        self.rearm(index);
    }

    /// Whether, and why, a living connection must not be lent again.
    fn must_go(&self, index: u32) -> Option<CloseReason> {
        let slot = &self.slots.table[index as usize];
        let (pool, scopes) = (&self.pools[slot.pool], &self.slots.scopes);
        let shared = [&scopes.users.list[pool.user as usize], &scopes.databases.list[pool.database as usize]];
        let over = || shared.into_iter().chain([&scopes.host]).any(|scope| scope.over());
        let old = || (self.turn.now >= self.lifetime_end(index)).then_some(CloseReason::Lifetime);
        self.must_leave(index).or_else(old).or_else(|| over().then_some(CloseReason::Shrunk))
    }

    /// The same, as far as its own pool alone says so.
    pub(crate) fn must_leave(&self, index: u32) -> Option<CloseReason> {
        let slot = &self.slots.table[index as usize];
        let pool = &self.pools[slot.pool];
        if pool.dropped {
            Some(CloseReason::Retired)
        } else if pool.word.draining {
            Some(CloseReason::Draining)
        } else if slot.epoch < pool.killed {
            Some(CloseReason::Killed)
        } else if slot.epoch < pool.epoch {
            Some(CloseReason::Reconnect)
        } else {
            pool.over().then_some(CloseReason::Shrunk)
        }
    }

    /// A reset was done well.
    pub(crate) fn reset_done(&mut self, conn: ConnId) -> Handled {
        let Some(index) = self.slots.find(conn) else { return Handled::Stale };
        if self.slots.table[index as usize].state != State::Resetting {
            return Handled::Stale;
        }
        self.place(index, false);
        Handled::Done
    }

    /// A cancel request is in the air towards this connection.
    pub(crate) fn fence(&mut self, conn: ConnId) -> Handled {
        let Some(index) = self.slots.find(conn) else { return Handled::Stale };
        let slot = &mut self.slots.table[index as usize];
        match slot.state {
            State::Vacant | State::Opening { .. } | State::Ending { .. } | State::Ghost { .. } => Handled::Stale,
            State::Idle => {
                slot.fences += 1;
                self.shift(index, State::Fenced { reset: false });
                Handled::Done
            }
            State::Lent { .. } | State::Resetting | State::Fenced { .. } => {
                slot.fences += 1;
                Handled::Done
            }
        }
    }

    /// A cancel request's socket has reached its end.
    pub(crate) fn unfence(&mut self, conn: ConnId) -> Handled {
        let Some(index) = self.slots.find(conn) else { return Handled::Stale };
        let slot = &mut self.slots.table[index as usize];
        if slot.fences == 0 {
            return Handled::Stale;
        }
        slot.fences -= 1;
        if let (State::Fenced { reset }, 0) = (slot.state, slot.fences) {
            self.place(index, reset);
        }
        Handled::Done
    }
}

/// States between which a connection moves without a change to any limit.
fn settled(state: State) -> bool {
    match state {
        State::Idle | State::Lent { .. } | State::Resetting | State::Fenced { .. } => true,
        State::Vacant | State::Opening { .. } | State::Ending { .. } | State::Ghost { .. } => false,
    }
}
