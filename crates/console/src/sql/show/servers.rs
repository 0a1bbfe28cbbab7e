//! SHOW SERVERS.

use poolwarden_watch::{ServerView, View};

use super::{Row, Rows, clients, int, maybe, moment, text};

pub(crate) fn rows(view: &View) -> Rows {
    Rows { columns: &clients::COLUMNS, rows: view.servers.iter().map(row).collect() }
}

pub(super) fn row(of: &ServerView) -> Row {
    vec![
        text("S"),
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
        int(0_u64),
        int(0_u64),
        int(u64::from(of.close_needed)),
        text(clients::server(of.id)),
        text(of.link.map_or(String::new(), clients::client)),
        maybe(of.remote_pid.or(Some(0))),
        text(&of.tls),
        text(&of.application_name),
        int(of.prepared_statements),
        int(of.id),
    ]
}
