//! Time passes, and what is due by itself.

use std::time::Duration;

use poolwarden_pool::{CloseReason, Limit};

use super::model::{Conn, Model, NEVER, Out, Regime, S, Wait, Who};

impl Model {
    /// Time passes: waits and leases grow.
    pub(crate) fn pass(&mut self, now: u64) {
        let span = now - self.now;
        self.now = now;
        for pool in 0..self.pools.len() {
            if self.pools[pool].retired {
                continue;
            }
            let lent = self.count(pool, |c| matches!(c.state, S::Lent(_)));
            let p = &mut self.pools[pool];
            p.books.lent_nanos += span * u64::from(lent);
            if let Some((_, room, _, _)) = p.spell {
                p.books.wait_nanos[room.limit.index()] += span * p.queue.len() as u64;
            }
            for wait in &mut p.queue {
                wait.regime += span;
                wait.up += if p.regime == Regime::Up { span } else { 0 };
            }
        }
    }

    pub(crate) fn follow_regimes(&mut self) {
        for p in &mut self.pools {
            let regime = if p.paused {
                Regime::Paused
            } else if self.down {
                Regime::Down
            } else {
                Regime::Up
            };
            if regime != p.regime {
                p.regime = regime;
                p.queue.iter_mut().for_each(|wait| wait.regime = 0);
            }
        }
    }

    /// What is left of a waiter's patience, and all of it.
    pub(crate) fn patience(&self, pool: usize, wait: &Wait) -> (u64, u64) {
        let (p, nanos) = (&self.pools[pool], |d: Duration| d.as_nanos() as u64);
        let (all, used) = match p.regime {
            Regime::Up => (nanos(p.rules.max_wait), wait.up),
            Regime::Paused => (nanos(p.rules.pause_wait), wait.regime),
            Regime::Down => (nanos(p.rules.down_wait), wait.regime),
        };
        (all.saturating_sub(used), all)
    }

    pub(crate) fn lifetime_end(&self, c: &Conn) -> u64 {
        let lifetime = self.pools[c.pool].rules.lifetime;
        if lifetime.is_zero() { NEVER } else { c.opened + (lifetime * c.life as u32 / 1000).as_nanos() as u64 }
    }

    /// Everything that is due by itself.
    pub(crate) fn due(&mut self, now: u64) {
        self.pass(now);
        let half_connect = self.settings.connect_timeout.as_nanos() as u64 / 2;
        let mut idle: Vec<(u64, usize)> = vec![];
        for at in 0..self.conns.len() {
            let c = &self.conns[at];
            match c.state {
                S::Opening { stuck: false } if c.opened + half_connect <= now => {
                    self.conns[at].state = S::Opening { stuck: true };
                }
                S::Idle => idle.push((c.look.min(self.lifetime_end(c)), at)),
                S::Ending(reason) if c.since + self.settings.ending_timeout.as_nanos() as u64 <= now => {
                    self.ghost(at, Some(reason), false);
                }
                S::Ghost(reason, closed) if c.since + self.settings.ghost_timeout.as_nanos() as u64 <= now => {
                    self.lay(at, reason, closed);
                }
                S::Opening { .. }
                | S::Lent(_)
                | S::Resetting
                | S::Fenced { .. }
                | S::Ending(_)
                | S::Ghost(..)
                | S::Gone => {}
            }
        }
        idle.sort_unstable();
        for (due, at) in idle.into_iter().filter(|&(due, _)| due <= now) {
            debug_assert!(due <= now);
            let pool = self.conns[at].pool;
            if self.lifetime_end(&self.conns[at]) <= now {
                self.close(at, CloseReason::Lifetime);
            } else if self.count(pool, Conn::living) > self.pools[pool].rules.min_size {
                self.close(at, CloseReason::Idle);
            } else {
                self.conns[at].look = now + self.pools[pool].rules.idle_timeout.as_nanos() as u64;
            }
        }
        for pool in 0..self.pools.len() {
            let late = |wait: &Wait| wait.deadline <= now;
            while let Some(at) = self.pools[pool].queue.iter().position(late) {
                self.refuse(pool, at, Limit::WaitTime);
            }
        }
        for pool in 0..self.pools.len() {
            while self.pools[pool].queue.first().is_some_and(|wait| self.patience(pool, wait).0 == 0) {
                self.refuse(pool, 0, Limit::WaitTime);
            }
            let p = &self.pools[pool];
            let idle = self.settings.any_idle.as_nanos() as u64;
            if p.any && !p.retired && self.empty(pool) && p.empty_since.saturating_add(idle) <= now {
                self.retire(pool);
            }
        }
    }

    pub(crate) fn empty(&self, pool: usize) -> bool {
        let p = &self.pools[pool];
        p.clients == 0 && p.queue.is_empty() && self.count(pool, |_| true) == 0
    }

    pub(crate) fn retire(&mut self, pool: usize) {
        self.pools[pool].retired = true;
        self.out.push(Out::Retired(pool));
        for who in self.circles(pool) {
            if who != Who::Host && !self.scope_lives(&who) {
                self.pg.remove(&who);
                self.learned.remove(&who);
            }
        }
    }

    pub(crate) fn scope_lives(&self, who: &Who) -> bool {
        (0..self.pools.len()).any(|pool| !self.pools[pool].retired && self.within(who, pool))
    }
}
