//! Connects: begun where they are wanted and allowed, ended well or not.

use crate::host::Host;
use crate::limits::{CAPACITY_RETRY, Learned, Of};
use crate::pace::back_off;
use crate::queue::Regime;
use crate::slot::State;
use crate::{Action, ConnId, ConnectFailure, Event, Failure, Handled, Limit, LoopId, Opened, PoolId};

impl Host {
    /// Begins a connect for the pool.
    pub(crate) fn open(&mut self, id: PoolId) {
        let now = self.turn.now;
        let pool = &self.pools[id];
        let near = self.tickets.uncovered(pool, pool.coming()).map_or(LoopId(0), |entry| entry.home);
        let (epoch, scopes) = (pool.epoch, [Of::User(pool.user), Of::Database(pool.database), Of::Host]);
        let life = 900 + self.random.up_to(200) as u32;
        let index = self.slots.vacant(id, life, epoch);
        self.slots.table[index as usize].opened = now;
        self.slots.table[index as usize].home = near;
        self.shift(index, State::Opening { stuck: false });
        self.pace.in_flight += 1;
        for of in scopes {
            self.slots.scopes.of_mut(of).tried(now);
        }
        self.rearm(index);
        self.turn.actions.push_back(Action::Open { conn: self.slots.id(index), pool: id, near });
    }

    /// The slot of a connect under way; its place in the pacing is given back.
    fn landed(&mut self, conn: ConnId) -> Option<u32> {
        let index = self.slots.find(conn)?;
        match self.slots.table[index as usize].state {
            State::Opening { stuck } => {
                self.pace.in_flight -= u32::from(!stuck);
                Some(index)
            }
            State::Vacant
            | State::Idle
            | State::Lent { .. }
            | State::Resetting
            | State::Fenced { .. }
            | State::Ending { .. }
            | State::Ghost { .. } => None,
        }
    }

    /// A connect ended well.
    pub(crate) fn opened(&mut self, conn: ConnId, opened: &Opened) -> Handled {
        let Some(index) = self.landed(conn) else { return Handled::Stale };
        self.pace.succeeded(&self.settings);
        self.follow_server();
        let slot = &mut self.slots.table[index as usize];
        (slot.home, slot.flavor, slot.pid) = (opened.home, opened.flavor, opened.pid);
        let took = self.turn.now.since(slot.opened);
        (slot.opened, slot.facts, slot.connect) = (self.turn.now, self.facts_seen, Some(took));
        let pool = &mut self.pools[slot.pool];
        pool.account.connected(took);
        (pool.failure, pool.failures, pool.retry_at, pool.locked) = (None, 0, crate::Time::ZERO, false);
        self.turn.events.push_back(Event::Connected(pool.id, conn));
        for of in [Of::User(pool.user), Of::Database(pool.database), Of::Host] {
            self.slots.scopes.of_mut(of).learned = None;
        }
        self.place(index, false);
        Handled::Done
    }

    /// A connect did not.
    pub(crate) fn connect_failed(&mut self, conn: ConnId, failure: ConnectFailure) -> Handled {
        let Some(index) = self.landed(conn) else { return Handled::Stale };
        let slot = &self.slots.table[index as usize];
        let (id, begun) = (slot.pool, slot.opened);
        // It may have been begun with a password or role that holds no more: that one was refused says nothing of what holds now.
        let outdated = slot.epoch < self.pools[id].epoch;
        self.shift(index, State::Vacant);
        let kind = failure.kind;
        let now = self.turn.now;
        self.pools[id].account.connect_failed(failure.sqlstate);
        self.pools[id].failure = Some(failure.clone());
        match kind {
            Failure::Password { .. } | Failure::Database if outdated => self.pace.answered(),
            Failure::Down => {
                self.pace.failed(now, begun, &self.settings, &mut self.random);
                self.failure = Some(failure.clone());
            }
            Failure::Capacity(limit) => {
                self.pace.slowed(&self.settings);
                self.learn_capacity(id, limit);
            }
            Failure::Password { configured: true } => {
                self.pace.answered();
                self.pools[id].locked = true;
                self.add_chore(id);
            }
            Failure::Password { configured: false } | Failure::Database => {
                self.pace.answered();
                let pool = &mut self.pools[id];
                pool.retry_at = now + back_off(self.settings.backoff, pool.failures, &mut self.random);
                pool.failures += 1;
                pool.fail_through = Some(self.tickets.newest());
                self.add_chore(id);
            }
        }
        self.turn.events.push_back(Event::ConnectFailed(id, Box::new(failure)));
        self.follow_server();
        Handled::Done
    }

    /// PostgreSQL has no room: the limit it named binds at the number of connections now open.
    fn learn_capacity(&mut self, id: PoolId, limit: Limit) {
        let of = match limit {
            Limit::PgRole => Of::User(self.pools[id].user),
            Limit::PgDatabase => Of::Database(self.pools[id].database),
            Limit::PoolSize
            | Limit::Reserve
            | Limit::ClassShare
            | Limit::User
            | Limit::Database
            | Limit::HostBudget
            | Limit::Connects
            | Limit::Breaker
            | Limit::MaxClients
            | Limit::PgSlots
            | Limit::Fds
            | Limit::Memory
            | Limit::QueueLength
            | Limit::WaitTime => Of::Host,
        };
        let retry_at = self.turn.now + CAPACITY_RETRY;
        let scope = self.slots.scopes.of_mut(of);
        scope.learned = Some(Learned { limit, cap: scope.used - scope.opening, retry_at });
    }

    /// Tells when the server went down or came up, and changes the pools' clocks.
    fn follow_server(&mut self) {
        self.recount = true;
        if self.pace.down == self.was_down {
            return;
        }
        self.was_down = self.pace.down;
        self.turn.events.push_back(if self.pace.down { Event::ServerDown } else { Event::ServerUp });
        if !self.pace.down {
            self.failure = None;
        }
        for pool in self.pools.iter_mut() {
            let regime = Regime::of(pool.word.paused, self.pace.down);
            pool.queue.change(regime, self.turn.now);
        }
    }
}
