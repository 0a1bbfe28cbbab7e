//! `host_budget`: all pools of the server together have what they may have. Raising one pool's size takes from the others.

use poolwarden_pool::Limit;

use super::{Judged, limit};
use crate::case::Case;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let mut pools: Vec<_> = case.host.snapshot.pools.iter().filter(|pool| pool.slots.counted() > 0).collect();
    pools.sort_by_key(|pool| (u32::MAX - pool.slots.counted(), pool.id));
    let named = |pool: &&poolwarden_pool::PoolSnapshot| {
        format!("{}/{} has {} ({} lent)", pool.key.database, pool.key.user, pool.slots.counted(), pool.slots.lent)
    };
    let most: Vec<String> = pools.iter().take(3).map(named).collect();
    let more = (!most.is_empty()).then(|| Evidence::said(most.join(", ")));
    limit::judge(case, share, Limit::HostBudget, more)
}
