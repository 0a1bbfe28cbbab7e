//! What one pool did between two pictures: growth of its totals, and how its connections were used at the end of it.

use std::time::Duration;

use poolwarden_pool::{Limit, PoolSnapshot, WAIT_BUCKETS};

use crate::occupancy::Occupancy;

/// Growth between two snapshots of one pool; times in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Span {
    /// When it ended, in milliseconds since 1970 UTC.
    pub(crate) ended_ms: u64,
    /// How long it was.
    pub(crate) long_us: u64,
    pub(crate) granted: u64,
    pub(crate) refused: u64,
    pub(crate) abandoned: u64,
    /// Requests that came again at once after a refusal.
    pub(crate) reattempts: u64,
    pub(crate) leases: u64,
    pub(crate) lent_us: u64,
    pub(crate) idle_us: u64,
    pub(crate) connects: u64,
    pub(crate) connects_failed: u64,
    /// Waiting by limit, in the order of `Limit::ALL`.
    pub(crate) waited_us: [u64; 16],
    /// Refused by limit, likewise.
    pub(crate) refused_by: [u64; 16],
    /// Waits of granted requests by bucket, as `PoolSnapshot::wait_granted`.
    pub(crate) wait_granted: [u64; 16],
    /// Hold times of ended leases by bucket, as `PoolSnapshot::hold`.
    pub(crate) hold: [u64; 16],
    /// How connections were used at its end, added up over the spans that were added up.
    pub(crate) occupancy: Occupancy,
}

impl Span {
    /// What `now` has more than `then`, which is an earlier snapshot of the same pool.
    pub(crate) fn between(then: &PoolSnapshot, now: &PoolSnapshot) -> Self {
        let less = u64::saturating_sub;
        let each = |now: &[u64; 16], then: &[u64; 16]| std::array::from_fn(|at| less(now[at], then[at]));
        let refused_by: [u64; 16] = each(&now.refused, &then.refused);
        let reattempts = |of: &PoolSnapshot| of.classes.iter().map(|class| class.reattempts).sum::<u64>();
        Self {
            granted: less(now.granted, then.granted),
            refused: refused_by.iter().sum(),
            abandoned: less(now.abandoned, then.abandoned),
            reattempts: less(reattempts(now), reattempts(then)),
            leases: less(now.leases, then.leases),
            lent_us: less(now.lent_nanos, then.lent_nanos) / 1_000,
            idle_us: less(now.idle_in_transaction_nanos, then.idle_in_transaction_nanos) / 1_000,
            connects: less(now.connects, then.connects),
            connects_failed: less(now.connects_failed, then.connects_failed),
            waited_us: each(&now.wait_nanos, &then.wait_nanos).map(|nanos: u64| nanos / 1_000),
            refused_by,
            wait_granted: each(&now.wait_granted, &then.wait_granted),
            hold: each(&now.hold, &then.hold),
            ..Self::default()
        }
    }

    /// Both together; the end is that of the later one.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let each = |a: &[u64; 16], b: &[u64; 16]| std::array::from_fn(|at| a[at] + b[at]);
        Self {
            ended_ms: self.ended_ms.max(other.ended_ms),
            long_us: self.long_us + other.long_us,
            granted: self.granted + other.granted,
            refused: self.refused + other.refused,
            abandoned: self.abandoned + other.abandoned,
            reattempts: self.reattempts + other.reattempts,
            leases: self.leases + other.leases,
            lent_us: self.lent_us + other.lent_us,
            idle_us: self.idle_us + other.idle_us,
            connects: self.connects + other.connects,
            connects_failed: self.connects_failed + other.connects_failed,
            waited_us: each(&self.waited_us, &other.waited_us),
            refused_by: each(&self.refused_by, &other.refused_by),
            wait_granted: each(&self.wait_granted, &other.wait_granted),
            hold: each(&self.hold, &other.hold),
            occupancy: self.occupancy.plus(&other.occupancy),
        }
    }

    /// Requests that came.
    pub(crate) fn arrivals(&self) -> u64 {
        self.granted + self.refused + self.abandoned
    }

    /// Per second of it; 0 of one without length.
    pub(crate) fn per_second(&self, count: u64) -> f64 {
        if self.long_us == 0 { 0.0 } else { count as f64 * 1e6 / self.long_us as f64 }
    }

    /// All waiting.
    pub(crate) fn waited(&self) -> u64 {
        self.waited_us.iter().sum()
    }

    /// The mean number of connections lent.
    pub(crate) fn lent(&self) -> f64 {
        ratio(self.lent_us, self.long_us)
    }

    /// The mean number of requests waiting.
    pub(crate) fn waiting(&self) -> f64 {
        ratio(self.waited(), self.long_us)
    }

    /// Mean wait by Little's law; `None` where nobody came.
    pub(crate) fn wait_us(&self) -> Option<f64> {
        (self.arrivals() > 0).then(|| self.waited() as f64 / self.arrivals() as f64)
    }

    /// Mean hold by Little's law: leases that never end count for what they take. `None` where nothing was lent and returned.
    pub(crate) fn hold_us(&self) -> Option<f64> {
        (self.leases > 0).then(|| self.lent_us as f64 / self.leases as f64)
    }

    /// Share of the waiting that was for this limit, 0 to 1.
    pub(crate) fn share(&self, limit: Limit) -> f64 {
        ratio(self.waited_us[limit.index()], self.waited())
    }
}

/// The upper bound, in microseconds, of the bucket in which the `quantile` of these ended leases lies; `None` of none.
pub(crate) fn quantile_us(hold: &[u64; 16], quantile: f64) -> Option<f64> {
    let all: u64 = hold.iter().sum();
    let rank = (all as f64 * quantile).ceil().max(1.0);
    let mut sum = 0;
    let bucket = hold.iter().position(|count| {
        sum += count;
        sum as f64 >= rank
    })?;
    // what is above the last bound is at least twice that
    let nanos = WAIT_BUCKETS.get(bucket).copied().unwrap_or(WAIT_BUCKETS[WAIT_BUCKETS.len() - 1] * 2);
    (all > 0).then_some(nanos as f64 / 1e3)
}

/// `a / b`, 0 where there is nothing to divide by.
pub(crate) fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// Whole milliseconds.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
