//! The waterfall: what raising each limit alone would gain, and what binds next.
//!
//! How many connections a pool may have is a minimum over limits, so raising one gains the distance to the second smallest, and
//! nothing if another is as small. What those connections would serve follows from the queueing model, at today's holds.

use poolwarden_pool::{Limit, LimitUse};

use crate::case::Case;
use crate::remedy;
use crate::why::Gain;

/// Limits that count connections: raising them is what people think of.
const COUNTED: [Limit; 8] = [
    Limit::PoolSize,
    Limit::ClassShare,
    Limit::User,
    Limit::Database,
    Limit::HostBudget,
    Limit::PgRole,
    Limit::PgDatabase,
    Limit::PgSlots,
];

/// One entry per limit that has a size, what binds first.
pub(crate) fn gains(case: &Case<'_>) -> Vec<Gain> {
    let counted: Vec<&LimitUse> =
        case.pool.limits.iter().filter(|of| COUNTED.contains(&of.limit) && of.size.is_some()).collect();
    let binding = case.pool.binding.or_else(|| case.pool.limits.iter().find(|of| of.binds).map(|of| of.limit));
    let paced = binding.filter(|limit| !COUNTED.contains(limit) && *limit != Limit::Reserve);
    let mut gains: Vec<Gain> = counted.iter().map(|of| gain(case, &counted, of, paced)).collect();
    gains.sort_by_key(|gain| (Some(gain.limit) != binding, gain.limit));
    gains
}

fn room(of: &LimitUse) -> u32 {
    of.size.map_or(u32::MAX, |size| size.saturating_sub(of.used))
}

fn gain(case: &Case<'_>, counted: &[&LimitUse], of: &LimitUse, paced: Option<Limit>) -> Gain {
    let others = counted.iter().filter(|other| other.limit != of.limit);
    let next = others.min_by_key(|other| room(other));
    let connections = match (paced, next) {
        (Some(_), _) => Some(0),
        (None, Some(next)) => Some(room(next).saturating_sub(room(of))),
        (None, None) => None,
    };
    let (used, size) = case.shown(of);
    let narrowest = counted.iter().map(|of| room(of)).min().unwrap_or(0);
    let may = case.pool.slots.counted().saturating_add(narrowest);
    let wanted = case.sources.map_or(0, |sources| sources.enough().saturating_sub(may));
    let more = connections.map_or(wanted, |most| wanted.min(most));
    let now = case.window.per_second(case.window.granted);
    let then = case.sources.map(|sources| sources.with(may.saturating_add(more)));
    Gain {
        limit: of.limit,
        setting: remedy::setting(of.limit, &case.host.name, &case.pool.key),
        used,
        size,
        connections,
        enough: size.filter(|_| more > 0).map(|size| size.saturating_add(more)),
        per_second: if more == 0 { 0.0 } else { then.map_or(0.0, |then| (then.per_second - now).max(0.0)) },
        wait_us: then.map(|then| then.wait_s * 1e6),
        next: paced.or_else(|| next.map(|next| next.limit)),
    }
}

/// How many more connections the pool may have, as the counted limits stand.
pub(crate) fn narrowest(case: &Case<'_>) -> u32 {
    let counted = case.pool.limits.iter().filter(|of| COUNTED.contains(&of.limit) && of.size.is_some());
    counted.map(room).min().unwrap_or(0)
}
