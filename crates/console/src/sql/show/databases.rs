//! SHOW DATABASES.

use poolwarden_watch::{DatabaseView, View};

use super::{Column, Kind, Row, Rows, int, text};

pub(crate) const COLUMNS: [Column; 18] = [
    ("name", Kind::Text),
    ("host", Kind::Text),
    ("port", Kind::Int),
    ("database", Kind::Text),
    ("force_user", Kind::Text),
    ("pool_size", Kind::Int),
    ("min_pool_size", Kind::Int),
    ("reserve_pool_size", Kind::Int),
    ("server_lifetime", Kind::Int),
    ("pool_mode", Kind::Text),
    ("load_balance_hosts", Kind::Text),
    ("max_connections", Kind::Int),
    ("current_connections", Kind::Int),
    ("max_client_connections", Kind::Int),
    ("current_client_connections", Kind::Int),
    ("paused", Kind::Int),
    ("disabled", Kind::Int),
    ("reserve_pool", Kind::Int), // PgBouncer's name of it before 1.24, which Debian's exporter reads
];

pub(crate) fn rows(view: &View) -> Rows {
    Rows { columns: &COLUMNS, rows: view.databases.iter().map(row).collect() }
}

/// In PgBouncer's table a limit of 0 is none.
fn row(of: &DatabaseView) -> Row {
    vec![
        text(&of.name),
        text(&of.host),
        int(of.port),
        text(of.database.as_ref().unwrap_or(&of.name)),
        of.force_user.clone(),
        int(of.pool_size),
        int(of.min_pool_size),
        int(of.reserve_pool_size),
        int(of.server_lifetime_s),
        text(of.pool_mode.name()),
        None,
        int(of.max_connections.unwrap_or(0)),
        int(of.current_connections),
        int(of.max_client_connections.unwrap_or(0)),
        int(of.current_client_connections),
        int(of.paused),
        int(of.disabled),
        int(of.reserve_pool_size),
    ]
}
