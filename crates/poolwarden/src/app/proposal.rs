//! What a change of the configuration would do: read and judged like a reload, rehearsed on a copy of each core, and never put in
//! force.

mod predict;

use std::sync::Arc;

use poolwarden_config::{Change, diff};
use poolwarden_console::http::{PlanOrder, Planned, PlannedChange, Refused as Untaken, RefusedKind};

use super::change::{self, Found, Outlook, Wanted, outlook};
use super::reload::{self, Refused};
use super::running::{Running, held};

/// What is in force stays in force.
pub(super) async fn plan(running: &Arc<Running>, order: PlanOrder) -> Result<Planned, Untaken> {
    let Some(proxy) = running.proxy() else {
        let (error, fix) = ("poolwarden is starting".to_owned(), "ask again when /readyz says so".to_owned());
        return Err(Untaken { kind: RefusedKind::Unready, error, fix });
    };
    let now = running.configs().now;
    let found = read(running, order).await.map_err(|refused| untaken(&refused, "plan again"))?;
    let after_text = found.text();
    let Found { read, .. } = found;
    let changes = diff(&now, &read.config);
    let before = reload::snapshots(proxy, &now);
    let after = read.reload.hosts.iter().map(|host| (host.id, proxy.rehearse(host))).collect();
    let Outlook { effect, pools, mut notes } = outlook((&now, &read.config), &changes, &before, &after);
    notes.extend(read.remarks);
    let waits = match running.recorded.dir() {
        // The history of a pgbouncer.ini is told as it is written there, which is not what a simulation reads.
        Some(dir) if now.pgbouncer.is_none() && now.recording.enabled => {
            let before_text = running.in_force().1.text();
            predict::predict(dir, (&before_text, &after_text)).await.unwrap_or_else(|why| {
                notes.push(format!("no prediction of waits: {why}"));
                None
            })
        }
        Some(_) | None => None,
    };
    Ok(Planned { changes: changes.into_iter().map(planned).collect(), pools, effect, waits, notes })
}

async fn read(running: &Arc<Running>, order: PlanOrder) -> Result<Found, Refused> {
    let wanted = match order.text {
        Some(text) => Wanted::Text(text),
        None => Wanted::Set(order.set.iter().map(|set| change::edit(set)).collect::<Result<_, _>>()?),
    };
    let now = held(&running.standing).basis();
    change::read(running, wanted, now).await
}

/// As it is answered over HTTP.
pub(super) fn untaken(refused: &Refused, then: &str) -> Untaken {
    let (error, fix) = refused.told();
    Untaken { kind: RefusedKind::Idle, error, fix: fix.unwrap_or_else(|| format!("put it right and {then}")) }
}

fn planned(change: Change) -> PlannedChange {
    let said = |text: String| (!text.is_empty()).then_some(text);
    PlannedChange { key: change.key, from: said(change.from), to: said(change.to), live: change.live }
}
