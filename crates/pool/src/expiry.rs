//! What is due by itself: deadlines, idle time and lifetime, stuck connects, ghosts, pools of `*` that nobody needs.

use std::time::Duration;

use crate::door::Why;
use crate::host::Host;
use crate::limits::{EVICTION_AGE, SPARE_AGE};
use crate::queue::Stand;
use crate::slot::State;
use crate::{CloseReason, PoolId, Time, Wake};

impl Host {
    /// Does what is due by now, as far as the call's budget goes.
    pub(crate) fn ring(&mut self) {
        let now = self.turn.now;
        while !self.turn.spent() {
            if let Some(index) = self.slot_alarms.ring(now) {
                self.slot_rang(index);
            } else if let Some(index) = self.ticket_alarms.ring(now) {
                self.ticket_rang(index);
            } else if let Some(index) = self.pool_alarms.ring(now) {
                self.pool_rang(PoolId(index));
            } else {
                return;
            }
        }
    }

    fn slot_rang(&mut self, index: u32) {
        let now = self.turn.now;
        let slot = &self.slots.table[index as usize];
        match slot.state {
            State::Vacant | State::Lent { .. } | State::Resetting | State::Fenced { .. } => return,
            State::Opening { stuck } => {
                if !stuck && slot.opened + self.settings.connect_timeout / 2 <= now {
                    self.shift(index, State::Opening { stuck: true });
                    self.pace.in_flight -= 1;
                }
            }
            State::Idle => {
                let pool = &self.pools[slot.pool];
                self.recount |= !self.needy.is_empty() && slot.since + self.eviction_age() <= now;
                if now >= self.lifetime_end(index) {
                    self.close(index, CloseReason::Lifetime);
                } else if now >= slot.look {
                    if pool.living() > pool.rules.min_size {
                        self.close(index, CloseReason::Idle);
                    } else {
                        self.slots.table[index as usize].look = now + pool.rules.idle_timeout;
                    }
                }
            }
            State::Ending { reason } => {
                if slot.since + self.settings.ending_timeout <= now {
                    self.haunt(index, Some(reason), false);
                }
            }
            State::Ghost { reason, closed } => {
                if slot.since + self.settings.ghost_timeout <= now {
                    self.lay(index, reason, closed);
                }
            }
        }
        self.rearm(index);
    }

    /// Sets a connection's alarm to what is due next in its state.
    pub(crate) fn rearm(&mut self, index: u32) {
        let slot = &self.slots.table[index as usize];
        let (at, wake) = match slot.state {
            State::Vacant
            | State::Opening { stuck: true }
            | State::Lent { .. }
            | State::Resetting
            | State::Fenced { .. } => return,
            State::Opening { stuck: false } => (slot.opened + self.settings.connect_timeout / 2, Wake::Backoff),
            State::Idle => {
                let old_enough = slot.since + self.eviction_age();
                let soon = if self.needy.is_empty() || old_enough <= self.turn.now { Time::NEVER } else { old_enough };
                (self.lifetime_end(index).min(slot.look).min(soon), Wake::Expiry)
            }
            State::Ending { .. } => (slot.since + self.settings.ending_timeout, Wake::Ending),
            State::Ghost { .. } => (slot.since + self.settings.ghost_timeout, Wake::Ending),
        };
        self.slot_alarms.advance(index, at, wake);
    }

    /// The least time after which an idle connection may be evicted.
    fn eviction_age(&self) -> Duration {
        if self.guards() { SPARE_AGE } else { EVICTION_AGE }
    }

    /// When a connection is old, by its own jitter.
    pub(crate) fn lifetime_end(&self, index: u32) -> Time {
        let slot = &self.slots.table[index as usize];
        match self.pools[slot.pool].rules.lifetime {
            Duration::ZERO => Time::NEVER,
            span => slot.opened + span.saturating_mul(slot.life) / 1000,
        }
    }

    /// A client's own deadline: at half of it nobody overtakes any more, at its end the request is refused.
    fn ticket_rang(&mut self, index: u32) {
        let entry = &self.tickets.table[index as usize];
        match entry.stand {
            Stand::Waiting { .. } if entry.deadline <= self.turn.now => self.refuse(index, Why::Time),
            Stand::Waiting { .. } => {
                let (id, deadline) = (entry.pool, entry.deadline);
                self.tickets.press(&mut self.pools[id], index);
                self.ticket_alarms.advance(index, deadline, Wake::Deadline);
            }
            Stand::Vacant | Stand::Granted(_) => {}
        }
    }

    fn pool_rang(&mut self, id: PoolId) {
        let now = self.turn.now;
        if self.pools.find(id).is_none() {
            return;
        }
        self.touch(id);
        while let Some((head, why)) = self.overdue(id) {
            if self.turn.spent() {
                self.pool_alarms.advance(id.0, now, Wake::Deadline);
                return;
            }
            self.refuse(head, why);
        }
        let pool = &mut self.pools[id];
        if pool.look <= now {
            pool.look = Time::NEVER;
            self.recount = true;
            if pool.queue.len() > 0 && pool.counts.idle > 0 {
                self.add_chore(id);
            }
        }
        let pool = &self.pools[id];
        if pool.any && pool.empty() && pool.empty_since + self.settings.any_idle <= now {
            self.retire(id);
        }
    }
}
