//! SHOW USAGE: who used what of each pool, by application, user, network, route and statement; the largest by held time.

use std::cmp::Reverse;

use poolwarden_watch::{UsageKind, UsageView, View};

use super::{Column, Kind, Row, Rows, int, maybe, text};

/// Names of one pool and kind that have rows; the rest is one row without a name.
const MOST: usize = 20;

pub(crate) const COLUMNS: [Column; 13] = [
    ("pool", Kind::Text),
    ("user", Kind::Text),
    ("server", Kind::Text),
    ("by", Kind::Text),
    ("name", Kind::Text),
    ("leases", Kind::Long),
    ("held_ms", Kind::Long),
    ("on_server_ms", Kind::Long),
    ("idle_in_transaction_ms", Kind::Long),
    ("waited_ms", Kind::Long),
    ("refused", Kind::Long),
    ("held_percent", Kind::Long),
    ("query", Kind::Text),
];

pub(crate) fn rows(view: &View) -> Rows {
    let mut rows = Vec::new();
    for host in &view.hosts {
        for pool in &host.snapshot.pools {
            let head = [text(&pool.key.database), text(&pool.key.user), text(&host.name)];
            for kind in UsageKind::ALL {
                let of = |of: &&UsageView| (of.host, of.pool, of.kind) == (host.id, pool.id, kind);
                rows.extend(largest(view.usage.iter().filter(of)).into_iter().map(|of| row(&head, kind, &of)));
            }
        }
    }
    Rows { columns: &COLUMNS, rows }
}

/// A line, and the held time of all lines together.
struct Line {
    of: UsageView,
    all_us: u64,
}

fn largest<'a>(usage: impl Iterator<Item = &'a UsageView>) -> Vec<Line> {
    let mut all: Vec<UsageView> = usage.cloned().collect();
    let all_us = all.iter().map(|of| of.used.held_us).sum();
    all.sort_by_key(|of| (of.name.is_none(), Reverse((of.used.held_us, of.used.waited_us, of.used.refused))));
    let rest = all.split_off(all.len().min(MOST));
    for of in rest {
        match all.last_mut().filter(|last| last.name.is_none()) {
            Some(last) => last.used.add(&of.used),
            None => all.push(UsageView { name: None, query: String::new(), ..of }),
        }
    }
    all.into_iter().map(|of| Line { of, all_us }).collect()
}

fn row(head: &[Option<String>; 3], kind: UsageKind, line: &Line) -> Row {
    let Line { of: UsageView { name, query, used, .. }, all_us } = line;
    let millis = |micros: u64| int(micros / 1_000);
    let mut row = head.to_vec();
    row.extend([
        text(kind.name()),
        name.clone(),
        int(used.leases),
        millis(used.held_us),
        millis(used.on_server_us),
        millis(used.idle_in_transaction_us),
        millis(used.waited_us),
        int(used.refused),
        maybe((used.held_us * 100).checked_div(*all_us)),
        Some(query).filter(|query| !query.is_empty()).and_then(text),
    ]);
    row
}
