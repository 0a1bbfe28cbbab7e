//! Clients: they enter, ask, give up and are refused.

use poolwarden_pool::{DatabaseSettings, Limit, PoolKey, Request, Verb};

use super::model::{Books, Model, NEVER, No, Out, Pool, Regime, S, Told, Wait, Who, empty_no};

impl Model {
    pub(crate) fn rules_of(&self, key: &PoolKey) -> Option<(DatabaseSettings, bool)> {
        let own = self.settings.databases.get(&key.database).cloned();
        let any = own.is_none();
        let mut rules = own.or_else(|| self.settings.any.clone())?;
        if let Some(user) = self.settings.users.get(&key.user) {
            rules.size = user.size.unwrap_or(rules.size);
        }
        rules.min_size = rules.min_size.min(rules.size);
        Some((rules, any))
    }

    pub(crate) fn word(&self, database: &str, set: Verb, unset: Verb) -> bool {
        let mut on = false;
        for (verb, name) in &self.said {
            if name.as_deref().is_none_or(|name| name == database) {
                on = if *verb == set { true } else { on && *verb != unset };
            }
        }
        on
    }

    pub(crate) fn enter(&mut self, key: PoolKey) -> Told {
        let Some((rules, any)) = self.rules_of(&key) else { return Told::Refused(empty_no(true)) };
        let draining = self.word(&key.database, Verb::Drain, Verb::Drain);
        let disabled = self.word(&key.database, Verb::Disable, Verb::Enable);
        if rules.disabled || disabled || draining {
            return Told::Refused(empty_no(false));
        }
        let found = (0..self.pools.len()).find(|&at| !self.pools[at].retired && self.pools[at].key == key);
        let pool = match found {
            Some(pool) => pool,
            None => {
                let served: Vec<usize> =
                    (0..self.pools.len()).filter(|&at| !self.pools[at].retired && self.pools[at].any).collect();
                if any && served.len() >= self.settings.max_any_pools as usize {
                    let oldest = served.into_iter().filter(|&at| self.empty(at));
                    match oldest.min_by_key(|&at| (self.pools[at].empty_since, at)) {
                        Some(at) => self.retire(at),
                        None => return Told::Refused(empty_no(true)),
                    }
                }
                self.make(key, rules, any)
            }
        };
        self.pools[pool].clients += 1;
        self.pools[pool].entered = true;
        Told::Entered(pool)
    }

    pub(crate) fn make(&mut self, key: PoolKey, rules: DatabaseSettings, any: bool) -> usize {
        let fresh = |who: &Who| !self.scope_lives(who);
        let (user, database) = (Who::User(key.user.clone()), Who::Database(key.database.clone()));
        let (new_user, new_database) = (fresh(&user), fresh(&database));
        if let Some(facts) = &self.facts {
            let share = |limits: &[(String, u32, u32)], name: &str| {
                limits.iter().find(|(n, _, _)| n == name).map(|(_, limit, backends)| limit.saturating_sub(*backends))
            };
            if let (true, Some(size)) = (new_user, share(&facts.roles, &key.user)) {
                self.pg.insert(user, size);
            }
            if let (true, Some(size)) = (new_database, share(&facts.databases, &key.database)) {
                self.pg.insert(database, size);
            }
        }
        let paused = self.paused_word(&key.database);
        self.pools.push(Pool {
            draining: false,
            disabled: false,
            key,
            rules,
            any,
            retired: false,
            dropped: false,
            clients: 0,
            entered: false,
            paused,
            locked: false,
            failed: false,
            failures: 0,
            retry_at: 0,
            epoch: 0,
            killed: 0,
            skipped: 0,
            queue: vec![],
            regime: Regime::Up,
            spell: None,
            empty_since: NEVER,
            books: Books::default(),
        });
        self.follow_regimes();
        self.out.push(Out::Made(self.pools.len() - 1));
        self.pools.len() - 1
    }

    pub(crate) fn paused_word(&self, database: &str) -> bool {
        let mut on = false;
        for (verb, name) in &self.said {
            if name.as_deref().is_none_or(|name| name == database) {
                match verb {
                    Verb::Pause | Verb::Kill => on = true,
                    Verb::Resume => on = false,
                    Verb::Reconnect | Verb::Drain | Verb::Disable | Verb::Enable => {}
                }
            }
        }
        on
    }

    pub(crate) fn leave(&mut self, pool: usize) -> Told {
        let p = &mut self.pools[pool];
        if p.retired || p.clients == 0 {
            return Told::Stale;
        }
        p.clients -= 1;
        Told::Done
    }

    pub(crate) fn checkout(&mut self, pool: usize, request: &Request) -> Told {
        if self.pools[pool].retired {
            return Told::Refused(empty_no(true));
        }
        if self.shut(pool) {
            let no = self.no(pool, self.shut_limit(pool), 0);
            return self.turn_away(pool, no);
        }
        if self.lends(pool)
            && self.pools[pool].queue.is_empty()
            && let Some(at) = self.pick(pool, request.home.0, request.flavor)
        {
            self.tickets += 1;
            self.lend(at, self.tickets, request.home.0, None);
            return Told::Queued(self.tickets);
        }
        let late = request.deadline.as_nanos() <= self.now;
        if late || self.pools[pool].queue.len() as u32 >= self.pools[pool].rules.max_queue {
            let no = self.no(pool, if late { Limit::WaitTime } else { Limit::QueueLength }, 0);
            return self.turn_away(pool, no);
        }
        self.tickets += 1;
        self.pools[pool].queue.push(Wait {
            number: self.tickets,
            home: request.home.0,
            flavor: request.flavor,
            since: self.now,
            deadline: request.deadline.as_nanos(),
            up: 0,
            regime: 0,
        });
        Told::Queued(self.tickets)
    }

    pub(crate) fn turn_away(&mut self, pool: usize, no: No) -> Told {
        let p = &mut self.pools[pool];
        p.books.refused[no.binding.index()] += 1;
        p.books.waits_failed += 1;
        if let Some(spell) = &mut p.spell {
            spell.3 += 1;
        }
        Told::Refused(no)
    }

    /// Stands for "nobody is served": the refusal's flags say why.
    pub(crate) fn shut_limit(&self, pool: usize) -> Limit {
        let p = &self.pools[pool];
        if p.locked && !(p.dropped || p.draining || p.disabled || p.rules.disabled) {
            Limit::Breaker
        } else {
            Limit::MaxClients
        }
    }

    /// A refusal; `MaxClients` stands for a stopping or dropped pool, `PoolSize` never comes in.
    pub(crate) fn no(&self, pool: usize, limit: Limit, waited: u64) -> No {
        let p = &self.pools[pool];
        let bound = p.spell.map_or_else(|| self.verdict(pool).limit, |spell| spell.1.limit);
        let (limit, binding) = if limit == Limit::MaxClients {
            (Limit::WaitTime, Limit::WaitTime)
        } else if limit == Limit::Breaker || (limit == Limit::WaitTime && bound == Limit::Breaker) {
            (Limit::Breaker, Limit::Breaker)
        } else {
            (limit, bound)
        };
        let held = self.conns.iter().filter(|c| c.pool == pool && matches!(c.state, S::Lent(_)));
        let stopped = limit == Limit::WaitTime && self.shut(pool);
        No {
            limit,
            binding,
            lent: self.count(pool, |c| matches!(c.state, S::Lent(_))),
            waiting: p.queue.len() as u32,
            waited,
            longest_held: held.map(|c| self.now - c.since).max().unwrap_or(0),
            failure: self.down || (binding == Limit::Breaker && p.failed),
            no_such: stopped && p.dropped,
            stopping: stopped && !p.dropped,
        }
    }

    pub(crate) fn refuse(&mut self, pool: usize, at: usize, limit: Limit) {
        let wait = self.pools[pool].queue[at].clone();
        let no = self.no(pool, limit, self.now - wait.since);
        self.turn_away(pool, no);
        self.unqueue(pool, at);
        self.out.push(Out::Refuse(wait.number, no));
    }

    pub(crate) fn unqueue(&mut self, pool: usize, at: usize) -> Wait {
        let p = &mut self.pools[pool];
        if at == 0 {
            p.skipped = 0;
        }
        p.queue.remove(at)
    }

    pub(crate) fn cancel(&mut self, ticket: u64, gave_up: bool) -> Told {
        for pool in 0..self.pools.len() {
            if let Some(at) = self.pools[pool].queue.iter().position(|wait| wait.number == ticket) {
                self.unqueue(pool, at);
                self.pools[pool].books.abandoned += u64::from(gave_up);
                self.pools[pool].books.waits_failed += u64::from(gave_up);
                return Told::Cancelled;
            }
        }
        match self.conns.iter().position(|c| c.state == S::Lent(ticket)) {
            Some(at) => Told::AlreadyGranted(at),
            None => Told::Stale,
        }
    }
}
