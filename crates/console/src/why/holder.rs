//! Who holds server connections, one by one: the objects of the JSON and the list that `holders` prints.

use std::fmt::Write;

use poolwarden_watch::why::Holder;
use serde_json::{Value, json};

use super::word::{count, cut, span_us};
use super::{Layout, Texts};
use crate::calendar::rfc3339;

/// All holders, longest first.
#[must_use]
pub fn holders_json(at_ms: u64, holders: &[Holder], texts: Texts) -> Value {
    json!({
        "schema": 1,
        "at": rfc3339(at_ms),
        "holders": holders.iter().map(|of| json(of, texts)).collect::<Vec<_>>(),
        "queries": match texts { Texts::Shown => "shown", Texts::Hidden => "hidden" },
    })
}

pub(super) fn json(of: &Holder, texts: Texts) -> Value {
    let lease = &of.lease;
    json!({
        "conn": of.conn,
        "pool": of.pool,
        "user": of.user,
        "server": of.server,
        "application": lease.application,
        "client": lease.client,
        "addr": lease.addr,
        "port": lease.port,
        "age_ms": lease.held_us / 1_000,
        "state": lease.state.name(),
        "state_ms": lease.state_us / 1_000,
        "idle_in_transaction_ms": lease.idle_in_transaction_us / 1_000,
        "pid": of.pid,
        "blocked_by": of.blocked_by,
        "stuck": of.stuck,
        "route": lease.route,
        "fingerprint": (lease.fingerprint != 0).then(|| format!("{:016x}", lease.fingerprint)),
        "query": query(of, texts),
    })
}

/// The newest statement, for those who may see it.
pub(super) fn query(of: &Holder, texts: Texts) -> Option<&str> {
    match texts {
        Texts::Shown if !of.lease.query.is_empty() => Some(&of.lease.query),
        Texts::Shown | Texts::Hidden => None,
    }
}

/// One line per holder, and the statement on a second one where it is shown; the longest first.
#[must_use]
pub fn holders_text(holders: &[Holder], layout: Layout) -> String {
    if holders.is_empty() {
        return "no server connection is lent\n".to_owned();
    }
    let mut out = String::new();
    let stuck = holders.iter().filter(|of| of.stuck).count() as u64;
    let lent = count(holders.len() as u64, "connection");
    // Writing to a String does not fail, here and below.
    let _ = writeln!(
        out,
        "{lent} lent, {stuck} stuck; `poolwarden cancel CONN` ends what runs on one, `terminate CONN` closes it\n"
    );
    let names = widths(holders);
    let _ = writeln!(
        out,
        "{:>8} {:>8}  {:<names$}  {:>7}  {:<20}  application",
        "conn", "pid", "pool/user", "held", "state"
    );
    for of in holders {
        line(&mut out, of, names, layout);
    }
    out
}

/// Width of the longest name, within reason.
fn widths(holders: &[Holder]) -> usize {
    const MOST: usize = 28; // leaves the rest of an 80 column line to its neighbours
    holders.iter().map(|of| name(of).chars().count()).max().unwrap_or(0).clamp("pool/user".len(), MOST)
}

fn name(of: &Holder) -> String {
    format!("{}/{}", of.pool, of.user)
}

fn line(out: &mut String, of: &Holder, names: usize, layout: Layout) {
    let lease = &of.lease;
    let pid = of.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    let state = format!("{} {}", said(of), span_us(lease.state_us as f64));
    let application = if lease.application.is_empty() { "(no name)" } else { &lease.application };
    let head = format!(
        "{:>8} {pid:>8}  {:<names$}  {:>7}  {state:<20}  {application} at {}:{}",
        of.conn,
        cut(&name(of), names),
        span_us(lease.held_us as f64),
        lease.addr,
        lease.port,
    );
    let _ = writeln!(out, "{}", cut(&head, layout.width));
    if let Some(query) = query(of, layout.texts) {
        let _ = writeln!(out, "{:>17}  {}", "", cut(query, layout.width.saturating_sub(19)));
    }
}

/// What goes on, in few letters.
pub(super) fn said(of: &Holder) -> String {
    use poolwarden_watch::LeaseState::{Active, Idle, IdleInTransaction};
    let state = match of.lease.state {
        Idle => "idle",
        Active => "runs",
        IdleInTransaction => "idle in tx",
    };
    match (of.blocked_by.first(), of.stuck) {
        (Some(pid), _) => format!("blocked by {pid}"),
        (None, true) => format!("stuck, {state}"),
        (None, false) => state.to_owned(),
    }
}
