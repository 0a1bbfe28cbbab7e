//! SHOW LIMITS: every limit of every pool, then those of the process; which binds, and what to do about it.

use poolwarden_watch::pool::{Limit, PoolKey};
use poolwarden_watch::{Uses, View, remedy};

use super::{Column, Kind, Row, Rows, int, maybe, text, yes};

pub(crate) const COLUMNS: [Column; 9] = [
    ("pool", Kind::Text),
    ("user", Kind::Text),
    ("server", Kind::Text),
    ("limit", Kind::Text),
    ("used", Kind::Long),
    ("size", Kind::Long),
    ("binds", Kind::Bool),
    ("setting", Kind::Text),
    ("next_step", Kind::Text),
];

pub(crate) fn rows(view: &View) -> Rows {
    let of_pools = view.pools().flat_map(|(host, pool)| {
        pool.limits.iter().map(move |of| {
            let next_step = of.binds.then(|| remedy::next_step(of.limit, &host.name, &pool.key));
            vec![
                text(&pool.key.database),
                text(&pool.key.user),
                text(&host.name),
                text(of.limit.name()),
                int(of.used),
                maybe(of.size),
                yes(of.binds),
                text(remedy::setting(of.limit, &host.name, &pool.key)),
                next_step,
            ]
        })
    });
    let process = &view.process;
    let of_process = [
        of_process(Limit::MaxClients, process.clients),
        of_process(Limit::Fds, process.fds),
        of_process(Limit::Memory, process.memory_bytes),
    ];
    Rows { columns: &COLUMNS, rows: of_pools.chain(of_process).collect() }
}

fn of_process(limit: Limit, uses: Uses) -> Row {
    let nobody = PoolKey { database: String::new(), user: String::new() }; // these three name no pool
    let binds = uses.max.is_some_and(|max| uses.used >= max);
    vec![
        None,
        None,
        None,
        text(limit.name()),
        int(uses.used),
        maybe(uses.max),
        yes(binds),
        text(remedy::setting(limit, "", &nobody)),
        binds.then(|| remedy::next_step(limit, "", &nobody)),
    ]
}
