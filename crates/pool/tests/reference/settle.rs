//! What follows from a step: chores, connects, evictions, which limit binds.

use std::collections::BTreeMap;

use poolwarden_pool::CloseReason;

use super::model::{Conn, Model, NEVER, Out, S, Who};

impl Model {
    pub(crate) fn settle(&mut self) {
        for pool in 0..self.pools.len() {
            if !self.pools[pool].retired {
                self.chores(pool);
            }
        }
        self.trim();
        for pool in 0..self.pools.len() {
            if self.empty(pool) && self.pools[pool].dropped && !self.pools[pool].retired {
                self.retire(pool);
            }
        }
        self.serve();
        self.evict();
        // After the connects: a pool that just began one has a connection, though the next step may see it fail.
        for pool in 0..self.pools.len() {
            let empty = self.empty(pool);
            let p = &mut self.pools[pool];
            p.empty_since = if empty { p.empty_since.min(self.now) } else { NEVER };
        }
        self.bind();
    }

    fn refuse_all(&mut self, pool: usize) {
        while self.shut(pool) && !self.pools[pool].queue.is_empty() {
            self.refuse(pool, 0, self.shut_limit(pool));
        }
    }

    pub(crate) fn chores(&mut self, pool: usize) {
        self.refuse_all(pool);
        for at in 0..self.conns.len() {
            let c = &self.conns[at];
            let killed = c.epoch < self.pools[pool].killed;
            let held = matches!(c.state, S::Lent(_) | S::Resetting | S::Fenced { .. });
            if c.pool == pool && killed && held {
                self.close(at, CloseReason::Killed);
            }
        }
        while let Some(at) = self.oldest_idle(pool)
            && let Some(reason) = self.must_leave(at)
        {
            self.close(at, reason);
        }
        while self.lends(pool)
            && let Some(wait) = self.pools[pool].queue.first()
            && let Some(at) = self.pick(pool, wait.home, wait.flavor)
        {
            let wait = self.unqueue(pool, 0);
            self.lend(at, wait.number, wait.home, Some(self.now - wait.since));
        }
        self.refuse_all(pool);
    }

    pub(crate) fn oldest_idle(&self, pool: usize) -> Option<usize> {
        let idle = (0..self.conns.len()).filter(|&at| self.conns[at].pool == pool && self.conns[at].state == S::Idle);
        idle.min_by_key(|&at| self.conns[at].order)
    }

    pub(crate) fn everybody(&self) -> Vec<Who> {
        let mut all: Vec<Who> = (0..self.pools.len()).flat_map(|pool| self.circles(pool)).collect();
        all.sort();
        all.dedup();
        all
    }

    pub(crate) fn trim(&mut self) {
        for who in self.everybody() {
            while self.over(&who) {
                let surplus = |&pool: &usize| {
                    i64::from(self.count(pool, Conn::living)) - i64::from(self.pools[pool].rules.min_size)
                };
                let rich = (0..self.pools.len())
                    .filter(|&pool| self.within(&who, pool) && self.oldest_idle(pool).is_some())
                    .max_by_key(|pool| (surplus(pool), std::cmp::Reverse(*pool)));
                let Some(at) = rich.and_then(|pool| self.oldest_idle(pool)) else { break };
                self.close(at, CloseReason::Shrunk);
            }
        }
    }

    pub(crate) fn seniority(&self, pool: usize) -> (u64, u64, usize) {
        match self.pools[pool].queue.get(self.coming(pool) as usize) {
            Some(wait) => (wait.since, wait.number, pool),
            None => (NEVER, u64::MAX, pool),
        }
    }

    pub(crate) fn pacing(&self, taken: u32) -> bool {
        self.now >= self.not_before && self.in_flight() + taken < self.allowed
    }

    pub(crate) fn serve(&mut self) {
        while self.pacing(0) {
            let able = (0..self.pools.len()).filter(|&pool| {
                self.want(pool) > 0 && self.pools[pool].retry_at <= self.now && self.room(pool).left > 0
            });
            let Some(pool) = able.min_by_key(|&pool| self.seniority(pool)) else { break };
            self.open(pool);
        }
    }

    pub(crate) fn evict(&mut self) {
        let mut stopped: Vec<usize> = (0..self.pools.len())
            .filter(|&pool| self.want(pool) > 0 && self.pools[pool].retry_at <= self.now)
            .filter(|&pool| self.room(pool).left == 0 && self.room(pool).shared(self, pool).is_some())
            .collect();
        stopped.sort_by_key(|&pool| self.seniority(pool));
        let mut claimed: BTreeMap<Who, u32> = BTreeMap::new();
        for pool in stopped {
            let Some(who) = self.room(pool).shared(self, pool) else { continue };
            let mut wanted = self.want(pool).min(self.own_room(pool).left);
            let ending = self.count_of(&who, |c| matches!(c.state, S::Ending(_)));
            let sure = wanted.min(ending.saturating_sub(claimed.get(&who).copied().unwrap_or(0)));
            *claimed.entry(who.clone()).or_default() += sure;
            wanted -= sure;
            while wanted > 0
                && self.pacing(self.conns.iter().filter(|c| c.state == S::Ending(CloseReason::Evicted)).count() as u32)
            {
                let surplus =
                    |pool: usize| self.count(pool, Conn::living).saturating_sub(self.pools[pool].rules.min_size);
                let old =
                    |pool: usize| self.oldest_idle(pool).filter(|&at| self.conns[at].since + 5_000_000_000 <= self.now);
                let rich = (0..self.pools.len())
                    .filter(|&other| self.within(&who, other) && surplus(other) > 0 && old(other).is_some())
                    .max_by_key(|&other| (surplus(other), std::cmp::Reverse(other)));
                let Some(at) = rich.and_then(old) else { break };
                self.close(at, CloseReason::Evicted);
                self.evicted += 1;
                *claimed.entry(who.clone()).or_default() += 1;
                wanted -= 1;
            }
        }
    }

    pub(crate) fn bind(&mut self) {
        for pool in 0..self.pools.len() {
            if self.pools[pool].queue.is_empty() && self.pools[pool].spell.is_none() {
                continue;
            }
            let (room, now) = (self.verdict(pool), self.now);
            let p = &mut self.pools[pool];
            match (p.queue.len(), p.spell) {
                (0, None) => {}
                (0, Some((since, _, granted, refused))) => {
                    p.spell = None;
                    self.out.push(Out::Cleared(pool, now - since, granted, refused));
                }
                (_, None) => {
                    p.spell = Some((now, room, 0, 0));
                    self.out.push(Out::Waiting(pool, room.limit, room.size, room.used));
                }
                (_, Some((since, old, granted, refused))) => {
                    if old.limit != room.limit {
                        self.out.push(Out::Binding(pool, room.limit, room.size, room.used));
                    }
                    p.spell = Some((since, room, granted, refused));
                }
            }
        }
    }

    /// A step's outputs.
    pub(crate) fn take(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }
}
