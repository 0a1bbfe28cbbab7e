//! What a change does to the pools that are there, told by two snapshots of each server: before and after, or before and rehearsed.

use std::collections::BTreeMap;

use poolwarden_config::{Change, Config};
use poolwarden_console::http::PlannedPool;
use poolwarden_pool::{HostId, HostSnapshot, Limit, PoolKey};
use poolwarden_watch::{Ceiling, Moved, moved, raised_in_vain};

use super::super::reload::waits;
use super::super::servers;

/// Settings that say how many server connections there may be.
const CAPACITY: [&str; 5] = [".size", ".reserve", ".max_connections", ".max_user_connections", ".pool_size"];

/// What comes of a change.
pub(in crate::app) struct Outlook {
    /// In a sentence.
    pub(in crate::app) effect: String,
    /// Every pool that is there.
    pub(in crate::app) pools: Vec<PlannedPool>,
    /// What is in vain, what needs a restart of PostgreSQL or of poolwarden.
    pub(in crate::app) notes: Vec<String>,
}

/// `changes` lead from `old` to `new`; `before` and `after` are what the cores of their servers know.
pub(in crate::app) fn outlook(
    (old, new): (&Config, &Config),
    changes: &[Change],
    before: &BTreeMap<HostId, HostSnapshot>,
    after: &BTreeMap<HostId, HostSnapshot>,
) -> Outlook {
    let (mut pools, mut notes) = (Vec::new(), Vec::new());
    let mut turned = servers::ends(old, new, before);
    turned.extend(servers::begins(old, new));
    for server in &new.servers {
        // one that comes has no pools yet
        let (Some(before), Some(after)) = (before.get(&server.id), after.get(&server.id)) else { continue };
        notes.extend(raised_in_vain(&server.name, before, after));
        let all = moved(&server.name, before, after);
        let is_auto = server.max_connections.is_none();
        notes.extend(all.iter().filter_map(|moved| without_postgres(moved, is_auto)));
        pools.extend(all.into_iter().map(|moved| PlannedPool { server: server.name.clone(), moved }));
    }
    notes.extend(turned.iter().skip(1).cloned());
    notes.extend(changes.iter().filter(|change| !change.live).map(waits));
    let effect = turned.into_iter().next().unwrap_or_else(|| effect(changes, &pools));
    Outlook { effect, pools, notes }
}

/// More connections than PostgreSQL has slots for: what needs its restart, and the best without one.
fn without_postgres(moved: &Moved, is_auto: bool) -> Option<String> {
    let after = moved.after.as_ref().filter(|after| moved.size > after.connections)?;
    let of_slots = after.limit == Limit::PgSlots || after.limit == Limit::HostBudget && is_auto;
    let PoolKey { database, user } = &moved.pool;
    of_slots.then(|| {
        format!(
            "pool {database} ({user}): {} server connections need a larger max_connections of PostgreSQL, which needs its restart; \
             best without it: pools.{database}.size = {}",
            moved.size, after.connections
        )
    })
}

/// What comes of it, in a sentence.
fn effect(changes: &[Change], pools: &[PlannedPool]) -> String {
    if changes.is_empty() {
        return "no effect: nothing differs from what runs".to_owned();
    }
    let mut moved = pools.iter().filter(|pool| pool.moved.is_effective());
    if let Some(PlannedPool { moved: Moved { pool, before, after, .. }, .. }) = moved.next() {
        let (from, to) = (connections(before.as_ref()), connections(after.as_ref()));
        let then = after.as_ref().map_or_else(String::new, |after| format!(", then {} binds", after.limit.name()));
        let more = match moved.count() {
            0 => String::new(),
            more => format!("; and {more} more of the pools move"),
        };
        return format!(
            "pool {} ({}): {to} server connections instead of {from}{then}{more}",
            pool.database, pool.user
        );
    }
    if !is_about_capacity(changes) {
        return "no pool can have more or fewer server connections by it".to_owned();
    }
    let awaited = pools.iter().max_by_key(|pool| pool.moved.waiting);
    match awaited.and_then(|pool| Some((&pool.moved.pool, pool.moved.after.as_ref()?))) {
        Some((pool, after)) => format!("no effect: {}", bound(pool, after)),
        None => "no pool is there yet that it could move: pools come with their first client".to_owned(),
    }
}

/// Whether any of them says how many server connections there may be.
fn is_about_capacity(changes: &[Change]) -> bool {
    changes.iter().any(|change| CAPACITY.iter().any(|key| change.key.ends_with(key)))
}

/// `user binds pool app (web) at 3 (users.web.max_connections)`.
fn bound(pool: &PoolKey, at: &Ceiling) -> String {
    format!("{} binds pool {} ({}) at {} ({})", at.limit.name(), pool.database, pool.user, at.size, at.setting)
}

fn connections(of: Option<&Ceiling>) -> String {
    of.map_or_else(|| "unlimited".to_owned(), |of| of.connections.to_string())
}
