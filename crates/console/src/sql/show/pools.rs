//! SHOW POOLS.

use poolwarden_watch::pool::PoolSnapshot;
use poolwarden_watch::{ClientState, View};

use super::{Column, Kind, Row, Rows, int, text};

pub(crate) const COLUMNS: [Column; 17] = [
    ("database", Kind::Text),
    ("user", Kind::Text),
    ("cl_active", Kind::Int),
    ("cl_waiting", Kind::Int),
    ("cl_active_cancel_req", Kind::Int),
    ("cl_waiting_cancel_req", Kind::Int),
    ("sv_active", Kind::Int),
    ("sv_active_cancel", Kind::Int),
    ("sv_being_canceled", Kind::Int),
    ("sv_idle", Kind::Int),
    ("sv_used", Kind::Int),
    ("sv_tested", Kind::Int),
    ("sv_login", Kind::Int),
    ("maxwait", Kind::Int),
    ("maxwait_us", Kind::Int),
    ("pool_mode", Kind::Text),
    ("load_balance_hosts", Kind::Text),
];

pub(crate) fn rows(view: &View) -> Rows {
    Rows { columns: &COLUMNS, rows: view.pools().map(|(_, pool)| row(view, pool)).collect() }
}

/// A cancel in the air has a socket of its own towards PostgreSQL, `sv_active_cancel`; none ever rests unchecked, `sv_used`.
fn row(view: &View, pool: &PoolSnapshot) -> Row {
    let cancels = |state| {
        let of_pool = view.clients.iter().filter(|client| {
            client.state == state && client.database == pool.key.database && client.user == pool.key.user
        });
        of_pool.count() as u64
    };
    let active_cancels = cancels(ClientState::ActiveCancelReq);
    vec![
        text(&pool.key.database),
        text(&pool.key.user),
        int(pool.clients.saturating_sub(pool.waiting)),
        int(pool.waiting),
        int(active_cancels),
        int(cancels(ClientState::WaitingCancelReq)),
        int(pool.slots.lent),
        int(active_cancels),
        int(pool.slots.fenced),
        int(pool.slots.idle),
        int(0_u64),
        int(pool.slots.resetting),
        int(pool.slots.opening),
        int(pool.oldest_wait.as_secs()),
        int(pool.oldest_wait.subsec_micros()),
        text(pool.mode.name()),
        None,
    ]
}
