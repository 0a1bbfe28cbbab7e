//! Rates over the last whole stats period, from totals that only grow: PgBouncer's `avg_` columns.
//!
//! Counts and bytes are per second; times are per transaction, per query and per assignment, zero
//! where there was none. Between two stamps nothing changes, so that two looks agree.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{PoolId, Time};

use crate::{PoolTraffic, Traffic};

/// PgBouncer's own `stats_period`: its users' dashboards expect it.
const PERIOD: Duration = Duration::from_secs(60);

/// Keeps the totals of the last stamp, and the averages between the last two.
#[derive(Clone, Debug)]
pub struct Averages {
    stamp: Option<Time>,
    then: BTreeMap<(usize, PoolId), Traffic>,
    averages: BTreeMap<(usize, PoolId), Traffic>,
}

impl Default for Averages {
    fn default() -> Self {
        Self::new()
    }
}

impl Averages {
    /// Knows nothing yet: every average is zero until a whole period has passed.
    #[must_use]
    pub const fn new() -> Self {
        Self { stamp: None, then: BTreeMap::new(), averages: BTreeMap::new() }
    }

    /// Takes a look at the totals; does something only once a period is over. Call it at least as often.
    ///
    /// A pool that was not there at the last stamp counts from zero, one that is gone is forgotten.
    pub fn observe(&mut self, now: Time, traffic: &[PoolTraffic]) {
        let Some(stamp) = self.stamp else {
            self.stamp = Some(now);
            self.then = totals(traffic);
            return;
        };
        let passed = now.since(stamp);
        if passed < PERIOD {
            return;
        }
        let totals = totals(traffic);
        self.averages = totals
            .iter()
            .map(|(key, new)| (*key, average(new, &self.then.get(key).copied().unwrap_or_default(), passed)))
            .collect();
        self.then = totals;
        self.stamp = Some(now);
    }

    /// Writes each pool's average into its place.
    pub fn fill(&self, traffic: &mut [PoolTraffic]) {
        for pool in traffic {
            pool.average = self.averages.get(&(pool.host, pool.pool)).copied().unwrap_or_default();
        }
    }
}

fn totals(traffic: &[PoolTraffic]) -> BTreeMap<(usize, PoolId), Traffic> {
    traffic.iter().map(|pool| ((pool.host, pool.pool), pool.totals)).collect()
}

fn average(new: &Traffic, old: &Traffic, passed: Duration) -> Traffic {
    let micros = passed.as_micros().max(1);
    let rate = |new: u64, old: u64| {
        let grown = u128::from(new.saturating_sub(old));
        u64::try_from(grown * 1_000_000 / micros).unwrap_or(u64::MAX)
    };
    let each = |time: (u64, u64), count: (u64, u64)| {
        let spent = time.0.saturating_sub(time.1);
        spent.checked_div(count.0.saturating_sub(count.1)).unwrap_or(0)
    };
    let xacts = (new.xact_count, old.xact_count);
    Traffic {
        xact_count: rate(new.xact_count, old.xact_count),
        query_count: rate(new.query_count, old.query_count),
        bytes_received: rate(new.bytes_received, old.bytes_received),
        bytes_sent: rate(new.bytes_sent, old.bytes_sent),
        xact_time_us: each((new.xact_time_us, old.xact_time_us), xacts),
        query_time_us: each((new.query_time_us, old.query_time_us), (new.query_count, old.query_count)),
        wait_time_us: each(
            (new.wait_time_us, old.wait_time_us),
            (new.server_assignment_count, old.server_assignment_count),
        ),
        client_parse_count: rate(new.client_parse_count, old.client_parse_count),
        server_parse_count: rate(new.server_parse_count, old.server_parse_count),
        bind_count: rate(new.bind_count, old.bind_count),
        client_login_count: rate(new.client_login_count, old.client_login_count),
        server_assignment_count: rate(new.server_assignment_count, old.server_assignment_count),
        idle_in_transaction_us: each((new.idle_in_transaction_us, old.idle_in_transaction_us), xacts),
    }
}

#[cfg(test)]
mod tests {
    use poolwarden_pool::PoolKey;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn pool(id: u32, totals: Traffic) -> PoolTraffic {
        PoolTraffic {
            host: 0,
            pool: PoolId(id),
            key: PoolKey { database: "app".into(), user: "web".into() },
            server_database: "app".into(),
            totals,
            average: Traffic::default(),
        }
    }

    fn busy(times: u64) -> Traffic {
        Traffic {
            xact_count: 600 * times,
            query_count: 1_200 * times,
            bytes_received: 6_000 * times,
            xact_time_us: 600_000 * times,
            query_time_us: 120_000 * times,
            wait_time_us: 300 * times,
            server_assignment_count: 60 * times,
            ..Traffic::default()
        }
    }

    #[test]
    fn counts_are_per_second_and_times_are_per_event() {
        let mut averages = Averages::new();
        averages.observe(at(0), &[pool(0, busy(1))]);
        let mut now = [pool(0, busy(3))];
        averages.observe(at(120), &now);
        averages.fill(&mut now);
        let average = now[0].average;
        assert_eq!((average.xact_count, average.query_count, average.bytes_received), (10, 20, 100));
        assert_eq!((average.xact_time_us, average.query_time_us, average.wait_time_us), (1_000, 100, 5));
        assert_eq!(average.server_assignment_count, 1);
    }

    #[test]
    fn inside_a_period_nothing_changes_and_a_quiet_period_is_zero() {
        let mut averages = Averages::new();
        averages.observe(at(0), &[pool(0, Traffic::default())]);
        averages.observe(at(60), &[pool(0, busy(1))]);
        let mut now = [pool(0, busy(9))];
        averages.observe(at(119), &now);
        averages.fill(&mut now);
        assert_eq!(now[0].average.xact_count, 10);
        averages.observe(at(120), &now);
        averages.observe(at(180), &now);
        averages.fill(&mut now);
        assert_eq!(now[0].average, Traffic::default());
    }

    #[test]
    fn a_new_pool_counts_from_zero_and_an_unknown_one_has_none() {
        let mut averages = Averages::new();
        averages.observe(at(0), &[]);
        averages.observe(at(60), &[pool(1, busy(1))]);
        let mut now = [pool(1, busy(1)), pool(2, busy(1))];
        averages.fill(&mut now);
        assert_eq!((now[0].average.xact_count, now[1].average.xact_count), (10, 0));
    }
}
