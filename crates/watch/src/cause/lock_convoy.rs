//! `lock_convoy`: most connections wait for a lock that one transaction holds. A larger pool only lengthens the queue behind it.

use super::Judged;
use crate::case::Case;
use crate::say::{percent, quoted, span};
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    if case.host.activity.is_none() {
        let why = case.host.watch_error.as_deref().unwrap_or("the watch connection has not answered yet");
        return Judged::not_testable(format!("PostgreSQL's locks are not seen: {why}"));
    }
    let uses = case.uses();
    let mut evidence = vec![Evidence::new(
        format!(
            "{} of the lent connections wait for locks ({:.1} of {:.1})",
            percent(uses.share(uses.locked)),
            uses.mean(uses.locked),
            uses.mean(uses.lent)
        ),
        [("locked", uses.mean(uses.locked)), ("lent", uses.mean(uses.lent))],
    )];
    let root = case.backends.roots().into_iter().next().filter(|_| share > 0.0);
    if let Some((pid, blocked)) = root {
        evidence.push(described(case, pid, blocked));
    }
    Judged::by(share, evidence, || match root {
        Some((pid, _)) => ending(case, pid),
        None => "see pg_locks for who holds what they wait for, and set lock_timeout".to_owned(),
    })
}

fn described(case: &Case<'_>, pid: u32, blocked: usize) -> Evidence {
    let who = case.backends.backend(pid).map_or_else(String::new, |backend| {
        let age = backend
            .transaction_us
            .map_or_else(String::new, |age| format!(", in a transaction for {}", span(age as f64)));
        format!(" ({} as {}{age})", quoted(&backend.application), backend.role)
    });
    Evidence::new(
        format!("pid {pid}{who} holds what {blocked} others wait for"),
        [("root_pid", f64::from(pid)), ("blocked", blocked as f64)],
    )
}

/// How to end the one at the head of the queue.
fn ending(case: &Case<'_>, pid: u32) -> String {
    let own = case.view.servers.iter().find(|server| server.remote_pid == Some(pid) && server.lease.is_some());
    match own {
        Some(server) => {
            format!("end what blocks: poolwarden terminate {}; then set lock_timeout for such work", server.id)
        }
        None => format!("end what blocks: select pg_terminate_backend({pid}); then set lock_timeout for such work"),
    }
}
