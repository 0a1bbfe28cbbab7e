//! Samples of pools.

use poolwarden_watch::pool::{CloseReason, Limit, PoolSnapshot, Slots};
use poolwarden_watch::{HostView, PoolTraffic, SessionStateView, Traffic, View};

use super::listed;
use super::text::{Samples, seconds};

pub(super) type Labels<'a> = [(&'static str, &'a str); 4];

pub(super) fn labels<'a>(host: &'a HostView, pool: &'a PoolSnapshot) -> Labels<'a> {
    let PoolSnapshot { key, mode, .. } = pool;
    [("database", &key.database), ("user", &key.user), ("host", &host.name), ("pool_mode", mode.name())]
}

pub(super) fn with<'a>(base: Labels<'a>, name: &'static str, value: &'a str) -> [(&'static str, &'a str); 5] {
    let [a, b, c, d] = base;
    [a, b, c, d, (name, value)]
}

/// One sample per pool.
fn each<T: std::fmt::Display>(view: &View, out: &mut Samples, value: impl Fn(&PoolSnapshot) -> T) {
    for (host, pool) in listed(view) {
        out.push(&labels(host, pool), value(pool));
    }
}

/// One sample per pool and value of a label.
fn split<T: std::fmt::Display, const N: usize>(
    view: &View,
    out: &mut Samples,
    label: &'static str,
    values: impl Fn(&PoolSnapshot) -> [(&'static str, T); N],
) {
    for (host, pool) in listed(view) {
        for (name, value) in values(pool) {
            out.push(&with(labels(host, pool), label, name), value);
        }
    }
}

/// One sample per pool, from its traffic.
fn traffic(view: &View, out: &mut Samples, value: impl Fn(&Traffic) -> u64) {
    for_traffic(view, |base, of| out.push(&base, value(&of.totals)));
}

fn for_traffic(view: &View, mut push: impl FnMut(Labels<'_>, &PoolTraffic)) {
    let totals: std::collections::BTreeMap<_, _> = view.traffic.iter().map(|of| ((of.host, of.pool), of)).collect();
    for (host, pool) in listed(view) {
        if let Some(totals) = totals.get(&(host.id, pool.id)) {
            push(labels(host, pool), totals);
        }
    }
}

fn by_limit(view: &View, out: &mut Samples, values: impl Fn(&PoolSnapshot) -> &[u64; 16], write: fn(u64) -> String) {
    for (host, pool) in listed(view) {
        for (limit, value) in Limit::ALL.iter().zip(values(pool)) {
            out.push(&with(labels(host, pool), "reason", limit.name()), write(*value));
        }
    }
}

pub(super) fn checkouts(view: &View, out: &mut Samples) {
    let values = |pool: &PoolSnapshot| {
        let refused: u64 = pool.refused.iter().sum();
        [("granted", pool.granted), ("refused", refused), ("abandoned", pool.abandoned)]
    };
    split(view, out, "outcome", values);
}

pub(super) fn refused(view: &View, out: &mut Samples) {
    by_limit(view, out, |pool| &pool.refused, |count| count.to_string());
}

pub(super) fn waited(view: &View, out: &mut Samples) {
    by_limit(view, out, |pool| &pool.wait_nanos, seconds);
}

pub(super) fn wait(view: &View, out: &mut Samples) {
    for (host, pool) in listed(view) {
        for (outcome, counts) in [("granted", &pool.wait_granted), ("failed", &pool.wait_failed)] {
            out.histogram(&with(labels(host, pool), "outcome", outcome), counts);
        }
    }
}

pub(super) fn query(view: &View, out: &mut Samples) {
    for_traffic(view, |base, of| out.histogram(&base, &of.query));
}

pub(super) fn idle_in_transaction(view: &View, out: &mut Samples) {
    for_traffic(view, |base, of| out.histogram(&base, &of.idle_in_transaction));
}

pub(super) fn connect(view: &View, out: &mut Samples) {
    for (host, pool) in listed(view) {
        out.histogram(&labels(host, pool), &pool.connect);
    }
}

pub(super) fn occupancy_found(view: &View, out: &mut Samples) {
    let bounds = || (0..=10).map(|tenths| format!("{}.{}", tenths / 10, tenths % 10));
    for (host, pool) in listed(view) {
        out.buckets(&labels(host, pool), bounds(), &pool.occupancy);
    }
}

/// One sample per pool for those that ended well, and one per SQLSTATE of those that did not.
pub(super) fn connects(view: &View, out: &mut Samples) {
    for (host, pool) in listed(view) {
        let mut push = |result, sqlstate: &str, count| {
            let [a, b, c, d] = labels(host, pool);
            out.push(&[a, b, c, d, ("result", result), ("sqlstate", sqlstate)], count);
        };
        push("ok", "00000", pool.connects);
        for (sqlstate, count) in &pool.connect_failures {
            push("failed", &String::from_utf8_lossy(sqlstate), *count);
        }
    }
}

pub(super) fn queue_oldest(view: &View, out: &mut Samples) {
    each(view, out, |pool| seconds(u64::try_from(pool.oldest_wait.as_nanos()).unwrap_or(u64::MAX)));
}

pub(super) fn queue_high_water(view: &View, out: &mut Samples) {
    each(view, out, |pool| pool.high_water.1);
}

/// Who gives up while running holds a lease, and is not known to the pool.
pub(super) fn abandoned(view: &View, out: &mut Samples) {
    split(view, out, "stage", |pool| [("queued", pool.abandoned)]);
}

/// Who neither waits nor holds a server connection is idle.
pub(super) fn clients(view: &View, out: &mut Samples) {
    let values = |pool: &PoolSnapshot| {
        let served = pool.clients.saturating_sub(pool.waiting);
        let active = pool.slots.lent.min(served);
        [("active", active), ("idle", served - active), ("waiting", pool.waiting)]
    };
    split(view, out, "state", values);
}

pub(super) fn servers(view: &View, out: &mut Samples) {
    let values = |pool: &PoolSnapshot| {
        let Slots { opening, idle, lent, resetting, fenced, ending, ghosts } = pool.slots;
        [
            ("opening", opening),
            ("idle", idle),
            ("lent", lent),
            ("resetting", resetting),
            ("fenced", fenced),
            ("ending", ending),
            ("ghost", ghosts),
        ]
    };
    split(view, out, "state", values);
}

pub(super) fn hold(view: &View, out: &mut Samples) {
    for (host, pool) in listed(view) {
        out.histogram(&labels(host, pool), &pool.hold);
    }
}

pub(super) fn lent(view: &View, out: &mut Samples) {
    each(view, out, |pool| seconds(pool.lent_nanos));
}

pub(super) fn busy(view: &View, out: &mut Samples) {
    let values = |pool: &PoolSnapshot| {
        [("active", seconds(pool.on_server_nanos)), ("idle_in_transaction", seconds(pool.idle_in_transaction_nanos))]
    };
    split(view, out, "state", values);
}

pub(super) fn busy_high_water(view: &View, out: &mut Samples) {
    each(view, out, |pool| pool.high_water.0);
}

/// The order of `PoolSnapshot::closed`.
const CLOSED: [&str; 10] = [
    CloseReason::Broken.name(),
    CloseReason::Idle.name(),
    CloseReason::Lifetime.name(),
    CloseReason::Evicted.name(),
    CloseReason::Shrunk.name(),
    CloseReason::Reconnect.name(),
    CloseReason::Killed.name(),
    CloseReason::Draining.name(),
    CloseReason::Retired.name(),
    "ended",
];

pub(super) fn disconnects(view: &View, out: &mut Samples) {
    split(view, out, "reason", |pool| std::array::from_fn::<_, 10, _>(|at| (CLOSED[at], pool.closed[at])));
}

pub(super) fn capacity(view: &View, out: &mut Samples) {
    for_limits(view, |base, of, _| {
        if let Some(size) = of.size {
            out.push(&base, size);
        }
    });
}

pub(super) fn capacity_used(view: &View, out: &mut Samples) {
    for_limits(view, |base, of, _| out.push(&base, of.used));
}

pub(super) fn capacity_binding(view: &View, out: &mut Samples) {
    for_limits(view, |base, of, pool| out.push(&base, u8::from(pool.binding == Some(of.limit))));
}

fn for_limits(view: &View, mut push: impl FnMut([(&str, &str); 5], &poolwarden_watch::pool::LimitUse, &PoolSnapshot)) {
    for (host, pool) in listed(view) {
        for of in &pool.limits {
            push(with(labels(host, pool), "limit", of.limit.name()), of, pool);
        }
    }
}

pub(super) fn demand(view: &View, out: &mut Samples) {
    each(view, out, |pool| pool.slots.lent + pool.waiting);
}

pub(super) fn occupancy(view: &View, out: &mut Samples) {
    for (host, pool) in listed(view).filter(|(_, pool)| pool.size > 0) {
        out.push(&labels(host, pool), f64::from(pool.slots.lent) / f64::from(pool.size));
    }
}

/// What it has, and what the tightest limit leaves.
pub(super) fn capacity_effective(view: &View, out: &mut Samples) {
    for (host, pool) in listed(view) {
        let room = pool.limits.iter().filter_map(|of| Some(of.size?.saturating_sub(of.used))).min();
        if let Some(room) = room {
            out.push(&labels(host, pool), pool.slots.counted() + room);
        }
    }
}

pub(super) fn paused(view: &View, out: &mut Samples) {
    each(view, out, |pool| u8::from(pool.paused));
}

pub(super) fn disabled(view: &View, out: &mut Samples) {
    each(view, out, |pool| u8::from(pool.disabled));
}

pub(super) fn transactions(view: &View, out: &mut Samples) {
    traffic(view, out, |of| of.xact_count);
}

pub(super) fn queries(view: &View, out: &mut Samples) {
    traffic(view, out, |of| of.query_count);
}

pub(super) fn received(view: &View, out: &mut Samples) {
    traffic(view, out, |of| of.bytes_received);
}

pub(super) fn sent(view: &View, out: &mut Samples) {
    traffic(view, out, |of| of.bytes_sent);
}

pub(super) fn parses(view: &View, out: &mut Samples) {
    for_traffic(view, |base, of| {
        out.push(&with(base, "side", "client"), of.totals.client_parse_count);
        out.push(&with(base, "side", "server"), of.totals.server_parse_count);
    });
}

pub(super) fn idle_transactions(view: &View, out: &mut Samples) {
    for_traffic(view, |base, of| {
        let of = &of.totals;
        for (outcome, count) in [("warned", of.idle_warned), ("ended", of.idle_ended), ("spared", of.idle_spared)] {
            out.push(&with(base, "outcome", outcome), count);
        }
    });
}

pub(super) fn binds(view: &View, out: &mut Samples) {
    traffic(view, out, |of| of.bind_count);
}

pub(super) fn logins(view: &View, out: &mut Samples) {
    traffic(view, out, |of| of.client_login_count);
}

/// One sample per pool and kind of session state that ever mattered there.
fn state(view: &View, out: &mut Samples, label: &'static str, value: impl Fn(&SessionStateView) -> u64) {
    for (host, pool) in listed(view) {
        for of in view.session_state.iter().filter(|of| (of.host, of.pool) == (host.id, pool.id)) {
            out.push(&with(labels(host, pool), label, of.reason), value(of));
        }
    }
}

pub(super) fn pinned(view: &View, out: &mut Samples) {
    state(view, out, "reason", |of| of.pinned);
}

pub(super) fn pins(view: &View, out: &mut Samples) {
    state(view, out, "reason", |of| of.pins);
}

pub(super) fn state_refused(view: &View, out: &mut Samples) {
    state(view, out, "construct", |of| of.refused);
}
