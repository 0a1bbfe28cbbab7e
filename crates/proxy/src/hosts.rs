//! Servers come, change and go while everything runs.
//!
//! A server's core is made before anybody is sent there, and stays when the server goes: what is lent there ends well, and what was
//! asked of it is still understood. A server that is gone has a plan without pools, so that nothing more is opened, and no watch.

use std::collections::BTreeMap;
use std::sync::Arc;

use poolwarden_switch::pool::{HostId, HostSettings, Input, Verb};

use crate::inner::{Inner, State, Watching, held};
use crate::settings::HostPlan;
use crate::watch;

/// What a reload means for servers that there are or were.
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

/// Puts other plans in the place of those in force, and says what follows from it.
pub(crate) fn replace(state: &mut State, plans: Vec<HostPlan>) -> Turn {
    let new: BTreeMap<HostId, HostPlan> = plans.into_iter().map(|plan| (plan.id, plan)).collect();
    let old = std::mem::take(&mut state.hosts);
    let mut turn = Turn { cores: Vec::new(), moved: Vec::new(), gone: Vec::new(), watch: Vec::new() };
    for (id, plan) in &new {
        let before = old.get(id);
        let known = before.or_else(|| state.gone.get(id));
        if known.is_some_and(|known| known.address != plan.address) {
            turn.moved.push(*id);
        }
        if before.is_none_or(|before| (&before.address, &before.watch) != (&plan.address, &plan.watch)) {
            turn.watch.push(*id);
        }
        turn.cores.push((*id, plan.core.clone()));
    }
    for (id, plan) in old.into_iter().filter(|(id, _)| !new.contains_key(id)) {
        let core = HostSettings { databases: BTreeMap::new(), any: None, ..plan.core };
        turn.cores.push((id, core.clone()));
        turn.gone.push(id);
        state.gone.insert(id, HostPlan { core, watch: None, ..plan });
    }
    state.gone.retain(|id, _| !new.contains_key(id));
    state.hosts = new;
    turn
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
