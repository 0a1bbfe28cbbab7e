//! What PostgreSQL tells: the budget, its own limits, and which ghosts are gone.
//!
//! Role and database names are taken to be those that clients use; where a pool maps them, the limit is not seen.

use crate::host::Host;
use crate::slot::State;
use crate::{Handled, PoolId, ServerFacts};

/// Connections that PostgreSQL must keep for others under `auto`: the watch connection's and one to look in by hand.
const KEPT_FREE: u32 = 2;

impl Host {
    /// Newer facts replace the older ones.
    pub(crate) fn learn(&mut self, facts: ServerFacts) -> Handled {
        self.facts_seen += 1;
        let restarted = self.facts.as_ref().is_some_and(|old| old.start_time != facts.start_time);
        if restarted {
            self.slots.scopes.all_mut().for_each(|scope| scope.learned = None);
        }
        self.share_limits(&facts);
        self.facts = Some(facts);
        self.sweep = Some(restarted);
        self.size_scopes();
        (self.trim, self.recount) = (true, true);
        Handled::Done
    }

    /// Sets the sizes of all scopes from settings and facts.
    pub(crate) fn size_scopes(&mut self) {
        let budget = self.budget();
        let scopes = &mut self.slots.scopes;
        scopes.host.max = Some(budget);
        for (name, &index) in &scopes.users.by_name {
            let settings = self.settings.users.get(name);
            let own = settings.and_then(|user| user.max_connections);
            scopes.users.list[index as usize].max = own.or(self.settings.max_user_connections);
        }
        for (name, &index) in &scopes.databases.by_name {
            let settings = self.settings.databases.get(name).or(self.settings.any.as_ref());
            scopes.databases.list[index as usize].max = settings.and_then(|database| database.max_connections);
        }
    }

    /// Our shares of PostgreSQL's own limits, from facts that have just come.
    fn share_limits(&mut self, facts: &ServerFacts) {
        let scopes = &mut self.slots.scopes;
        scopes.host.pg = (facts.max_connections > 0)
            .then(|| facts.max_connections.saturating_sub(facts.reserved).saturating_sub(facts.others));
        for (family, limits) in [(&mut scopes.users, &facts.roles), (&mut scopes.databases, &facts.databases)] {
            for (name, &index) in &family.by_name {
                let scope = &mut family.list[index as usize];
                scope.pg = share(limits, name, scope.used - scope.opening);
            }
        }
    }

    /// The same for the user and the database of a pool just made, where none of ours were connected when the facts came.
    pub(crate) fn share_for(&mut self, id: PoolId) {
        let Some(facts) = &self.facts else { return };
        let (pool, scopes) = (&self.pools[id], &mut self.slots.scopes);
        let user = &mut scopes.users.list[pool.user as usize];
        if user.pools.len() == 1 {
            user.pg = share(&facts.roles, &pool.key.user, 0);
        }
        let database = &mut scopes.databases.list[pool.database as usize];
        if database.pools.len() == 1 {
            database.pg = share(&facts.databases, &pool.key.database, 0);
        }
    }

    /// The host budget now in force; at least one, or nobody would ever be served.
    pub(crate) fn budget(&self) -> u32 {
        let auto = |facts: &ServerFacts| {
            let free = facts.max_connections.saturating_sub(facts.reserved).saturating_sub(facts.others);
            (free.saturating_sub(KEPT_FREE) / self.settings.instances.max(1)).max(1)
        };
        let known = self.facts.as_ref().filter(|facts| facts.max_connections > 0);
        self.settings.max_connections.unwrap_or_else(|| known.map_or(self.settings.unknown_budget, auto))
    }

    /// Lets go of the ghosts that the newest facts prove gone.
    ///
    /// Facts are asked for one after the other, so the ones that came second after a connect ended were taken after it:
    /// only those may speak about that connection.
    pub(crate) fn sweep_ghosts(&mut self) {
        let Some(restarted) = self.sweep else { return };
        for index in 0..self.slots.table.len() as u32 {
            let slot = &self.slots.table[index as usize];
            let State::Ghost { reason, closed } = slot.state else { continue };
            let missing = |pid: u32| self.facts.as_ref().is_some_and(|facts| facts.pids.binary_search(&pid).is_err());
            let informed = self.facts_seen >= slot.facts + 2;
            if informed && (restarted || slot.pid.is_some_and(missing)) {
                if self.turn.spent() {
                    return;
                }
                self.lay(index, reason, closed);
            }
        }
        self.sweep = None;
    }
}

/// Our share of the limit that PostgreSQL itself puts on a name: what others hold is taken off.
fn share(limits: &[(String, u32, u32)], name: &str, ours: u32) -> Option<u32> {
    let (_, limit, backends) = limits.iter().find(|(limited, _, _)| limited == name)?;
    Some(limit.saturating_sub(backends.saturating_sub(ours)))
}
