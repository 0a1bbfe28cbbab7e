//! SHOW HELP: the catalogue as rows.

use poolwarden_watch::View;

use super::super::{CATALOGUE, Rights};
use super::{Column, Kind, Rows, text};

pub(crate) const COLUMNS: [Column; 3] = [("command", Kind::Text), ("rights", Kind::Text), ("about", Kind::Text)];

pub(crate) fn rows(_: &View) -> Rows {
    let rights = |rights| match rights {
        Rights::Reader => "reader",
        Rights::Admin => "admin",
    };
    let rows = CATALOGUE.iter().map(|entry| vec![text(entry.usage()), text(rights(entry.needs)), text(entry.about)]);
    Rows { columns: &COLUMNS, rows: rows.collect() }
}
