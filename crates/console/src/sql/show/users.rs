//! SHOW USERS.

use poolwarden_watch::{UserView, View};

use super::{Column, Kind, Row, Rows, int, maybe, text};

pub(crate) const COLUMNS: [Column; 8] = [
    ("name", Kind::Text),
    ("pool_size", Kind::Int),
    ("reserve_pool_size", Kind::Int),
    ("pool_mode", Kind::Text),
    ("max_user_connections", Kind::Int),
    ("current_connections", Kind::Int),
    ("max_user_client_connections", Kind::Int),
    ("current_client_connections", Kind::Int),
];

pub(crate) fn rows(view: &View) -> Rows {
    Rows { columns: &COLUMNS, rows: view.users.iter().map(row).collect() }
}

/// In PgBouncer's table a limit of 0 is none; what a user does not override is NULL.
fn row(of: &UserView) -> Row {
    vec![
        text(&of.name),
        maybe(of.pool_size),
        maybe(of.reserve_pool_size),
        of.pool_mode.map(|mode| mode.name().to_owned()),
        int(of.max_connections.unwrap_or(0)),
        int(of.current_connections),
        int(of.max_client_connections.unwrap_or(0)),
        int(of.current_client_connections),
    ]
}
