//! How fast the share of good requests is used up: 99.9 % are to be granted within 50 ms. Many at once for a short while and fewer for
//! long both count (the Site Reliability Workbook's windows and rates, chapter 5).

use std::collections::VecDeque;

use poolwarden_pool::{PoolSnapshot, WAIT_BUCKETS};

use super::Subject;
use crate::View;

/// Granted within this, a request is good: one of the bounds of the buckets.
const GOOD_NANOS: u64 = 50_000_000;
/// So many may be bad.
const MAY_BE_BAD: f64 = 0.001;
/// Rate, long window and short window, in minutes.
const RULES: [(f64, usize, usize); 2] = [(14.4, 60, 5), (6.0, 360, 30)];
/// Fewer requests than this a minute say nothing.
const LEAST_A_MINUTE: f64 = 30.0;
const MINUTE_MS: u64 = 60_000;

/// Good and bad requests, minute by minute.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// Totals at the end of each minute, oldest first.
    minutes: VecDeque<(u64, Count)>,
    now: Count,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    all: u64,
    bad: u64,
}

/// A window in which too many were bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Burn {
    /// Their share.
    pub(super) bad: f64,
    /// How long the window is, in seconds.
    pub(super) long_s: f64,
}

impl Budget {
    /// Takes the totals of now; without a pool there are none.
    pub(super) fn take(&mut self, view: &View, subject: &Subject) {
        let Some((database, user)) = &subject.pool else { return };
        let is_it = |pool: &&PoolSnapshot| pool.key.database == *database && pool.key.user == *user;
        let host = view.hosts.iter().find(|host| host.name == subject.server);
        let Some(pool) = host.and_then(|host| host.snapshot.pools.iter().find(is_it)) else { return };
        self.now = count(pool);
        let is_due = self.minutes.back().is_none_or(|(at_ms, _)| view.now_ms >= at_ms + MINUTE_MS);
        // A pool that was retired and is there again counts from zero.
        if self.minutes.back().is_some_and(|(_, then)| then.all > self.now.all) {
            self.minutes.clear();
        }
        if is_due {
            self.minutes.push_back((view.now_ms, self.now));
            if self.minutes.len() > RULES[1].1 + 1 {
                self.minutes.pop_front();
            }
        }
    }

    /// The first rule that is broken, over both of its windows.
    pub(super) fn burns(&self) -> Option<Burn> {
        let broken = |(rate, long, short): (f64, usize, usize)| {
            let (short, long) = (self.share(short)?, self.share(long)?);
            (short.bad >= rate * MAY_BE_BAD && long.bad >= rate * MAY_BE_BAD).then_some(short)
        };
        RULES.into_iter().find_map(broken)
    }

    /// The share of bad ones in the last minutes; `None` before there were so many, or with next to no requests.
    fn share(&self, minutes: usize) -> Option<Burn> {
        let place = self.minutes.len().checked_sub(minutes)?;
        let (_, then) = self.minutes.get(place)?;
        let (all, bad) = (self.now.all - then.all, self.now.bad - then.bad);
        let enough = all as f64 >= LEAST_A_MINUTE * minutes as f64;
        enough.then(|| Burn { bad: bad as f64 / all as f64, long_s: minutes as f64 * 60.0 })
    }
}

fn count(pool: &PoolSnapshot) -> Count {
    let good_buckets = WAIT_BUCKETS.partition_point(|bound| *bound <= GOOD_NANOS);
    let granted: u64 = pool.wait_granted.iter().sum();
    let good: u64 = pool.wait_granted[..good_buckets].iter().sum();
    let failed = pool.refused.iter().sum::<u64>() + pool.abandoned;
    Count { all: granted + failed, bad: granted - good + failed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(minutes: impl Iterator<Item = (u64, u64)>) -> Budget {
        let mut budget = Budget::default();
        for (at, (all, bad)) in (0_u64..).zip(minutes) {
            budget.now.all += all;
            budget.now.bad += bad;
            budget.minutes.push_back((at * MINUTE_MS, budget.now));
        }
        budget
    }

    #[test]
    fn many_bad_ones_for_an_hours_worth_burn_and_few_do_not() {
        let steady = |bad: u64, minutes: usize| budget(std::iter::repeat_n((10_000, bad), minutes)).burns();
        assert_eq!(steady(5, 400), None);
        let burn = steady(150, 61).expect("one and a half in a hundred for an hour");
        assert!((burn.bad - 0.015).abs() < 1e-9 && burn.long_s == 300.0, "{burn:?}");
        assert_eq!(steady(70, 61), None, "seven in a thousand: not for an hour");
        assert_eq!(steady(70, 361).map(|burn| burn.long_s), Some(1_800.0), "but for six");
        assert_eq!(steady(150, 40), None, "an hour was not seen");
        let over = budget((0..100).map(|at| (10_000, if at < 95 { 200 } else { 0 })));
        assert_eq!(over.burns(), None, "it is over");
        assert_eq!(budget(std::iter::repeat_n((20, 20), 400)).burns(), None, "next to nobody comes");
    }
}
