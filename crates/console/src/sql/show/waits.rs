//! SHOW WAITS: where waiting came from, by the limit that bound; limits nobody ever waited for have no row.

use poolwarden_watch::View;
use poolwarden_watch::pool::{Limit, PoolSnapshot};

use super::{Column, Kind, Rows, int, text};

pub(crate) const COLUMNS: [Column; 7] = [
    ("pool", Kind::Text),
    ("user", Kind::Text),
    ("server", Kind::Text),
    ("limit", Kind::Text),
    ("wait_seconds", Kind::Float),
    ("waiting", Kind::Long),
    ("refused", Kind::Long),
];

pub(crate) fn rows(view: &View) -> Rows {
    let mut rows = Vec::new();
    for (host, pool) in view.pools() {
        for limit in Limit::ALL {
            let (nanos, waiting, refused) = of_limit(pool, limit);
            if (nanos, waiting, refused) != (0, 0, 0) {
                rows.push(vec![
                    text(&pool.key.database),
                    text(&pool.key.user),
                    text(&host.name),
                    text(limit.name()),
                    text(format!("{}.{:06}", nanos / 1_000_000_000, nanos % 1_000_000_000 / 1_000)),
                    int(waiting),
                    int(refused),
                ]);
            }
        }
    }
    for limit in Limit::ALL {
        let refused = view.process.refused_clients[limit.index()];
        if refused > 0 {
            rows.push(vec![None, None, None, text(limit.name()), text("0.000000"), int(0_u64), int(refused)]);
        }
    }
    Rows { columns: &COLUMNS, rows }
}

/// Who waits now, waits for the limit that binds now.
fn of_limit(pool: &PoolSnapshot, limit: Limit) -> (u64, u32, u64) {
    let waiting = if pool.binding == Some(limit) { pool.waiting } else { 0 };
    (pool.wait_nanos[limit.index()], waiting, pool.refused[limit.index()])
}
