//! Eviction between pools under a shared limit, and the shrinking of a shared limit that was made smaller.

use crate::host::Host;
use crate::limits::{EVICTION_AGE, Of, SPARE_AGE};
use crate::{CloseReason, Time};

impl Host {
    /// For each pool that a shared limit stops, the oldest waiting first: closes as many idle connections of other
    /// pools as it wants beyond the places that become free anyway, no faster than connects are paced.
    pub(crate) fn evict(&mut self) {
        let now = self.turn.now;
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        for &id in &self.needy {
            let pool = &self.pools[id];
            if pool.want() > 0 && pool.retry_at <= now {
                let room = self.room(pool);
                if room.left == 0 && room.shared(pool).is_some() {
                    order.push(self.seniority(pool));
                }
            }
        }
        order.sort_unstable();
        for scope in order.iter().map(|&(_, _, id)| id) {
            let pool = &self.pools[scope];
            if let Some(of) = self.room(pool).shared(pool) {
                self.slots.scopes.of_mut(of).claimed = 0;
            }
        }
        for &(_, _, id) in &order {
            let pool = &self.pools[id];
            let Some(of) = self.room(pool).shared(pool) else { continue };
            let mut wanted = pool.want().min(self.own_room(pool).left);
            let scope = self.slots.scopes.of_mut(of);
            let coming = wanted.min(scope.ending.saturating_sub(scope.claimed));
            scope.claimed += coming;
            wanted -= coming;
            while wanted > 0 && self.pace.open(now, self.slots.evicting) && self.slots.scopes.of(of).barren_until <= now
            {
                if self.turn.spent() {
                    break;
                }
                let Some(victim) = self.victim(of) else { break };
                self.close(victim, CloseReason::Evicted);
                self.evicted += 1;
                self.slots.scopes.of_mut(of).claimed += 1;
                wanted -= 1;
            }
        }
        self.order = order;
    }

    /// The connection idle longest of the pool with the largest surplus that has one old enough.
    /// Without one, notes when there may be.
    fn victim(&mut self, of: Of) -> Option<u32> {
        let now = self.turn.now;
        let (mut best, mut barren) = (None, Time::NEVER);
        for &id in &self.slots.scopes.of(of).pools {
            let pool = &self.pools[id];
            let surplus = pool.living().saturating_sub(pool.rules.min_size);
            let Some(index) = self.slots.oldest_idle(pool).filter(|_| surplus > 0) else { continue };
            let spare = self.guards() && pool.living() > pool.need(now);
            let old_enough = self.slots.table[index as usize].since + if spare { SPARE_AGE } else { EVICTION_AGE };
            if old_enough > now {
                barren = barren.min(old_enough);
            } else if best.is_none_or(|(most, _)| surplus > most) {
                best = Some((surplus, index));
            }
        }
        if best.is_none() {
            self.slots.scopes.of_mut(of).barren_until = barren;
        }
        best.map(|(_, index)| index)
    }

    /// Closes idle connections beyond a shared limit that was made smaller: of the pool with the largest surplus first.
    pub(crate) fn trim_shared(&mut self) {
        if !self.trim {
            return;
        }
        let users = (0..self.slots.scopes.users.list.len() as u32).map(Of::User);
        let databases = (0..self.slots.scopes.databases.list.len() as u32).map(Of::Database);
        let scopes: Vec<Of> = users.chain(databases).chain([Of::Host]).collect();
        for of in scopes {
            while self.slots.scopes.of(of).over() {
                if self.turn.spent() {
                    return;
                }
                let Some(index) = self.superfluous(of) else { break };
                self.close(index, CloseReason::Shrunk);
            }
        }
        self.trim = false;
    }

    fn superfluous(&self, of: Of) -> Option<u32> {
        let pools = self.slots.scopes.of(of).pools.iter().map(|&id| &self.pools[id]);
        let surplus = |pool: &&crate::pool::Pool| i64::from(pool.living()) - i64::from(pool.rules.min_size);
        let richest =
            pools.filter(|pool| pool.counts.idle > 0).max_by_key(|pool| (surplus(pool), std::cmp::Reverse(pool.id)));
        richest.and_then(|pool| self.slots.oldest_idle(pool))
    }
}
