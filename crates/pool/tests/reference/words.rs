//! Facts, settings, operators' words.

use poolwarden_pool::{HostSettings, ServerFacts, Verb};

use super::model::{Conn, Model, NEVER, Out, S, Told, Who};

impl Model {
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

    pub(crate) fn renew(&mut self, user: &str) -> Told {
        let mut told = Told::Stale;
        for p in self.pools.iter_mut().filter(|pool| !pool.retired && pool.key.user == user) {
            p.epoch += 1;
            (p.locked, p.retry_at) = (false, 0);
            told = Told::Done;
        }
        if told == Told::Done {
            self.not_before = 0;
            self.follow_regimes();
        }
        told
    }
}
