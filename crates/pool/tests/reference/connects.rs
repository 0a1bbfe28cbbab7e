//! Connects: begun, ended well or not.

use poolwarden_pool::{Failure, Limit, Opened};

use super::model::{Conn, Learned, Model, NEVER, Out, S, Told};
use super::rules::jitter;

impl Model {
    pub(crate) fn open(&mut self, pool: usize) {
        let coming = self.coming(pool) as usize;
        let near = self.pools[pool].queue.get(coming).map_or(0, |wait| wait.home);
        let life = 900 + jitter(&mut self.seed, 200);
        self.order += 1;
        let conn = Conn {
            pool,
            state: S::Opening { stuck: false },
            since: self.now,
            order: self.order,
            opened: self.now,
            home: near,
            flavor: 0,
            pid: None,
            look: NEVER,
            life,
            epoch: self.pools[pool].epoch,
            fences: 0,
            facts: 0,
        };
        // The place of one that is gone is taken again, so that counting stays affordable.
        let at = self.conns.iter().position(|c| c.state == S::Gone).unwrap_or(self.conns.len());
        if at == self.conns.len() {
            self.conns.push(conn);
        } else {
            self.conns[at] = conn;
        }
        for who in self.circles(pool) {
            let (used, now) = (self.count_of(&who, |_| true), self.now);
            if let Some(learned) = self.learned.get_mut(&who)
                && now >= learned.retry_at
                && used > learned.cap
            {
                learned.retry_at = now + 10_000_000_000;
            }
        }
        self.out.push(Out::Open(at, pool, near));
    }

    pub(crate) fn answered(&mut self) {
        (self.rounds_failed, self.down, self.not_before) = (0, false, 0);
    }

    pub(crate) fn opened(&mut self, at: usize, opened: &Opened) -> Told {
        if !matches!(self.conns[at].state, S::Opening { .. }) {
            return Told::Stale;
        }
        self.answered();
        self.successes += 1;
        if self.successes >= self.allowed {
            self.successes = 0;
            self.allowed = (self.allowed * 2).min(self.settings.connects_max.max(self.settings.connects_start));
        }
        self.tell_server();
        let pool = self.conns[at].pool;
        let c = &mut self.conns[at];
        (c.home, c.flavor, c.pid, c.opened, c.facts) =
            (opened.home.0, opened.flavor, opened.pid, self.now, self.facts_seen);
        let p = &mut self.pools[pool];
        p.books.connects += 1;
        (p.failed, p.failures, p.retry_at, p.locked) = (false, 0, 0, false);
        for who in self.circles(pool) {
            self.learned.remove(&who);
        }
        self.out.push(Out::Connected(pool, at));
        self.place(at, false);
        Told::Done
    }

    pub(crate) fn connect_failed(&mut self, at: usize, kind: Failure) -> Told {
        if !matches!(self.conns[at].state, S::Opening { .. }) {
            return Told::Stale;
        }
        let (pool, begun, now) = (self.conns[at].pool, self.conns[at].opened, self.now);
        let outdated = self.conns[at].epoch < self.pools[pool].epoch;
        self.set(at, S::Gone);
        self.pools[pool].books.connects_failed += 1;
        self.pools[pool].failed = true;
        match kind {
            Failure::Down => {
                (self.allowed, self.successes) = (self.settings.connects_start.max(1), 0);
                if !self.down || begun >= self.failed_at {
                    self.not_before = now + self.back_off(self.rounds_failed);
                    self.rounds_failed += 1;
                    self.failed_at = now;
                }
                self.down = true;
            }
            Failure::Capacity(limit) => {
                self.answered();
                (self.allowed, self.successes) = (self.settings.connects_start.max(1), 0);
                let [user, database, host] = self.circles(pool);
                let who = match limit {
                    Limit::PgRole => user,
                    Limit::PgDatabase => database,
                    Limit::PgSlots => host,
                    Limit::PoolSize
                    | Limit::Reserve
                    | Limit::ClassShare
                    | Limit::User
                    | Limit::Database
                    | Limit::HostBudget
                    | Limit::Connects
                    | Limit::Breaker
                    | Limit::MaxClients
                    | Limit::Fds
                    | Limit::Memory
                    | Limit::QueueLength
                    | Limit::WaitTime => panic!("the world's PostgreSQL names its own limits only"),
                };
                let cap = self.count_of(&who, |c| !matches!(c.state, S::Opening { .. }));
                self.learned.insert(who, Learned { limit, cap, retry_at: now + 10_000_000_000 });
            }
            Failure::Password { .. } | Failure::Database if outdated => self.answered(),
            Failure::Password { configured: true } => {
                self.answered();
                self.pools[pool].locked = true;
            }
            Failure::Password { configured: false } | Failure::Database => {
                self.answered();
                let wait = self.back_off(self.pools[pool].failures);
                self.pools[pool].failures += 1;
                self.pools[pool].retry_at = now + wait;
                while !self.pools[pool].queue.is_empty() && !self.shut(pool) {
                    self.refuse(pool, 0, Limit::Breaker);
                }
            }
        }
        self.out.push(Out::ConnectFailed(pool));
        self.tell_server();
        Told::Done
    }

    pub(crate) fn back_off(&mut self, failures: u32) -> u64 {
        let (first, most) = self.settings.backoff;
        let most = (first.as_nanos() << failures.min(60)).min(most.as_nanos());
        jitter(&mut self.seed, most as u64)
    }

    pub(crate) fn tell_server(&mut self) {
        if self.down != self.told_down {
            self.told_down = self.down;
            self.out.push(if self.down { Out::Down } else { Out::Up });
        }
        self.follow_regimes();
    }
}
