//! Samples of what is judged and not counted: how pools do, which causes are supported, who forgot a connection.

use std::collections::BTreeMap;

use poolwarden_watch::CauseCode;
use poolwarden_watch::why::{PoolState, PoolWhy, Verdict};

use super::pool::{Labels, with};
use super::text::Samples;
use super::{MAX_POOLS, OTHER, Scrape, application_label, largest};

const STATES: [PoolState; 5] =
    [PoolState::Calm, PoolState::Tight, PoolState::Saturated, PoolState::Paused, PoolState::Down];

/// The pools that have series, each with its labels.
fn each(scrape: &Scrape, mut push: impl FnMut(Labels<'_>, &PoolWhy)) {
    let modes: BTreeMap<_, _> = scrape
        .view
        .pools()
        .take(MAX_POOLS)
        .map(|(host, pool)| {
            ((host.name.as_str(), pool.key.database.as_str(), pool.key.user.as_str()), pool.mode.name())
        })
        .collect();
    for of in &scrape.why.pools {
        if let Some(mode) = modes.get(&(of.server.as_str(), of.pool.as_str(), of.user.as_str())) {
            push([("database", &of.pool), ("user", &of.user), ("host", &of.server), ("pool_mode", mode)], of);
        }
    }
}

pub(super) fn state(scrape: &Scrape, out: &mut Samples) {
    each(scrape, |base, of| {
        for state in STATES {
            out.push(&with(base, "state", state.name()), u8::from(of.state == state));
        }
    });
}

pub(super) fn verdict(scrape: &Scrape, out: &mut Samples) {
    each(scrape, |base, of| {
        for code in CauseCode::ALL {
            let supported =
                |cause: &poolwarden_watch::why::Cause| cause.code == code && cause.verdict == Verdict::Supported;
            out.push(&with(base, "cause", code.name()), u8::from(of.causes.iter().any(supported)));
        }
    });
}

/// Causes that can be foreseen.
const FORESEEN: [CauseCode; 6] = [
    CauseCode::PgSlots,
    CauseCode::IdleInTransaction,
    CauseCode::Leak,
    CauseCode::SlowQuery,
    CauseCode::PgSaturated,
    CauseCode::DemandGrowth,
];

pub(super) fn headroom(scrape: &Scrape, out: &mut Samples) {
    each(scrape, |base, of| {
        if let Some(headroom) = of.forecast.headroom {
            out.push(&base, format_args!("{headroom:.3}"));
        }
    });
}

pub(super) fn exhaustion(scrape: &Scrape, out: &mut Samples) {
    let said = |seconds: f64| if seconds.is_finite() { format!("{seconds:.1}") } else { "+Inf".to_owned() };
    each(scrape, |base, of| {
        let foreseen = of.forecast.exhaustion.as_ref();
        let (soon, median) = foreseen.map_or((f64::INFINITY, f64::INFINITY), |of| (of.interval_s.0, of.in_s));
        for (quantile, seconds) in [("0.05", soon), ("0.5", median)] {
            out.push(&with(base, "quantile", quantile), said(seconds));
        }
    });
}

pub(super) fn foreseen(scrape: &Scrape, out: &mut Samples) {
    each(scrape, |base, of| {
        for code in FORESEEN {
            let is_foreseen = of.forecast.exhaustion.as_ref().is_some_and(|of| of.cause == code);
            out.push(&with(base, "cause", code.name()), u8::from(is_foreseen));
        }
    });
}

pub(super) fn stuck(scrape: &Scrape, out: &mut Samples) {
    let mut by_name = BTreeMap::<&str, u64>::new();
    for of in scrape.holders.iter().filter(|of| of.stuck) {
        *by_name.entry(application_label(&of.lease.application)).or_default() += 1;
    }
    by_name.entry(OTHER).or_default(); // 0 can be alerted on, and nothing cannot
    let add = |all: &mut u64, more: &u64| *all += more;
    for (name, count) in largest(by_name, |count| *count, add) {
        out.push(&[("application", name)], count);
    }
}
