//! SHOW MEM: one line, the buffers of the memory budget, counted in bytes.

use poolwarden_watch::View;

use super::{Column, Kind, Rows, int, maybe, text};

pub(crate) const COLUMNS: [Column; 5] =
    [("name", Kind::Text), ("size", Kind::Long), ("used", Kind::Long), ("free", Kind::Long), ("memtotal", Kind::Long)];

pub(crate) fn rows(view: &View) -> Rows {
    let memory = view.process.memory_bytes;
    let free = memory.max.map(|max| max.saturating_sub(memory.used));
    let row = vec![text("buffers"), int(1_u64), int(memory.used), maybe(free), int(memory.used)];
    Rows { columns: &COLUMNS, rows: vec![row] }
}
