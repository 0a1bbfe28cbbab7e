//! SHOW USERS.

use poolwarden_watch::{UserView, View};

use super::{Column, Kind, Row, Rows, int, maybe, text};

pub(crate) const COLUMNS: [Column; 8] = [
    ("name", Kind::Text),
    ("pool_size", Kind::Text),
    ("reserve_pool_size", Kind::Text),
    ("pool_mode", Kind::Text),
    ("max_user_connections", Kind::Int),
    ("current_connections", Kind::Int),
    ("max_user_client_connections", Kind::Int),
    ("current_client_connections", Kind::Int),
];

pub(crate) fn rows(view: &View) -> Rows {
    Rows { columns: &COLUMNS, rows: view.users.iter().map(row).collect() }
}

/// In PgBouncer's table a limit of 0 is none; sizes are texts, empty where a user does not override them.
fn row(of: &UserView) -> Row {
    vec![
        text(&of.name),
        Some(maybe(of.pool_size).unwrap_or_default()),
        Some(maybe(of.reserve_pool_size).unwrap_or_default()),
        of.pool_mode.map(|mode| mode.name().to_owned()),
        int(of.max_connections.unwrap_or(0)),
        int(of.current_connections),
        int(of.max_client_connections.unwrap_or(0)),
        int(of.current_client_connections),
    ]
}
