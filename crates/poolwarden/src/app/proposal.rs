//! What a change of the configuration would do: read and judged like a reload, rehearsed on a copy of each core, and never put in
//! force.

use std::sync::Arc;

use poolwarden_config::{Change, diff};
use poolwarden_console::http::{PlanOrder, Planned, PlannedChange, PlannedPool, Refused as Untaken, RefusedKind};
use poolwarden_pool::{Limit, PoolKey};
use poolwarden_watch::{Ceiling, Moved, moved, raised_in_vain};

use super::edit::Edit;
use super::reload::{self, Read, Refused, Written};
use super::running::{Running, held};
use super::servers;
use crate::discover;

/// The name that faults of a text give it.
const PROPOSED: &str = "the proposed file";

/// What is in force stays in force.
pub(super) async fn plan(running: &Arc<Running>, order: PlanOrder) -> Result<Planned, Untaken> {
    let kind = RefusedKind::Unready;
    let Some(proxy) = running.proxy() else {
        let (error, fix) = ("poolwarden is starting".to_owned(), "ask again when /readyz says so".to_owned());
        return Err(Untaken { kind, error, fix });
    };
    let now = running.configs().now;
    let Read { config, reload, remarks, .. } = read(running, order).await.map_err(untaken)?;
    let changes = diff(&now, &config);
    let (mut pools, mut notes) = (Vec::new(), Vec::new());
    let before = reload::snapshots(proxy, &now);
    for (server, host) in config.servers.iter().zip(&reload.hosts) {
        let Some(before) = before.get(&server.id) else { continue }; // it comes, and has no pools yet
        let after = proxy.rehearse(host);
        notes.extend(raised_in_vain(&server.name, before, &after));
        let all = moved(&server.name, before, &after);
        let is_auto = server.max_connections.is_none();
        notes.extend(all.iter().filter_map(|moved| without_postgres(moved, is_auto)));
        pools.extend(all.into_iter().map(|moved| PlannedPool { server: server.name.clone(), moved }));
    }
    let mut turned = servers::ends(&now, &config, &before);
    turned.extend(servers::begins(&now, &config));
    notes.extend(turned.iter().skip(1).cloned());
    let waiting = changes.iter().filter(|change| !change.live);
    notes.extend(waiting.map(|change| format!("{} waits for a restart of poolwarden", change.key)));
    notes.extend(remarks);
    let effect = turned.into_iter().next().unwrap_or_else(|| effect(&changes, &pools));
    Ok(Planned { changes: changes.into_iter().map(planned).collect(), pools, effect, notes })
}

/// Reads what is proposed as a reload reads the file; reading files and salting passwords belongs on no worker of the runtime.
async fn read(running: &Arc<Running>, order: PlanOrder) -> Result<Read, Refused> {
    let configs = running.configs();
    let file = reload::file(&running.origin, &configs.now)?;
    let mut edits = held(&running.edits).clone();
    for set in &order.set {
        let edit = edit(set)?;
        edits.retain(|earlier| earlier.key != edit.key);
        edits.push(edit);
    }
    let seed = running.seed;
    let read = tokio::task::spawn_blocking(move || {
        let loaded = match (&order.text, &file) {
            (None, file) => reload::load(file, &edits),
            (Some(text), Written::Toml(_)) => discover::parse(PROPOSED, text, file.directory(), &[]),
            (Some(_), Written::Ini(_)) => {
                return Err(Refused::one(
                    "it runs by a pgbouncer.ini: propose single settings with --set, or import the file first",
                ));
            }
        };
        reload::prepare(loaded, file.directory(), &configs.now, &seed)
    });
    read.await.map_err(|_| Refused::one("reading the configuration ended early"))?
}

/// `pools.app.size=40`.
fn edit(set: &str) -> Result<Edit, Refused> {
    let (key, value) =
        set.split_once('=').ok_or_else(|| Refused::one(format!("{set:?}: write it as pools.app.size=40")))?;
    let (key, value) = (key.trim().to_owned(), value.trim());
    let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    Ok(Edit { key, value: inside.unwrap_or(value).to_owned(), quoted: inside.is_some() })
}

fn untaken(refused: Refused) -> Untaken {
    let (error, fix) = refused.told();
    Untaken { kind: RefusedKind::Idle, error, fix: fix.unwrap_or_else(|| "put it right and plan again".to_owned()) }
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

/// Settings that say how many server connections there may be.
const CAPACITY: [&str; 5] = [".size", ".reserve", ".max_connections", ".max_user_connections", ".pool_size"];

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
    if !changes.iter().any(|change| CAPACITY.iter().any(|key| change.key.ends_with(key))) {
        return "no pool can have more or fewer server connections by it".to_owned();
    }
    let awaited = pools.iter().max_by_key(|pool| pool.moved.waiting);
    match awaited.and_then(|pool| Some((&pool.moved.pool, pool.moved.after.as_ref()?))) {
        Some((pool, after)) => format!(
            "no effect: {} binds pool {} ({}) at {} ({})",
            after.limit.name(),
            pool.database,
            pool.user,
            after.size,
            after.setting
        ),
        None => "no pool is there yet that it could move: pools come with their first client".to_owned(),
    }
}

fn connections(of: Option<&Ceiling>) -> String {
    of.map_or_else(|| "unlimited".to_owned(), |of| of.connections.to_string())
}

fn planned(change: Change) -> PlannedChange {
    let said = |text: String| (!text.is_empty()).then_some(text);
    PlannedChange { key: change.key, from: said(change.from), to: said(change.to), live: change.live }
}
