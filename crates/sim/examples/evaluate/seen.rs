//! What one world was like, second by second, and what the watcher said of it. Whoever judges reads this and the truth; the watcher
//! is shown pictures alone.

use poolwarden_config::Config;
use poolwarden_sim::queueing::play_watched;
use poolwarden_sim::scenario;
use poolwarden_switch::pool::{PoolSnapshot, WAIT_BUCKETS};
use poolwarden_watch::{Alerts, LeaseState, Notice, Urgency, View, Watch};

use crate::stock::Stock;
use crate::worlds::World;

/// One second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    /// Lent and waited for, in the mean.
    pub(crate) demand: f64,
    /// More than one in twenty waited for longer than a tenth of a second, or somebody was refused.
    pub(crate) is_bad: bool,
    /// Transactions that have been idle for ten seconds and more.
    pub(crate) forgotten: usize,
    /// Connections of others to PostgreSQL.
    pub(crate) foreign: usize,
}

/// An alert that was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) at_s: f64,
    pub(crate) urgency: Urgency,
    pub(crate) cause: Option<&'static str>,
}

pub(crate) struct Seen {
    pub(crate) seconds: Vec<Second>,
    pub(crate) told: Vec<Told>,
    /// When the first cause was supported by the watcher's answer, and which, from the trouble on.
    pub(crate) named: Vec<(f64, &'static str)>,
    /// When each stock rule fired first.
    pub(crate) stock: Vec<(&'static str, Option<f64>)>,
    /// Seconds of processor that the watcher took.
    pub(crate) watched_s: f64,
}

/// A wait that is noticed, in nanoseconds: one of the buckets' bounds.
const NOTICED: u64 = 100_000_000;

/// Plays a world.
pub(crate) fn play(world: &World) -> Seen {
    let scenario = scenario::read(&world.text).unwrap_or_else(|faults| panic!("{}\n{faults:#?}", world.text));
    let text = format!("[poolwarden]\nguard = \"observe\"\n{}", scenario.pooler);
    let (config, findings) = Config::parse(&text, |_| Err("no secrets".to_owned()));
    let config = config.unwrap_or_else(|| panic!("{text}\n{findings:#?}"));
    let (mut watch, mut alerts, mut stock) = (Watch::default(), Alerts::default(), Stock::default());
    let mut seen = Seen { seconds: Vec::new(), told: Vec::new(), named: Vec::new(), stock: Vec::new(), watched_s: 0.0 };
    let mut last: Option<PoolSnapshot> = None;
    let mut look = |view: &View| {
        let at_s = view.uptime_ms() as f64 / 1e3;
        let began = std::time::Instant::now();
        watch.observe(view);
        let why = watch.why(view, None);
        let notices = alerts.take(view, &why);
        seen.watched_s += began.elapsed().as_secs_f64();
        for notice in notices {
            if let Notice::Opened(alert) | Notice::Changed(alert) = notice {
                seen.told.push(Told { at_s, urgency: alert.urgency, cause: alert.cause.map(|cause| cause.name()) });
            }
        }
        let top = why.pools.first().and_then(|pool| pool.causes.first());
        if let Some(top) = top.filter(|top| top.verdict == poolwarden_watch::why::Verdict::Supported) {
            seen.named.push((at_s, top.code.name()));
        }
        stock.take(at_s, view);
        let pool = &view.hosts[0].snapshot.pools[0];
        seen.seconds.push(second(view, last.as_ref(), pool));
        last = Some(pool.clone());
    };
    play_watched(&scenario, &config, &mut look).unwrap_or_else(|why| panic!("{}: {why}", world.name));
    seen.stock = stock.fired();
    seen
}

fn second(view: &View, last: Option<&PoolSnapshot>, pool: &PoolSnapshot) -> Second {
    let zero = [0_u64; 16];
    let more = |now: &[u64; 16], then: &[u64; 16]| -> u64 { now.iter().zip(then).map(|(now, then)| now - then).sum() };
    let (waits, refused) = last.map_or((&zero, &zero), |last| (&last.wait_granted, &last.refused));
    let late_from = WAIT_BUCKETS.partition_point(|bound| *bound <= NOTICED);
    let late: u64 = (late_from..16).map(|at| pool.wait_granted[at] - waits[at]).sum();
    let granted = more(&pool.wait_granted, waits);
    let lent = pool.lent_nanos - last.map_or(0, |last| last.lent_nanos);
    let waited = pool.wait_nanos.iter().sum::<u64>() - last.map_or(0, |last| last.wait_nanos.iter().sum());
    let idles = |of: &poolwarden_watch::ServerView| {
        let lease = of.lease.as_ref();
        lease.is_some_and(|lease| lease.state == LeaseState::IdleInTransaction && lease.state_us >= 10_000_000)
    };
    let backends = view.hosts[0].activity.iter().flat_map(|activity| &activity.backends);
    let oldest_late = pool.waiting > 0 && pool.oldest_wait.as_nanos() > u128::from(NOTICED) && granted == 0;
    Second {
        demand: (lent + waited) as f64 / 1e9,
        is_bad: late * 20 > granted || more(&pool.refused, refused) > 0 || oldest_late,
        forgotten: view.servers.iter().filter(|of| idles(of)).count(),
        foreign: backends.filter(|of| !of.own).count(),
    }
}

impl Seen {
    /// When clients felt it first: in five of ten seconds, after `from_s`.
    pub(crate) fn onset(&self, from_s: f64) -> Option<f64> {
        let from = from_s.max(0.0) as usize;
        let window = |end: usize| &self.seconds[end.saturating_sub(9).max(from)..=end];
        let bad = |end: usize| window(end).iter().filter(|second| second.is_bad).count() >= 5;
        (from..self.seconds.len()).find(|end| bad(*end)).map(|end| {
            let first = window(end).iter().position(|second| second.is_bad).unwrap_or(0);
            (end.saturating_sub(9).max(from) + first) as f64
        })
    }
}
