//! SHOW HOLDERS: who holds each server connection that is lent, and what goes on; statements to admins alone.

use poolwarden_watch::why::Holder;

use super::super::Rights;
use super::{Column, Kind, Row, Rows, clients, int, maybe, text, yes};

pub(crate) const COLUMNS: [Column; 16] = [
    ("conn", Kind::Long),
    ("pool", Kind::Text),
    ("user", Kind::Text),
    ("server", Kind::Text),
    ("application_name", Kind::Text),
    ("client", Kind::Text),
    ("addr", Kind::Text),
    ("port", Kind::Int),
    ("age_ms", Kind::Long),
    ("state", Kind::Text),
    ("idle_in_transaction_ms", Kind::Long),
    ("pid", Kind::Int),
    ("blocked_by", Kind::Text),
    ("stuck", Kind::Bool),
    ("route", Kind::Text),
    ("query", Kind::Text),
];

pub(crate) fn rows(holders: &[Holder], rights: Rights) -> Rows {
    Rows { columns: &COLUMNS, rows: holders.iter().map(|of| row(of, rights)).collect() }
}

fn row(of: &Holder, rights: Rights) -> Row {
    let lease = &of.lease;
    let blockers = of.blocked_by.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let query = match rights {
        Rights::Admin if !lease.query.is_empty() => text(&lease.query),
        Rights::Admin | Rights::Reader => None,
    };
    vec![
        int(of.conn),
        text(&of.pool),
        text(&of.user),
        text(&of.server),
        text(&lease.application),
        text(clients::client(lease.client)),
        text(&lease.addr),
        int(lease.port),
        int(lease.held_us / 1_000),
        text(lease.state.name()),
        int(lease.idle_in_transaction_us / 1_000),
        maybe(of.pid),
        text(blockers),
        yes(of.stuck),
        lease.route.as_ref().and_then(text),
        query,
    ]
}
