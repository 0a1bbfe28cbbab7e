//! The slow, obvious pool: plain vectors, everything counted anew at each step, no alarms and no caches.
//!
//! Written from the product's words, not from the core's code. It must not know how the core is built;
//! it shares with it only the closed lists of inputs and outputs.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{
    Checkin, CloseReason, DatabaseSettings, EndCause, Failure, Fitness, HostSettings, Limit, Opened, PoolKey, Request,
    ServerFacts, Verb,
};

use crate::rules::{Room, jitter};

pub(crate) const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum S {
    Opening { stuck: bool },
    Idle,
    Lent(u64),
    Resetting,
    Fenced { reset: bool },
    Ending(CloseReason),
    Ghost(Option<CloseReason>, bool),
    Gone,
}

#[derive(Clone, Debug)]
pub(crate) struct Conn {
    pub(crate) pool: usize,
    pub(crate) state: S,
    pub(crate) since: u64,
    order: u64,
    pub(crate) opened: u64,
    pub(crate) home: u16,
    pub(crate) flavor: u64,
    pub(crate) pid: Option<u32>,
    look: u64,
    life: u64,
    epoch: u32,
    pub(crate) fences: u32,
    facts: u64,
}

impl Conn {
    pub(crate) fn living(&self) -> bool {
        !matches!(self.state, S::Ending(_) | S::Ghost(..) | S::Gone)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Wait {
    pub(crate) number: u64,
    pub(crate) home: u16,
    pub(crate) flavor: u64,
    pub(crate) since: u64,
    pub(crate) deadline: u64,
    /// Waited while the server was up and the pool not paused.
    up: u64,
    /// Waited in the present regime.
    regime: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Regime {
    Up,
    Paused,
    Down,
}

#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) key: PoolKey,
    pub(crate) rules: DatabaseSettings,
    any: bool,
    pub(crate) retired: bool,
    dropped: bool,
    pub(crate) clients: u32,
    entered: bool,
    pub(crate) paused: bool,
    disabled: bool,
    draining: bool,
    locked: bool,
    pub(crate) failed: bool,
    failures: u32,
    pub(crate) retry_at: u64,
    epoch: u32,
    killed: u32,
    skipped: u32,
    pub(crate) queue: Vec<Wait>,
    regime: Regime,
    pub(crate) spell: Option<(u64, Room, u64, u64)>,
    empty_since: u64,
    pub(crate) books: Books,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) granted: u64,
    pub(crate) granted_after_wait: u64,
    pub(crate) refused: [u64; 16],
    pub(crate) abandoned: u64,
    pub(crate) wait_nanos: [u64; 16],
    pub(crate) lent_nanos: u64,
    pub(crate) leases: u64,
    pub(crate) connects: u64,
    pub(crate) connects_failed: u64,
    pub(crate) closed: [u64; 10],
    pub(crate) waits_granted: u64,
    pub(crate) waits_failed: u64,
}

/// What a refusal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct No {
    pub(crate) limit: Limit,
    pub(crate) binding: Limit,
    pub(crate) lent: u32,
    pub(crate) waiting: u32,
    pub(crate) waited: u64,
    pub(crate) longest_held: u64,
    pub(crate) failure: bool,
    pub(crate) no_such: bool,
    pub(crate) stopping: bool,
}

/// Actions and events, with the model's own numbers for connections and tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Out {
    Open(usize, usize, u16),
    Close(usize, u16, CloseReason),
    Forget(usize, u16),
    Reset(usize, u16),
    Grant(u64, usize, u16, u16, u64),
    Refuse(u64, No),
    Made(usize),
    Retired(usize),
    Waiting(usize, Limit, u32, u32),
    Binding(usize, Limit, u32, u32),
    Cleared(usize, u64, u64, u64),
    Connected(usize, usize),
    ConnectFailed(usize),
    Down,
    Up,
    Gone(usize, usize, Option<CloseReason>),
    Ghost(usize, usize),
    Applied,
    Paused(usize, bool),
}

/// What the caller learns at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    Entered(usize),
    Queued(u64),
    Refused(No),
    Cancelled,
    AlreadyGranted(usize),
    Stale,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Learned {
    pub(crate) limit: Limit,
    pub(crate) cap: u32,
    pub(crate) retry_at: u64,
}

/// Whom a shared limit counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    User(String),
    Database(String),
    Host,
}

pub(crate) struct Model {
    pub(crate) settings: HostSettings,
    seed: u64,
    pub(crate) now: u64,
    pub(crate) conns: Vec<Conn>,
    pub(crate) pools: Vec<Pool>,
    tickets: u64,
    order: u64,
    pub(crate) out: Vec<Out>,
    // Pacing.
    pub(crate) allowed: u32,
    successes: u32,
    rounds_failed: u32,
    failed_at: u64,
    pub(crate) not_before: u64,
    pub(crate) down: bool,
    told_down: bool,
    // Facts.
    pub(crate) facts: Option<ServerFacts>,
    facts_seen: u64,
    pub(crate) pg: BTreeMap<Who, u32>,
    pub(crate) learned: BTreeMap<Who, Learned>,
    // Words.
    said: Vec<(Verb, Option<String>)>,
    pub(crate) evicted: u64,
    pub(crate) moved: u64,
}

impl Model {
    pub(crate) fn new(settings: HostSettings, seed: u64) -> Self {
        Self {
            allowed: settings.connects_start.max(1),
            settings,
            seed,
            now: 0,
            conns: vec![],
            pools: vec![],
            tickets: 0,
            order: 0,
            out: vec![],
            successes: 0,
            rounds_failed: 0,
            failed_at: 0,
            not_before: 0,
            down: false,
            told_down: false,
            facts: None,
            facts_seen: 0,
            pg: BTreeMap::new(),
            learned: BTreeMap::new(),
            said: vec![],
            evicted: 0,
            moved: 0,
        }
    }

    // --- Counting, always anew.

    pub(crate) fn count(&self, pool: usize, what: impl Fn(&Conn) -> bool) -> u32 {
        self.conns.iter().filter(|c| c.pool == pool && c.state != S::Gone && what(c)).count() as u32
    }

    pub(crate) fn within(&self, who: &Who, pool: usize) -> bool {
        let key = &self.pools[pool].key;
        match who {
            Who::User(user) => *user == key.user,
            Who::Database(database) => *database == key.database,
            Who::Host => true,
        }
    }

    pub(crate) fn count_of(&self, who: &Who, what: impl Fn(&Conn) -> bool) -> u32 {
        self.conns.iter().filter(|c| c.state != S::Gone && self.within(who, c.pool) && what(c)).count() as u32
    }

    pub(crate) fn circles(&self, pool: usize) -> [Who; 3] {
        let key = &self.pools[pool].key;
        [Who::User(key.user.clone()), Who::Database(key.database.clone()), Who::Host]
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.conns.iter().filter(|c| c.state == S::Opening { stuck: false }).count() as u32
    }

    pub(crate) fn shut(&self, pool: usize) -> bool {
        let p = &self.pools[pool];
        p.dropped || p.draining || p.disabled || p.rules.disabled || p.locked
    }

    pub(crate) fn lends(&self, pool: usize) -> bool {
        !self.pools[pool].paused && !self.shut(pool)
    }

    pub(crate) fn coming(&self, pool: usize) -> u32 {
        self.count(pool, |c| matches!(c.state, S::Opening { .. } | S::Resetting))
    }

    pub(crate) fn want(&self, pool: usize) -> u32 {
        let p = &self.pools[pool];
        if p.retired || !self.lends(pool) {
            return 0;
        }
        let kept = if p.entered { p.rules.min_size.saturating_sub(self.count(pool, Conn::living)) } else { 0 };
        kept.max((p.queue.len() as u32).saturating_sub(self.coming(pool)))
    }

    // --- Time.

    /// Time passes: waits and leases grow.
    fn pass(&mut self, now: u64) {
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

    fn follow_regimes(&mut self) {
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
    fn patience(&self, pool: usize, wait: &Wait) -> (u64, u64) {
        let (p, nanos) = (&self.pools[pool], |d: Duration| d.as_nanos() as u64);
        let (all, used) = match p.regime {
            Regime::Up => (nanos(p.rules.max_wait), wait.up),
            Regime::Paused => (nanos(p.rules.pause_wait), wait.regime),
            Regime::Down => (nanos(p.rules.down_wait), wait.regime),
        };
        (all.saturating_sub(used), all)
    }

    fn lifetime_end(&self, c: &Conn) -> u64 {
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
                _ => {}
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

    fn empty(&self, pool: usize) -> bool {
        let p = &self.pools[pool];
        p.clients == 0 && p.queue.is_empty() && self.count(pool, |_| true) == 0
    }

    fn retire(&mut self, pool: usize) {
        self.pools[pool].retired = true;
        self.out.push(Out::Retired(pool));
        for who in self.circles(pool) {
            if who != Who::Host && !self.scope_lives(&who) {
                self.pg.remove(&who);
                self.learned.remove(&who);
            }
        }
    }

    fn scope_lives(&self, who: &Who) -> bool {
        (0..self.pools.len()).any(|pool| !self.pools[pool].retired && self.within(who, pool))
    }

    // --- Clients.

    fn rules_of(&self, key: &PoolKey) -> Option<(DatabaseSettings, bool)> {
        let own = self.settings.databases.get(&key.database).cloned();
        let any = own.is_none();
        let mut rules = own.or_else(|| self.settings.any.clone())?;
        if let Some(user) = self.settings.users.get(&key.user) {
            rules.size = user.size.unwrap_or(rules.size);
        }
        rules.min_size = rules.min_size.min(rules.size);
        Some((rules, any))
    }

    fn word(&self, database: &str, set: Verb, unset: Verb) -> bool {
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

    fn make(&mut self, key: PoolKey, rules: DatabaseSettings, any: bool) -> usize {
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

    fn paused_word(&self, database: &str) -> bool {
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

    fn turn_away(&mut self, pool: usize, no: No) -> Told {
        let p = &mut self.pools[pool];
        p.books.refused[no.binding.index()] += 1;
        p.books.waits_failed += 1;
        if let Some(spell) = &mut p.spell {
            spell.3 += 1;
        }
        Told::Refused(no)
    }

    /// Stands for "nobody is served": the refusal's flags say why.
    fn shut_limit(&self, pool: usize) -> Limit {
        let p = &self.pools[pool];
        if p.locked && !(p.dropped || p.draining || p.disabled || p.rules.disabled) {
            Limit::Breaker
        } else {
            Limit::MaxClients
        }
    }

    /// A refusal; `MaxClients` stands for a stopping or dropped pool, `PoolSize` never comes in.
    fn no(&self, pool: usize, limit: Limit, waited: u64) -> No {
        let p = &self.pools[pool];
        let bound = p.spell.map_or_else(|| self.verdict(pool).limit, |spell| spell.1.limit);
        let (limit, binding) = match limit {
            Limit::MaxClients => (Limit::WaitTime, Limit::WaitTime),
            Limit::Breaker => (Limit::Breaker, Limit::Breaker),
            Limit::WaitTime if bound == Limit::Breaker => (Limit::Breaker, bound),
            other => (other, bound),
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
            failure: (binding == Limit::Breaker || self.down) && (p.failed || self.down),
            no_such: stopped && p.dropped,
            stopping: stopped && !p.dropped,
        }
    }

    fn refuse(&mut self, pool: usize, at: usize, limit: Limit) {
        let wait = self.pools[pool].queue[at].clone();
        let no = self.no(pool, limit, self.now - wait.since);
        self.turn_away(pool, no);
        self.unqueue(pool, at);
        self.out.push(Out::Refuse(wait.number, no));
    }

    fn unqueue(&mut self, pool: usize, at: usize) -> Wait {
        let p = &mut self.pools[pool];
        if at == 0 {
            p.skipped = 0;
        }
        p.queue.remove(at)
    }

    pub(crate) fn cancel(&mut self, ticket: u64) -> Told {
        for pool in 0..self.pools.len() {
            if let Some(at) = self.pools[pool].queue.iter().position(|wait| wait.number == ticket) {
                self.unqueue(pool, at);
                self.pools[pool].books.abandoned += 1;
                self.pools[pool].books.waits_failed += 1;
                return Told::Cancelled;
            }
        }
        match self.conns.iter().position(|c| c.state == S::Lent(ticket)) {
            Some(at) => Told::AlreadyGranted(at),
            None => Told::Stale,
        }
    }

    // --- Connections.

    fn set(&mut self, at: usize, state: S) {
        if matches!(self.conns[at].state, S::Lent(_)) {
            self.pools[self.conns[at].pool].books.leases += 1;
        }
        self.order += 1;
        let c = &mut self.conns[at];
        (c.state, c.since, c.order) = (state, self.now, self.order);
    }

    fn pick(&self, pool: usize, home: u16, flavor: u64) -> Option<usize> {
        let mut idle: Vec<usize> = (0..self.conns.len())
            .filter(|&at| self.conns[at].pool == pool && self.conns[at].state == S::Idle)
            .collect();
        idle.sort_by_key(|&at| (self.conns[at].home, std::cmp::Reverse(self.conns[at].order)));
        let (own, others): (Vec<usize>, Vec<usize>) = idle.into_iter().partition(|&at| self.conns[at].home == home);
        let equal = |&&at: &&usize| self.conns[at].flavor == flavor;
        let best = own.iter().take(8).find(equal).or_else(|| others.iter().take(8).find(equal));
        best.or(own.first()).or(others.first()).copied()
    }

    fn lend(&mut self, at: usize, ticket: u64, to: u16, waited: Option<u64>) {
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

    fn choose(&mut self, pool: usize, home: u16) -> Option<usize> {
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

    fn must_leave(&self, at: usize) -> Option<CloseReason> {
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

    fn over(&self, who: &Who) -> bool {
        self.max(who).is_some_and(|max| self.count_of(who, Conn::living) > max)
    }

    fn place(&mut self, at: usize, reset: bool) {
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

    fn close(&mut self, at: usize, reason: CloseReason) {
        self.out.push(Out::Close(at, self.conns[at].home, reason));
        self.pools[self.conns[at].pool].books.closed[reason as usize] += 1;
        self.set(at, S::Ending(reason));
    }

    fn ghost(&mut self, at: usize, reason: Option<CloseReason>, closed: bool) {
        self.set(at, S::Ghost(reason, closed));
        self.out.push(Out::Ghost(self.conns[at].pool, at));
    }

    fn gone(&mut self, at: usize, reason: Option<CloseReason>) {
        self.set(at, S::Gone);
        self.out.push(Out::Gone(self.conns[at].pool, at, reason));
    }

    fn lay(&mut self, at: usize, reason: Option<CloseReason>, closed: bool) {
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

    // --- Connects.

    fn open(&mut self, pool: usize) {
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

    fn answered(&mut self) {
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
                    _ => host,
                };
                let cap = self.count_of(&who, |c| !matches!(c.state, S::Opening { .. }));
                self.learned.insert(who, Learned { limit, cap, retry_at: now + 10_000_000_000 });
            }
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

    fn back_off(&mut self, failures: u32) -> u64 {
        let (first, most) = self.settings.backoff;
        let most = (first.as_nanos() << failures.min(60)).min(most.as_nanos());
        jitter(&mut self.seed, most as u64)
    }

    fn tell_server(&mut self) {
        if self.down != self.told_down {
            self.told_down = self.down;
            self.out.push(if self.down { Out::Down } else { Out::Up });
        }
        self.follow_regimes();
    }

    // --- Facts, settings, words.

    pub(crate) fn learn(&mut self, facts: ServerFacts) -> Told {
        self.facts_seen += 1;
        let restarted = self.facts.as_ref().is_some_and(|old| old.start_time != facts.start_time);
        if restarted {
            self.learned.clear();
        }
        self.pg.clear();
        if facts.max_connections > 0 {
            let free = facts.max_connections.saturating_sub(facts.reserved).saturating_sub(facts.others);
            self.pg.insert(Who::Host, free);
        }
        let open = |c: &Conn| !matches!(c.state, S::Opening { .. });
        for (name, limit, backends) in &facts.roles {
            let who = Who::User(name.clone());
            if self.scope_lives(&who) {
                let others = backends.saturating_sub(self.count_of(&who, open));
                self.pg.insert(who, limit.saturating_sub(others));
            }
        }
        for (name, limit, backends) in &facts.databases {
            let who = Who::Database(name.clone());
            if self.scope_lives(&who) {
                let others = backends.saturating_sub(self.count_of(&who, open));
                self.pg.insert(who, limit.saturating_sub(others));
            }
        }
        for at in 0..self.conns.len() {
            if let S::Ghost(reason, closed) = self.conns[at].state {
                let missing = self.conns[at].pid.is_some_and(|pid| !facts.pids.contains(&pid));
                if self.facts_seen >= self.conns[at].facts + 2 && (restarted || missing) {
                    self.lay(at, reason, closed);
                }
            }
        }
        self.facts = Some(facts);
        Told::Done
    }

    pub(crate) fn apply(&mut self, settings: HostSettings) -> Told {
        self.settings = settings;
        let most = self.settings.connects_max.max(self.settings.connects_start).max(1);
        self.allowed = self.allowed.clamp(self.settings.connects_start.clamp(1, most), most);
        for pool in 0..self.pools.len() {
            if self.pools[pool].retired {
                continue;
            }
            let rules = self.rules_of(&self.pools[pool].key);
            let p = &mut self.pools[pool];
            p.dropped = rules.is_none();
            if let Some((rules, any)) = rules {
                (p.rules, p.any) = (rules, any);
            }
            (p.locked, p.retry_at) = (false, 0);
        }
        for c in self.conns.iter_mut().filter(|c| c.state == S::Idle) {
            let idle = self.pools[c.pool].rules.idle_timeout;
            c.look = if idle.is_zero() { NEVER } else { c.since + idle.as_nanos() as u64 };
        }
        self.out.push(Out::Applied);
        Told::Done
    }

    pub(crate) fn admin(&mut self, verb: Verb, name: Option<String>) -> Told {
        let here: Vec<usize> = (0..self.pools.len())
            .filter(|&at| !self.pools[at].retired)
            .filter(|&at| name.as_ref().is_none_or(|name| *name == self.pools[at].key.database))
            .collect();
        let known = |name: &String| self.settings.any.is_some() || self.settings.databases.contains_key(name);
        if here.is_empty() && !name.as_ref().is_none_or(known) {
            return Told::Stale;
        }
        // The last word of a kind counts: an equal one before it says nothing.
        let word = (verb, name);
        self.said.retain(|said| *said != word);
        self.said.push(word);
        if verb == Verb::Reconnect {
            self.not_before = 0;
        }
        for at in here {
            let database = self.pools[at].key.database.clone();
            let paused = self.paused_word(&database);
            let disabled = self.word(&database, Verb::Disable, Verb::Enable);
            let draining = self.word(&database, Verb::Drain, Verb::Drain);
            let p = &mut self.pools[at];
            if matches!(verb, Verb::Reconnect | Verb::Kill) {
                p.epoch += 1;
            }
            if verb == Verb::Reconnect {
                (p.locked, p.retry_at) = (false, 0);
            }
            if verb == Verb::Kill {
                p.killed = p.epoch;
            }
            if paused != p.paused {
                self.out.push(Out::Paused(at, paused));
            }
            (p.paused, p.disabled, p.draining) = (paused, disabled, draining);
        }
        self.follow_regimes();
        Told::Done
    }

    // --- What follows.

    pub(crate) fn settle(&mut self) {
        for pool in 0..self.pools.len() {
            if !self.pools[pool].retired {
                self.chores(pool);
            }
        }
        self.trim();
        for pool in 0..self.pools.len() {
            let empty = self.empty(pool);
            let p = &mut self.pools[pool];
            p.empty_since = if empty { p.empty_since.min(self.now) } else { NEVER };
            if empty && p.dropped && !p.retired {
                self.retire(pool);
            }
        }
        self.serve();
        self.evict();
        self.bind();
    }

    fn chores(&mut self, pool: usize) {
        while self.shut(pool) && !self.pools[pool].queue.is_empty() {
            self.refuse(pool, 0, self.shut_limit(pool));
        }
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
    }

    fn oldest_idle(&self, pool: usize) -> Option<usize> {
        let idle = (0..self.conns.len()).filter(|&at| self.conns[at].pool == pool && self.conns[at].state == S::Idle);
        idle.min_by_key(|&at| self.conns[at].order)
    }

    fn everybody(&self) -> Vec<Who> {
        let mut all: Vec<Who> = (0..self.pools.len()).flat_map(|pool| self.circles(pool)).collect();
        all.sort();
        all.dedup();
        all
    }

    fn trim(&mut self) {
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

    fn seniority(&self, pool: usize) -> (u64, u64, usize) {
        match self.pools[pool].queue.get(self.coming(pool) as usize) {
            Some(wait) => (wait.since, wait.number, pool),
            None => (NEVER, u64::MAX, pool),
        }
    }

    pub(crate) fn pacing(&self, taken: u32) -> bool {
        self.now >= self.not_before && self.in_flight() + taken < self.allowed
    }

    fn serve(&mut self) {
        while self.pacing(0) {
            let able = (0..self.pools.len()).filter(|&pool| {
                self.want(pool) > 0 && self.pools[pool].retry_at <= self.now && self.room(pool).left > 0
            });
            let Some(pool) = able.min_by_key(|&pool| self.seniority(pool)) else { break };
            self.open(pool);
        }
    }

    fn evict(&mut self) {
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

    fn bind(&mut self) {
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

fn empty_no(no_such: bool) -> No {
    No {
        limit: Limit::WaitTime,
        binding: Limit::WaitTime,
        lent: 0,
        waiting: 0,
        waited: 0,
        longest_held: 0,
        failure: false,
        no_such,
        stopping: !no_such,
    }
}
