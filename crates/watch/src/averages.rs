//! What totals that only grow did in the last whole stats period, for PgBouncer's `avg_` columns.
//!
//! Between two stamps nothing changes, so that two looks agree. Growth is kept, not rates, because
//! growth can be summed over pools before it is divided.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{HostId, PoolId, Time};

use crate::{PoolTraffic, Traffic, View};

/// PgBouncer's own `stats_period`: its users' dashboards expect it.
const PERIOD: Duration = Duration::from_secs(60);

type Pools = BTreeMap<(HostId, PoolId), Traffic>;

/// Keeps the totals of the last stamp, and the growth between the last two.
#[derive(Clone, Debug)]
pub struct Averages {
    period: Duration,
    stamp: Option<Time>,
    then: Pools,
    recent: Pools,
    recent_us: u64,
}

impl Default for Averages {
    fn default() -> Self {
        Self { period: PERIOD, stamp: None, then: Pools::new(), recent: Pools::new(), recent_us: 0 }
    }
}

impl Averages {
    /// Knows nothing yet: everything is zero until a whole period has passed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a period is from the next stamp on.
    pub fn set_period(&mut self, period: Duration) {
        self.period = period;
    }

    /// Takes a look at the totals; does something, and says so, only once a period is over. Call it at least as often.
    ///
    /// A pool that was not there at the last stamp counts from zero, one that is gone is forgotten.
    pub fn observe(&mut self, now: Time, traffic: &[PoolTraffic]) -> bool {
        let Some(stamp) = self.stamp else {
            self.stamp = Some(now);
            self.then = totals(traffic);
            return false;
        };
        let passed = now.since(stamp);
        if passed < self.period {
            return false;
        }
        let totals = totals(traffic);
        self.recent = totals
            .iter()
            .map(|(key, total)| (*key, self.then.get(key).map_or(*total, |then| total.since(then))))
            .collect();
        self.recent_us = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        self.then = totals;
        self.stamp = Some(now);
        true
    }

    /// Writes the growth of each pool, and the period's length, into their places.
    pub fn fill(&self, view: &mut View) {
        view.recent_us = self.recent_us;
        for pool in &mut view.traffic {
            pool.recent = self.recent.get(&(pool.host, pool.pool)).copied().unwrap_or_default();
        }
    }
}

fn totals(traffic: &[PoolTraffic]) -> Pools {
    traffic.iter().map(|pool| ((pool.host, pool.pool), pool.totals)).collect()
}

impl Traffic {
    /// One value from the same field of two, for every field.
    fn zip(&self, other: &Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            xact_count: join(self.xact_count, other.xact_count),
            query_count: join(self.query_count, other.query_count),
            bytes_received: join(self.bytes_received, other.bytes_received),
            bytes_sent: join(self.bytes_sent, other.bytes_sent),
            xact_time_us: join(self.xact_time_us, other.xact_time_us),
            query_time_us: join(self.query_time_us, other.query_time_us),
            wait_time_us: join(self.wait_time_us, other.wait_time_us),
            client_parse_count: join(self.client_parse_count, other.client_parse_count),
            server_parse_count: join(self.server_parse_count, other.server_parse_count),
            bind_count: join(self.bind_count, other.bind_count),
            client_login_count: join(self.client_login_count, other.client_login_count),
            server_assignment_count: join(self.server_assignment_count, other.server_assignment_count),
            idle_in_transaction_us: join(self.idle_in_transaction_us, other.idle_in_transaction_us),
            idle_warned: join(self.idle_warned, other.idle_warned),
            idle_ended: join(self.idle_ended, other.idle_ended),
            idle_spared: join(self.idle_spared, other.idle_spared),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// What was added since `then`.
    #[must_use]
    pub fn since(&self, then: &Self) -> Self {
        self.zip(then, u64::saturating_sub)
    }

    /// PgBouncer's averages of a growth over `micros`: counts and bytes per second, times per
    /// transaction, query and assignment; zero where there was none.
    #[must_use]
    pub fn average(&self, micros: u64) -> Self {
        let per_second = |grown: u64, _: u64| {
            let scaled = u128::from(grown) * 1_000_000;
            u64::try_from(scaled.checked_div(u128::from(micros)).unwrap_or(0)).unwrap_or(u64::MAX)
        };
        let each = |spent: u64, count: u64| spent.checked_div(count).unwrap_or(0);
        Self {
            xact_time_us: each(self.xact_time_us, self.xact_count),
            query_time_us: each(self.query_time_us, self.query_count),
            wait_time_us: each(self.wait_time_us, self.server_assignment_count),
            idle_in_transaction_us: each(self.idle_in_transaction_us, self.xact_count),
            ..self.zip(self, per_second)
        }
    }
}

#[cfg(test)]
mod tests {
    use poolwarden_pool::PoolKey;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn view(pools: &[(u32, u64)]) -> View {
        let pool = |&(id, times): &(u32, u64)| PoolTraffic {
            host: HostId(0),
            pool: PoolId(id),
            key: PoolKey { database: "app".into(), user: "web".into() },
            server_database: "app".into(),
            totals: busy(times),
            recent: Traffic::default(),
            query: [0; 16],
            idle_in_transaction: [0; 16],
        };
        View { traffic: pools.iter().map(pool).collect(), ..View::default() }
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
        averages.observe(at(0), &view(&[(0, 1)]).traffic);
        let mut now = view(&[(0, 3)]);
        averages.observe(at(120), &now.traffic);
        averages.fill(&mut now);
        assert_eq!((now.traffic[0].recent, now.recent_us), (busy(2), 120_000_000));
        let average = now.traffic[0].recent.average(now.recent_us);
        assert_eq!((average.xact_count, average.query_count, average.bytes_received), (10, 20, 100));
        assert_eq!((average.xact_time_us, average.query_time_us, average.wait_time_us), (1_000, 100, 5));
        assert_eq!(average.server_assignment_count, 1);
    }

    #[test]
    fn inside_a_period_nothing_changes_and_a_quiet_period_is_zero() {
        let mut averages = Averages::new();
        assert!(!averages.observe(at(0), &view(&[(0, 0)]).traffic));
        assert!(averages.observe(at(60), &view(&[(0, 1)]).traffic));
        let mut now = view(&[(0, 9)]);
        assert!(!averages.observe(at(119), &now.traffic));
        averages.fill(&mut now);
        assert_eq!(now.traffic[0].recent, busy(1));
        assert!(averages.observe(at(120), &now.traffic));
        averages.set_period(Duration::from_secs(2));
        assert!(averages.observe(at(122), &now.traffic));
        averages.fill(&mut now);
        assert_eq!(now.traffic[0].recent, Traffic::default());
    }

    #[test]
    fn a_new_pool_counts_from_zero_and_an_unknown_one_has_none() {
        let mut averages = Averages::new();
        averages.observe(at(0), &[]);
        averages.observe(at(60), &view(&[(1, 1)]).traffic);
        let mut now = view(&[(1, 1), (2, 1)]);
        averages.fill(&mut now);
        assert_eq!((now.traffic[0].recent, now.traffic[1].recent), (busy(1), Traffic::default()));
    }

    #[test]
    fn before_the_first_period_every_average_is_zero() {
        assert_eq!(busy(1).average(0).xact_count, 0);
        assert_eq!(Traffic::default().average(60_000_000), Traffic::default());
    }
}
