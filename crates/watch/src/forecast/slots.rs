//! PostgreSQL's connections, everybody's: when they are used up, and by whom they are taken.

use std::collections::{BTreeMap, VecDeque};

use poolwarden_pool::Limit;

use super::ladder::{Ladder, Sum};
use super::{AHEAD, Exhaustion, FURTHEST_S, LEAST_USED};
use crate::case::Case;
use crate::cause::CauseCode;
use crate::say::span;
use crate::why::Evidence;
use crate::{Activity, Backend};

/// How often who has how many is kept, and for how long.
const EVERY_MS: u64 = 10_000;
const MOST: usize = 361;

/// The past of one server's connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    ladder: Ladder,
    seen_ms: u64,
    owners: VecDeque<(u64, BTreeMap<String, u32>)>,
}

impl Slots {
    /// What PostgreSQL told, if it told anything new.
    pub(super) fn take(&mut self, activity: Option<&Activity>) {
        let Some(activity) = activity.filter(|of| of.seen_at_ms > self.seen_ms) else { return };
        let before = std::mem::replace(&mut self.seen_ms, activity.seen_at_ms);
        let long_us = if before == 0 { 0 } else { (activity.seen_at_ms - before) * 1_000 };
        self.ladder.take(Sum { long_us, lent_us: u64::from(used(activity)) * long_us, ..Sum::default() });
        if self.owners.back().is_none_or(|(at_ms, _)| activity.seen_at_ms >= at_ms + EVERY_MS) {
            self.owners.push_back((activity.seen_at_ms, owners(activity)));
            if self.owners.len() > MOST {
                self.owners.pop_front();
            }
        }
    }

    /// When none is left for a pool that may want more than it has.
    pub(super) fn exhaustion(&self, case: &Case<'_>) -> Option<Exhaustion> {
        let activity = case.activity()?;
        let size = activity.max_connections.saturating_sub(activity.reserved);
        let wants = case.pool.size.saturating_add(case.pool.reserve) > case.pool.slots.counted();
        let of = |rung: &super::Rung| {
            let rise = rung.rise?;
            let (blocks, (soon, late)) = rise.until(f64::from(size));
            let (in_s, lasted_s) = (blocks * rung.block_s(), rise.blocks as f64 * rung.block_s());
            let is_near = rise.level >= LEAST_USED * f64::from(size) && in_s <= FURTHEST_S.min(AHEAD * lasted_s);
            is_near.then_some((in_s, (soon * rung.block_s(), late * rung.block_s()), lasted_s))
        };
        let found = self.ladder.rungs.iter().filter_map(of).min_by(|a, b| a.0.total_cmp(&b.0));
        let (in_s, interval_s, lasted_s) = found.filter(|_| wants)?;
        let now = owners(activity);
        let then = self.then(activity.seen_at_ms, lasted_s);
        let grown = now.iter().map(|(name, count)| {
            (name, i64::from(*count) - i64::from(then.and_then(|then| then.get(name)).copied().unwrap_or(0)))
        });
        let (who, more) = grown.max_by_key(|(_, more)| *more)?;
        let used = used(activity);
        let evidence = vec![Evidence::new(
            format!(
                "{used} of PostgreSQL's {size} connections are used; {who} has {} of them, {more} more than {} ago",
                now.get(who).copied().unwrap_or(0),
                span(lasted_s * 1e6)
            ),
            [("used", f64::from(used)), ("size", f64::from(size)), ("grown", more as f64), ("risen_for_s", lasted_s)],
        )];
        let next_step = format!(
            "have {who} use fewer connections, or give it a pool of its own here; max_connections is raised by a restart of PostgreSQL only"
        );
        Some(Exhaustion { cause: CauseCode::PgSlots, limit: Limit::PgSlots, in_s, interval_s, evidence, next_step })
    }

    fn then(&self, now_ms: u64, ago_s: f64) -> Option<&BTreeMap<String, u32>> {
        let ago_ms = (ago_s * 1e3) as u64;
        let before = self.owners.iter().rev().find(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= ago_ms);
        before.or_else(|| self.owners.front()).map(|(_, owners)| owners)
    }
}

fn used(activity: &Activity) -> u32 {
    u32::try_from(activity.backends.len()).unwrap_or(u32::MAX).saturating_add(activity.unlisted)
}

/// Who has how many: applications, and roles of those without a name.
fn owners(activity: &Activity) -> BTreeMap<String, u32> {
    let mut owners = BTreeMap::new();
    for backend in &activity.backends {
        *owners.entry(owner(backend)).or_default() += 1;
    }
    owners
}

fn owner(backend: &Backend) -> String {
    if backend.own {
        "poolwarden".to_owned()
    } else if backend.application.is_empty() {
        format!("role \"{}\"", backend.role)
    } else {
        format!("\"{}\"", backend.application)
    }
}
