//! How many connections each statement holds, minute by minute, so that one that takes more and more of them is known by name.

use std::collections::{BTreeMap, VecDeque};

use crate::UsageView;

const EVERY_MS: u64 = 60_000;
/// An hour, and the minute it begins with.
const MOST: usize = 61;
/// Statements of one minute that are kept, those that held most.
const KEPT: usize = 12;

/// The past of one pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Statements {
    minutes: VecDeque<(u64, BTreeMap<String, u64>)>,
}

/// A statement whose connections have become more.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grown {
    /// As in [`UsageView::name`].
    pub(super) name: String,
    /// Its part of what all have become more.
    pub(super) part: f64,
}

impl Statements {
    /// Takes the totals of now, once a minute.
    pub(super) fn take(&mut self, now_ms: u64, used: &[&UsageView]) {
        if self.minutes.back().is_some_and(|(at_ms, _)| now_ms < at_ms + EVERY_MS) {
            return;
        }
        let mut held: Vec<(u64, &String)> =
            used.iter().filter_map(|of| Some((of.used.held_us, of.name.as_ref()?))).collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        held.truncate(KEPT);
        let held = held.into_iter().map(|(held_us, name)| (name.clone(), held_us)).collect();
        self.minutes.push_back((now_ms, held));
        if self.minutes.len() > MOST {
            self.minutes.pop_front();
        }
    }

    /// The statement that has grown most in a rise that began so long ago: its connections in the newer half of it less those in the
    /// time before it, or in its older half where that was not seen.
    pub(super) fn grown(&self, now_ms: u64, risen_s: f64) -> Option<Grown> {
        let risen_ms = (risen_s * 1e3) as u64;
        let at = |ago_ms: u64| self.minutes.iter().rev().find(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= ago_ms);
        let (newest, half) = (self.minutes.back()?, at(risen_ms / 2).or_else(|| self.minutes.front())?);
        let began = at(risen_ms).or_else(|| self.minutes.front())?;
        let before = at(risen_ms * 2).or_else(|| self.minutes.front())?;
        let (now, then) = (rates(half, newest), rates(before, began));
        let then = if then.is_empty() { rates(began, half) } else { then };
        let more = now.iter().map(|(name, rate)| (name, rate - then.get(name).copied().unwrap_or(0.0)));
        let more: Vec<(&&String, f64)> = more.filter(|(_, more)| *more > 0.0).collect();
        let all: f64 = more.iter().map(|(_, more)| more).sum();
        let (name, most) = more.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Grown { name: (**name).clone(), part: most / all })
    }
}

/// Connections held by each statement between two totals; none where no time is between them.
fn rates<'a>(
    (from_ms, from): &(u64, BTreeMap<String, u64>),
    (to_ms, to): &'a (u64, BTreeMap<String, u64>),
) -> BTreeMap<&'a String, f64> {
    let long_us = to_ms.saturating_sub(*from_ms) * 1_000;
    let rate = |(name, held): (&'a String, &u64)| {
        // What was not among the most held then is not known to have grown from nothing.
        let more = held.checked_sub(*from.get(name)?)?;
        Some((name, more as f64 / long_us as f64))
    };
    if long_us == 0 { BTreeMap::new() } else { to.iter().filter_map(rate).collect() }
}

#[cfg(test)]
mod tests {
    use poolwarden_pool::{HostId, PoolId};

    use super::*;
    use crate::{UsageKind, Used};

    fn usage(name: &str, held_us: u64) -> UsageView {
        UsageView {
            host: HostId(0),
            pool: PoolId(0),
            kind: UsageKind::Query,
            name: Some(name.to_owned()),
            query: String::new(),
            used: Used { held_us, ..Used::default() },
        }
    }

    #[test]
    fn the_statement_that_takes_more_and_more_is_named() {
        let mut statements = Statements::default();
        let (mut quick, mut slow) = (0, 0);
        for minute in 0..40_u64 {
            quick += 300_000_000;
            slow += 60_000_000 * (1 + minute.saturating_sub(20));
            let (quick, slow) = (usage("quick", quick), usage("slow", slow));
            statements.take(minute * EVERY_MS, &[&quick, &slow]);
            statements.take(minute * EVERY_MS + 1_000, &[&quick]);
        }
        let grown = statements.grown(39 * EVERY_MS, 19.0 * 60.0).unwrap();
        assert!(grown.name == "slow" && grown.part > 0.99, "{grown:?}");
        let grown = statements.grown(39 * EVERY_MS, 3_600.0).unwrap();
        assert_eq!(grown.name, "slow", "what was before was not seen: {grown:?}");
        assert_eq!(Statements::default().grown(0, 60.0), None);
    }
}
