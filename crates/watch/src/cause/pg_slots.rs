//! `pg_slots`: PostgreSQL has no connection left for us, or next to none. A larger pool makes it worse.

use std::collections::BTreeMap;

use poolwarden_pool::Limit;

use super::Judged;
use crate::case::Case;
use crate::share::part;
use crate::why::Evidence;
use crate::{Activity, remedy};

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let mut evidence = Vec::new();
    if let Some(of) = case.limit(Limit::PgSlots).filter(|of| of.size.is_some()) {
        let size = of.size.unwrap_or_default();
        let part = part(case, Limit::PgSlots);
        evidence.push(Evidence::new(
            format!("PostgreSQL leaves us {size} connections, {} are used", of.used),
            [("used", f64::from(of.used)), ("size", f64::from(size)), ("wait_share", part)],
        ));
    }
    match &case.host.activity {
        Some(activity) => evidence.push(slots(activity)),
        None if evidence.is_empty() => {
            let why = case.host.watch_error.as_deref().unwrap_or("the watch connection has not answered yet");
            return Judged::not_testable(format!("PostgreSQL's slots are not seen: {why}"));
        }
        None => {}
    }
    Judged::by(share, evidence, || {
        let others = case.host.activity.as_ref().and_then(largest_other);
        let host = &case.host.name;
        others.map_or_else(
            || remedy::next_step(Limit::PgSlots, host, &case.pool.key),
            |(who, count)| {
                format!("have {who} use fewer of its {count} connections, or give it a pool of its own here")
            },
        )
    })
}

fn slots(activity: &Activity) -> Evidence {
    let own = activity.backends.iter().filter(|backend| backend.own).count();
    let all = activity.backends.len() + activity.unlisted as usize;
    let mut text = format!(
        "PostgreSQL: {all} of {} connections ({} reserved), {own} of them ours",
        activity.max_connections, activity.reserved
    );
    if let Some((who, count)) = largest_other(activity) {
        text.push_str(&format!(", {count} of {who}"));
    }
    Evidence::new(
        text,
        [
            ("backends", all as f64),
            ("max_connections", f64::from(activity.max_connections)),
            ("reserved", f64::from(activity.reserved)),
            ("own", own as f64),
        ],
    )
}

/// The application with most backends that are not ours.
fn largest_other(activity: &Activity) -> Option<(String, usize)> {
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    for backend in activity.backends.iter().filter(|backend| !backend.own) {
        let name = if backend.application.is_empty() { &backend.role } else { &backend.application };
        *others.entry(name).or_default() += 1;
    }
    let (name, count) = others.into_iter().max_by_key(|(_, count)| *count)?;
    Some((format!("\"{name}\""), count))
}
