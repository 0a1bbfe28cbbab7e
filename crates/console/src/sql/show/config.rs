//! SHOW CONFIG.

use poolwarden_watch::View;

use super::{Column, Kind, Rows, text};

pub(crate) const COLUMNS: [Column; 4] =
    [("key", Kind::Text), ("value", Kind::Text), ("default", Kind::Text), ("changeable", Kind::Text)];

pub(crate) fn rows(view: &View) -> Rows {
    let row = |of: &poolwarden_watch::ConfigView| {
        vec![text(&of.key), text(&of.value), of.default.clone(), text(if of.changeable { "yes" } else { "no" })]
    };
    Rows { columns: &COLUMNS, rows: view.config.iter().map(row).collect() }
}
