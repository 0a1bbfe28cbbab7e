//! SHOW PINS: who keeps a server connection beyond a transaction, and why.

use poolwarden_watch::{PinView, View};

use super::{Column, Kind, Row, Rows, clients, int, maybe, moment, text};

pub(crate) const COLUMNS: [Column; 11] = [
    ("pool", Kind::Text),
    ("user", Kind::Text),
    ("server", Kind::Text),
    ("client", Kind::Text),
    ("addr", Kind::Text),
    ("port", Kind::Int),
    ("application_name", Kind::Text),
    ("pid", Kind::Int),
    ("reason", Kind::Text),
    ("since", Kind::Text),
    ("held_seconds", Kind::Float),
];

pub(crate) fn rows(view: &View) -> Rows {
    Rows { columns: &COLUMNS, rows: view.pins.iter().map(|of| row(view, of)).collect() }
}

fn row(view: &View, of: &PinView) -> Row {
    vec![
        text(&of.database),
        text(&of.user),
        text(view.host(of.host).map_or("", |host| &host.name)),
        text(clients::client(of.client)),
        text(&of.addr),
        int(of.port),
        text(&of.application_name),
        maybe(of.remote_pid),
        text(&of.reason),
        moment(of.since_ms),
        text(format!("{}.{:06}", of.held_us / 1_000_000, of.held_us % 1_000_000)),
    ]
}
