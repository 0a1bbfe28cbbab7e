//! Servers come, change and go while everything runs.
//!
//! A server's core is made before anybody is sent there, and stays when the server goes: what is lent there ends well, and what was
//! asked of it is still understood. A server that is gone has a plan without pools, so that nothing more is opened, and no watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use poolwarden_switch::pool::{HostId, HostSettings, Input, Verb};

use crate::inner::{Inner, Watching, held};
use crate::settings::HostPlan;
use crate::watch;

/// What a reload means for servers that there are or were.
#[derive(Default)]
pub(crate) struct Turn {
    /// What each core obeys from now on, those of servers that go included.
    cores: Vec<(HostId, HostSettings)>,
    /// They stand elsewhere now.
    moved: Vec<HostId>,
    /// They are no more.
    gone: Vec<HostId>,
    /// Their watch connections are of no use any more, or there is none yet.
    watch: Vec<HostId>,
}

/// Makes the cores of servers that were never there. To be called before the directory sends anybody to them.
pub(crate) fn add(inner: &Inner, plans: &[HostPlan]) {
    for plan in plans {
        let is_new = inner.shared.add(plan.id, plan.core.clone());
        if is_new && *inner.closing.borrow() {
            inner.drive(plan.id, Input::Admin(Verb::Drain, None)); // it came while everything ends
        }
    }
}

/// How servers are reached.
#[derive(Default)]
pub(crate) struct Servers {
    /// Those of the configuration.
    pub(crate) there: BTreeMap<HostId, HostPlan>,
    /// Those that are in it no more: what is still lent there may have to be cancelled.
    gone: BTreeMap<HostId, HostPlan>,
}

impl Servers {
    pub(crate) fn new(plans: Vec<HostPlan>) -> Self {
        Self { there: plans.into_iter().map(|plan| (plan.id, plan)).collect(), gone: BTreeMap::new() }
    }

    /// How a server is reached, whether it is there or gone.
    pub(crate) fn plan(&self, host: HostId) -> Option<&HostPlan> {
        self.there.get(&host).or_else(|| self.gone.get(&host))
    }

    /// Puts other plans in the place of those in force, and says what follows from it.
    pub(crate) fn replace(&mut self, plans: Vec<HostPlan>) -> Turn {
        let old = std::mem::replace(&mut self.there, plans.into_iter().map(|plan| (plan.id, plan)).collect());
        let mut turn = Turn::default();
        for (id, plan) in &self.there {
            let before = old.get(id);
            let known = before.or_else(|| self.gone.get(id));
            if known.is_some_and(|known| known.address != plan.address) {
                turn.moved.push(*id);
            }
            if before.is_none_or(|before| (&before.address, &before.watch) != (&plan.address, &plan.watch)) {
                turn.watch.push(*id);
            }
            turn.cores.push((*id, plan.core.clone()));
        }
        for (id, plan) in old.into_iter().filter(|(id, _)| !self.there.contains_key(id)) {
            let core = HostSettings { databases: BTreeMap::new(), any: None, ..plan.core };
            turn.cores.push((id, core.clone()));
            turn.gone.push(id);
            self.gone.insert(id, HostPlan { core, watch: None, ..plan });
        }
        self.gone.retain(|id, _| !self.there.contains_key(id));
        turn
    }
}

impl Turn {
    /// What was heard from servers that are no more, or of those that stood where others stand now, counts no more.
    pub(crate) fn forget(&self, inner: &Inner) {
        self.moved.iter().chain(&self.gone).for_each(|host| inner.auth.forget(*host));
    }

    /// Cores obey, connections to where a server was are replaced, and watch connections end and begin.
    pub(crate) fn carry_out(self, inner: &Arc<Inner>) {
        for (host, core) in self.cores {
            inner.drive(host, Input::Apply(Box::new(core)));
        }
        for host in self.moved {
            inner.drive(host, Input::Admin(Verb::Reconnect, None));
        }
        for host in self.gone {
            held(&inner.watching).remove(&host);
        }
        self.watch.into_iter().for_each(|host| watch(inner, host));
    }
}

/// Begins to watch a server; what an earlier watch connection told is forgotten.
pub(crate) fn watch(inner: &Arc<Inner>, host: HostId) {
    let told = Arc::default();
    let task = tokio::spawn(watch::run(inner.clone(), host, Arc::clone(&told)));
    held(&inner.watching).insert(host, Watching { told, task: task.abort_handle() });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use poolwarden_switch::pool::DatabaseSettings;

    use super::*;
    use crate::address::Address;
    use crate::settings::WatchLogin;

    fn plan(id: u16, port: u16) -> HostPlan {
        let mut core = HostSettings::default();
        core.databases.insert("app".to_owned(), DatabaseSettings::default());
        let watch = WatchLogin { user: "watch".to_owned(), password: None, database: "app".to_owned() };
        HostPlan {
            id: HostId(id),
            name: format!("server-{id}"),
            address: Address::Tcp { host: "db".to_owned(), port },
            core,
            connect_timeout: Duration::from_secs(1),
            tcp_user_timeout: None,
            keepalive: None,
            tls: Arc::default(),
            minor: 2,
            watch: Some(watch),
        }
    }

    fn ids(of: &[u16]) -> Vec<HostId> {
        of.iter().copied().map(HostId).collect()
    }

    #[test]
    fn who_stays_comes_goes_moves_and_comes_back_is_told_apart() {
        let mut servers = Servers::new(vec![plan(0, 5432), plan(1, 5433)]);
        let turn = servers.replace(vec![plan(2, 5434), plan(0, 5432)]);
        assert_eq!((turn.moved, turn.gone, turn.watch), (ids(&[]), ids(&[1]), ids(&[2])));
        let pools: Vec<(u16, usize)> = turn.cores.iter().map(|(id, core)| (id.0, core.databases.len())).collect();
        assert_eq!(pools, [(0, 1), (2, 1), (1, 0)], "whoever goes has no pools any more");
        let gone = servers.plan(HostId(1)).expect("its address is still known");
        assert!(gone.address == plan(1, 5433).address && gone.watch.is_none() && gone.core.databases.is_empty());

        let turn = servers.replace(vec![plan(0, 5432)]);
        assert_eq!((turn.gone, turn.cores.len()), (ids(&[2]), 2), "who has gone before goes once");
        let turn = servers.replace(vec![plan(0, 9), plan(1, 5433), plan(2, 9)]);
        assert_eq!((turn.moved, turn.gone, turn.watch), (ids(&[0, 2]), ids(&[]), ids(&[0, 1, 2])));
        assert!(servers.gone.is_empty());

        let other = WatchLogin { user: "other".to_owned(), password: None, database: "app".to_owned() };
        let rewatched = HostPlan { watch: Some(other), ..plan(1, 5433) };
        let turn = servers.replace(vec![plan(0, 9), rewatched, plan(2, 9)]);
        assert_eq!((turn.moved, turn.watch), (ids(&[]), ids(&[1])));
    }
}
