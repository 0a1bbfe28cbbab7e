//! What traffic asks of a pool: arrivals and hold times, recorded or declared, and the waits that follow from them.
//!
//! The estimate of waits is the M/M/c queue: A. K. Erlang, "Solution of some problems in the theory of probabilities of
//! significance in automatic telephone exchanges" (1917); as in Gross, Shortle, Thompson and Harris, "Fundamentals of Queueing
//! Theory", 4th edition, section 2.3. It takes arrivals to be independent, so it is a floor: bursts wait longer. A simulation of
//! the recorded arrivals (`simulate --recording`) is better and needs more than a review has.

use std::time::Duration;

use super::chain::{App, Bound, Maybe, Pool, Pooler};
use super::dossier::Dossier;
use super::place::Known;

/// The largest pool that is searched for: far above any PostgreSQL.
const LARGEST: u64 = 100_000;

/// Traffic of one pool at one instance of its pooler.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    /// Requests per second in the busiest second.
    pub(crate) rate: f64,
    /// Seconds each holds a server connection, on average.
    pub(crate) hold: f64,
    /// Where the rate was found.
    pub(crate) rate_at: Known<f64>,
    /// Where the hold time was found.
    pub(crate) hold_at: Known<f64>,
    /// `recorded` or `declared`.
    pub(crate) source: &'static str,
}

impl Traffic {
    /// Connections in use on average: Little's law, L = λ·h.
    pub(crate) fn load(&self) -> f64 {
        self.rate * self.hold
    }
}

/// What is recorded of a pool, and what its applications declare; whichever asks for more.
pub(crate) fn of_pool(of: &Dossier, pooler: &Pooler, pool: &Pool) -> Option<Traffic> {
    match (recorded(of, pool), declared(of, pooler, pool)) {
        (Some(recorded), Some(declared)) if declared.load() > recorded.load() => Some(declared),
        (Some(recorded), _) => Some(recorded),
        (None, declared) => declared,
    }
}

/// A recording is one instance's.
fn recorded(of: &Dossier, pool: &Pool) -> Option<Traffic> {
    let rate = of.fact(&format!("pool.{}.peak_rate_1s", pool.name.value))?;
    let hold = of.fact(&format!("pool.{}.hold_mean_ms", pool.name.value))?;
    let (per_second, seconds) = (rate.value.max(0.0), hold.value.max(0.0) / 1000.0);
    Some(Traffic { rate: per_second, hold: seconds, rate_at: rate, hold_at: hold, source: "recorded" })
}

/// Declarations are of all replicas, through all instances.
fn declared(of: &Dossier, pooler: &Pooler, pool: &Pool) -> Option<Traffic> {
    let here = of.clients(pooler).filter(|(_, other)| std::ptr::eq(*other, pool));
    let apps: Vec<&App> = here.map(|(app, _)| app).filter(|app| app.load().is_some()).collect();
    let greediest = apps.iter().max_by(|a, b| a.load().unwrap_or(0.0).total_cmp(&b.load().unwrap_or(0.0)))?;
    let rate = apps.iter().filter_map(|app| Some(app.peak_rate.as_ref()?.value)).sum::<f64>();
    let load = apps.iter().filter_map(|app| app.load()).sum::<f64>();
    let hold = if rate > 0.0 { load / rate } else { 0.0 };
    let instances = pooler.instances.value.max(1) as f64;
    Some(Traffic {
        rate: rate / instances,
        hold,
        rate_at: greediest.peak_rate.clone()?,
        hold_at: greediest.hold.clone()?.map(|hold| hold.as_secs_f64()),
        source: "declared",
    })
}

/// Seconds that one request in a hundred waits at least, with `servers` connections; `None`: the queue grows without bound.
pub(crate) fn wait_p99(rate: f64, hold: f64, servers: u64) -> Option<f64> {
    let load = rate * hold;
    let mut blocking = Blocking::new(load);
    while blocking.servers < servers.min(LARGEST) && blocking.share > f64::MIN_POSITIVE {
        blocking.more();
    }
    if load >= servers as f64 { None } else { Some(tail(&blocking, servers as f64, load, hold)) }
}

/// The smallest pool with which one request in a hundred waits longer than `level` seconds, and no more.
pub(crate) fn enough(rate: f64, hold: f64, level: f64) -> Option<u64> {
    let load = rate * hold;
    let mut blocking = Blocking::new(load);
    while blocking.servers < LARGEST {
        blocking.more();
        let servers = blocking.servers as f64;
        if servers > load && tail(&blocking, servers, load, hold) <= level {
            return Some(blocking.servers);
        }
    }
    None
}

/// The wait that is exceeded with probability 0.01: P(W > t) = C·exp(-(c - a)·t / h).
fn tail(blocking: &Blocking, servers: f64, load: f64, hold: f64) -> f64 {
    let waits = blocking.share / (1.0 - load / servers * (1.0 - blocking.share)); // Erlang C of Erlang B
    (hold / (servers - load) * (waits / 0.01).ln()).max(0.0)
}

/// Erlang B by its recursion: B(0) = 1, B(c) = a·B(c-1) / (c + a·B(c-1)).
struct Blocking {
    load: f64,
    servers: u64,
    share: f64,
}

impl Blocking {
    const fn new(load: f64) -> Self {
        Self { load, servers: 0, share: 1.0 }
    }

    fn more(&mut self) {
        self.servers += 1;
        let offered = self.load * self.share;
        self.share = offered / (self.servers as f64 + offered);
    }
}

/// The time limit that waits are held against, in seconds, see [`gives_up`].
pub(crate) fn patience(of: &Dossier, pooler: &Pooler, pool: &Pool) -> Option<f64> {
    gives_up(of, pooler, pool).map(|known| known.value.as_secs_f64())
}

/// When the first clients of a pool give up: the smaller of the pool's longest wait and the shortest request timeout of its
/// applications.
pub(crate) fn gives_up(of: &Dossier, pooler: &Pooler, pool: &Pool) -> Maybe<Duration> {
    let here = of.clients(pooler).filter(|(_, other)| std::ptr::eq(*other, pool));
    let requests = here.filter_map(|(app, _)| app.request_timeout.as_ref());
    let limits = requests.chain([&pool.max_wait]);
    let spans = limits.filter_map(|known| Some(Known { value: known.value.span()?, place: known.place.clone() }));
    spans.min_by_key(|known| known.value)
}

/// The value that keeps the pool of one instance as small as it is: its size, a user's limit, its database's, or the host budget.
pub(crate) fn bounding<'a>(pooler: &'a Pooler, pool: &'a Pool) -> &'a Known<Bound> {
    let most = pooler.pool_most(pool);
    if let Some((_, limit)) = pooler.tightest_user(pool) {
        return limit;
    }
    let budget = pooler.budgets.get(&pool.server).filter(|budget| budget.value == most);
    if pool.most() == most && pool.max_connections.value != most {
        return &pool.size;
    }
    if pool.max_connections.value == most { &pool.max_connections } else { budget.unwrap_or(&pool.size) }
}

#[cfg(test)]
mod tests {
    use super::{enough, wait_p99};

    #[test]
    fn waits_agree_with_the_tables_of_erlang() {
        // 20 connections, 10 ms, 60 % busy: 2.4 in a hundred wait, and one in a hundred 1.1 ms or longer.
        let wait = wait_p99(1200.0, 0.010, 20).unwrap_or(f64::NAN);
        assert!((wait - 0.0011).abs() < 0.000_01, "{wait}");
        // One connection: C = rho = 0.5, p99 = h / (1 - rho)·ln(50) = 7.824 h.
        let one = wait_p99(0.5, 1.0, 1).unwrap_or(f64::NAN);
        assert!((one - 7.824).abs() < 0.001, "{one}");
        assert_eq!(wait_p99(20.0, 1.0, 20), None);
    }

    #[test]
    fn the_smallest_pool_meets_the_level_and_one_less_does_not() {
        let size = enough(1200.0, 0.010, 0.005).unwrap_or(0);
        assert!(wait_p99(1200.0, 0.010, size).is_some_and(|wait| wait <= 0.005));
        assert!(wait_p99(1200.0, 0.010, size - 1).is_none_or(|wait| wait > 0.005));
    }

    #[test]
    fn no_pool_is_searched_for_beyond_a_hundred_thousand() {
        assert_eq!(enough(99_999.5, 1.0, 100.0), Some(100_000));
        assert_eq!(enough(100_000.5, 1.0, 100.0), None);
    }
}
