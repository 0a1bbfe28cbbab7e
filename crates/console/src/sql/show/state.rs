//! SHOW STATE and SHOW VERSION.

use poolwarden_watch::{ProcessState, View};

use super::{Column, Kind, Rows, text};

pub(crate) const COLUMNS: [Column; 2] = [("key", Kind::Text), ("value", Kind::Text)];
pub(crate) const VERSION: [Column; 1] = [("version", Kind::Text)];

/// PgBouncer's three keys, then ours.
pub(crate) fn rows(view: &View) -> Rows {
    let yes = |state| if view.state == state { "yes" } else { "no" };
    let keys = [
        ("active", yes(ProcessState::Active)),
        ("paused", yes(ProcessState::Paused)),
        ("suspended", yes(ProcessState::Suspended)),
        ("draining", yes(ProcessState::Draining)),
    ];
    Rows { columns: &COLUMNS, rows: keys.into_iter().map(|(key, value)| vec![text(key), text(value)]).collect() }
}

pub(crate) fn version(view: &View) -> Rows {
    Rows { columns: &VERSION, rows: vec![vec![text(format!("poolwarden {}", view.version))]] }
}
