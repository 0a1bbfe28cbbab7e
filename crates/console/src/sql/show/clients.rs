//! SHOW CLIENTS. SHOW SERVERS has the same columns.

use poolwarden_watch::{ClientView, View};

use super::{Column, Kind, Row, Rows, int, maybe, moment, text};

pub(crate) const COLUMNS: [Column; 21] = [
    ("type", Kind::Text),
    ("user", Kind::Text),
    ("database", Kind::Text),
    ("replication", Kind::Text),
    ("state", Kind::Text),
    ("addr", Kind::Text),
    ("port", Kind::Int),
    ("local_addr", Kind::Text),
    ("local_port", Kind::Int),
    ("connect_time", Kind::Text),
    ("request_time", Kind::Text),
    ("wait", Kind::Int),
    ("wait_us", Kind::Int),
    ("close_needed", Kind::Int),
    ("ptr", Kind::Text),
    ("link", Kind::Text),
    ("remote_pid", Kind::Int),
    ("tls", Kind::Text),
    ("application_name", Kind::Text),
    ("prepared_statements", Kind::Int),
    ("id", Kind::Long),
];

/// Where `state` stands.
pub(super) const STATE: usize = 4;

/// PgBouncer prints addresses here; serials say the same and can be found again.
pub(super) fn client(id: u64) -> String {
    format!("c{id}")
}

/// See [`client`].
pub(super) fn server(id: u64) -> String {
    format!("s{id}")
}

pub(crate) fn rows(view: &View) -> Rows {
    Rows { columns: &COLUMNS, rows: view.clients.iter().map(row).collect() }
}

pub(super) fn row(of: &ClientView) -> Row {
    vec![
        text("C"),
        text(&of.user),
        text(&of.database),
        text("none"),
        text(of.state.name()),
        text(&of.addr),
        int(of.port),
        text(&of.local_addr),
        int(of.local_port),
        moment(of.connected_at_ms),
        moment(of.requested_at_ms),
        int(of.wait_us / 1_000_000),
        int(of.wait_us % 1_000_000),
        int(0_u64),
        text(client(of.id)),
        text(of.link.map_or(String::new(), server)),
        maybe(of.remote_pid.or(Some(0))),
        text(&of.tls),
        text(&of.application_name),
        int(of.prepared_statements),
        int(of.id),
    ]
}
