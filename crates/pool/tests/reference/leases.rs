//! Connections: lent, given back, closed, ghosts.

use poolwarden_pool::{Checkin, CloseReason, EndCause, Failure, Fitness};

use super::model::{Conn, Model, NEVER, Out, S, Told, Wait, Who};

impl Model {
    pub(crate) fn set(&mut self, at: usize, state: S) {
        if matches!(self.conns[at].state, S::Lent(_)) {
            self.pools[self.conns[at].pool].books.leases += 1;
        }
        self.order += 1;
        let c = &mut self.conns[at];
        (c.state, c.since, c.order) = (state, self.now, self.order);
    }

    pub(crate) fn pick(&self, pool: usize, home: u16, flavor: u64) -> Option<usize> {
        let mut idle: Vec<usize> = (0..self.conns.len())
            .filter(|&at| self.conns[at].pool == pool && self.conns[at].state == S::Idle)
            .collect();
        idle.sort_by_key(|&at| (self.conns[at].home, std::cmp::Reverse(self.conns[at].order)));
        let (own, others): (Vec<usize>, Vec<usize>) = idle.into_iter().partition(|&at| self.conns[at].home == home);
        let equal = |&&at: &&usize| self.conns[at].flavor == flavor;
        let best = own.iter().take(8).find(equal).or_else(|| others.iter().take(8).find(equal));
        best.or(own.first()).or(others.first()).copied()
    }

    pub(crate) fn lend(&mut self, at: usize, ticket: u64, to: u16, waited: Option<u64>) {
        self.set(at, S::Lent(ticket));
        let from = std::mem::replace(&mut self.conns[at].home, to);
        self.moved += u64::from(from != to);
        let p = &mut self.pools[self.conns[at].pool];
        p.books.granted += 1;
        p.books.waits_granted += 1;
        if waited.is_some() {
            p.books.granted_after_wait += 1;
            if let Some(spell) = &mut p.spell {
                spell.2 += 1;
            }
        }
        self.out.push(Out::Grant(ticket, at, from, to, waited.unwrap_or(0)));
    }

    pub(crate) fn choose(&mut self, pool: usize, home: u16) -> Option<usize> {
        let p = &self.pools[pool];
        let head = p.queue.first()?;
        let near = p.queue.iter().position(|wait| wait.home == home).unwrap_or(0);
        let (left, all) = self.patience(pool, head);
        let late = |wait: &Wait| wait.deadline != NEVER && self.now >= wait.since + (wait.deadline - wait.since) / 2;
        let pressed = left < all / 2 || p.queue.iter().any(late);
        if near == 0 || pressed || p.skipped >= self.settings.affinity_skips {
            return Some(0);
        }
        self.pools[pool].skipped += 1;
        Some(near)
    }

    pub(crate) fn must_leave(&self, at: usize) -> Option<CloseReason> {
        let c = &self.conns[at];
        let p = &self.pools[c.pool];
        let most = p.rules.size + p.rules.reserve;
        if p.dropped {
            Some(CloseReason::Retired)
        } else if p.draining {
            Some(CloseReason::Draining)
        } else if c.epoch < p.killed {
            Some(CloseReason::Killed)
        } else if c.epoch < p.epoch {
            Some(CloseReason::Reconnect)
        } else {
            (self.count(c.pool, Conn::living) > most).then_some(CloseReason::Shrunk)
        }
    }

    pub(crate) fn over(&self, who: &Who) -> bool {
        self.max(who).is_some_and(|max| self.count_of(who, Conn::living) > max)
    }

    pub(crate) fn place(&mut self, at: usize, reset: bool) {
        let pool = self.conns[at].pool;
        let old = self.lifetime_end(&self.conns[at]) <= self.now;
        let over = self.circles(pool).iter().any(|who| self.over(who));
        let go = self.must_leave(at).or(old.then_some(CloseReason::Lifetime)).or(over.then_some(CloseReason::Shrunk));
        if let Some(reason) = go {
            self.close(at, reason);
        } else if self.conns[at].fences > 0 {
            self.set(at, S::Fenced { reset });
        } else if reset {
            self.set(at, S::Resetting);
            self.out.push(Out::Reset(at, self.conns[at].home));
        } else if self.lends(pool)
            && let Some(place) = self.choose(pool, self.conns[at].home)
        {
            let wait = self.unqueue(pool, place);
            self.lend(at, wait.number, wait.home, Some(self.now - wait.since));
        } else {
            self.set(at, S::Idle);
            let idle = self.pools[pool].rules.idle_timeout;
            self.conns[at].look = if idle.is_zero() { NEVER } else { self.now + idle.as_nanos() as u64 };
        }
    }

    pub(crate) fn close(&mut self, at: usize, reason: CloseReason) {
        self.out.push(Out::Close(at, self.conns[at].home, reason));
        self.pools[self.conns[at].pool].books.closed[reason as usize] += 1;
        self.set(at, S::Ending(reason));
    }

    pub(crate) fn ghost(&mut self, at: usize, reason: Option<CloseReason>, closed: bool) {
        self.set(at, S::Ghost(reason, closed));
        self.out.push(Out::Ghost(self.conns[at].pool, at));
    }

    pub(crate) fn gone(&mut self, at: usize, reason: Option<CloseReason>) {
        self.set(at, S::Gone);
        self.out.push(Out::Gone(self.conns[at].pool, at, reason));
    }

    pub(crate) fn lay(&mut self, at: usize, reason: Option<CloseReason>, closed: bool) {
        if !closed {
            self.out.push(Out::Forget(at, self.conns[at].home));
        }
        self.gone(at, reason);
    }

    pub(crate) fn checkin(&mut self, at: usize, checkin: &Checkin) -> Told {
        let lent = matches!(self.conns[at].state, S::Lent(_));
        let failed_reset = self.conns[at].state == S::Resetting && checkin.fitness == Fitness::Broken;
        if !lent && !failed_reset {
            return Told::Stale;
        }
        (self.conns[at].home, self.conns[at].flavor) = (checkin.home.0, checkin.flavor);
        match checkin.fitness {
            Fitness::Clean => self.place(at, false),
            Fitness::NeedsReset => self.place(at, true),
            Fitness::Broken => self.close(at, CloseReason::Broken),
        }
        Told::Done
    }

    pub(crate) fn reset_done(&mut self, at: usize) -> Told {
        if self.conns[at].state != S::Resetting {
            return Told::Stale;
        }
        self.place(at, false);
        Told::Done
    }

    pub(crate) fn fence(&mut self, at: usize) -> Told {
        if !self.conns[at].living() || matches!(self.conns[at].state, S::Opening { .. }) {
            return Told::Stale;
        }
        self.conns[at].fences += 1;
        if self.conns[at].state == S::Idle {
            self.set(at, S::Fenced { reset: false });
        }
        Told::Done
    }

    pub(crate) fn unfence(&mut self, at: usize) -> Told {
        if self.conns[at].state == S::Gone || self.conns[at].fences == 0 {
            return Told::Stale;
        }
        self.conns[at].fences -= 1;
        if let (S::Fenced { reset }, 0) = (self.conns[at].state, self.conns[at].fences) {
            self.place(at, reset);
        }
        Told::Done
    }

    pub(crate) fn closed(&mut self, at: usize, cause: EndCause) -> Told {
        let pool = self.conns[at].pool;
        match (self.conns[at].state, cause) {
            (S::Gone, _) => return Told::Stale,
            (S::Opening { .. }, _) => return self.connect_failed(at, Failure::Down),
            (S::Ending(reason), EndCause::Eof) => self.gone(at, Some(reason)),
            (S::Ending(reason), EndCause::Failed) => self.ghost(at, Some(reason), true),
            (S::Ghost(reason, _), EndCause::Eof) => self.gone(at, reason),
            (S::Ghost(reason, _), EndCause::Failed) => self.conns[at].state = S::Ghost(reason, true),
            (_, cause) => {
                self.pools[pool].books.closed[9] += 1;
                if cause == EndCause::Failed && self.conns[at].pid.is_some() {
                    self.ghost(at, None, true);
                } else {
                    self.gone(at, None);
                }
            }
        }
        Told::Done
    }
}
