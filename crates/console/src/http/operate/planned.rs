//! A plan as JSON.

use poolwarden_watch::{Ceiling, Moved};
use serde_json::{Value, json};

use super::{Planned, PlannedChange, PlannedPool, PlannedWait};

/// Waits are predicted from recordings: without one they are null.
pub(super) fn json(of: &Planned) -> Value {
    // of several pools the one that most wait for speaks for all; each stands in the list
    let first = of.pools.iter().max_by_key(|pool| (pool.moved.waiting, pool.moved.is_effective()));
    let binding = |side: fn(&Moved) -> Option<&Ceiling>| first.and_then(|pool| side(&pool.moved)).map(ceiling);
    json!({
        "schema": 1,
        "changes": of.changes.iter().map(change).collect::<Vec<_>>(),
        "binding_before": binding(|moved| moved.before.as_ref()),
        "binding_after": binding(|moved| moved.after.as_ref()),
        "effect": of.effect,
        "wait_before": of.waits.as_ref().map(|(before, _)| wait(before)),
        "wait_after": of.waits.as_ref().map(|(_, after)| wait(after)),
        "pools": of.pools.iter().map(pool).collect::<Vec<_>>(),
        "notes": of.notes,
    })
}

fn wait(of: &PlannedWait) -> Value {
    json!({
        "pool": of.pool.0,
        "user": of.pool.1,
        "p50": of.p50_ms,
        "p95": of.p95_ms,
        "p99": of.p99_ms,
        "max": of.max_ms,
        "failed_share": of.failed_share,
    })
}

fn change(of: &PlannedChange) -> Value {
    json!({"key": of.key, "from": of.from, "to": of.to, "live": of.live})
}

fn pool(of: &PlannedPool) -> Value {
    let moved = &of.moved;
    json!({
        "pool": moved.pool.database,
        "user": moved.pool.user,
        "server": of.server,
        "waiting": moved.waiting,
        "binding_before": moved.before.as_ref().map(ceiling),
        "binding_after": moved.after.as_ref().map(ceiling),
        "effective": moved.is_effective(),
    })
}

fn ceiling(of: &Ceiling) -> Value {
    json!({"name": of.limit.name(), "setting": of.setting, "size": of.size, "used": of.used, "connections": of.connections})
}
