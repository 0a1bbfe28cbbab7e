//! Questions to a run: what it comes to, how sure that is, what would be enough, and what it hangs on.
//!
//! Whatever can be played can be asked, a scenario or a recording. An interval holds nine tenths of what other traffic of the same
//! kind came to: of a scenario other seeds, of a recording its own stretches drawn anew.

use std::time::Duration;

use poolwarden_switch::pool::{Guard, HostSettings, Limit, PoolKey};

use crate::queueing::{Course, PoolCourse};

/// No pool is tried with more connections than this.
const LARGEST: u32 = 4096;
/// Beyond so many times the concurrency that was seen, nothing is known of PostgreSQL.
const BEYOND: f64 = 1.25;
/// A share of failed requests is not known better than this.
const CLOSE_SHARE: f64 = 0.01;
/// Nor a wait than this, or this part of it.
const CLOSE_WAIT: (Duration, f64) = (Duration::from_millis(5), 0.2);
/// Of fewer requests nobody can say what one in a hundred of them waits.
const FEWEST: u64 = 1_000;

/// How a run differs from what it is a run of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// So many times the requests.
    pub demand: f64,
    /// So many times the work of each.
    pub work: f64,
    /// So many times what connects take.
    pub connect: f64,
    /// Which other traffic of the same kind; 0: this one.
    pub draw: u64,
}

impl Change {
    /// None.
    pub const NONE: Self = Self { demand: 1.0, work: 1.0, connect: 1.0, draw: 0 };
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Step by step.
    pub course: Course,
    /// The most server connections lent at once, of all pools.
    pub most_lent: u32,
    /// Retries that were recorded and not made.
    pub spared: u64,
    /// Requests that came later than recorded.
    pub delayed: u64,
}

/// Something that can be played again and again.
pub trait Play {
    /// Plays it under `settings`. `told` hears which part of it is done, now and then.
    ///
    /// # Errors
    /// It cannot be played under these settings, and what to do about it.
    fn play(&self, settings: &HostSettings, change: Change, told: &mut dyn FnMut(f64)) -> Result<Outcome, String>;
    /// About how many requests a run of it makes.
    fn requests(&self) -> u64;
    /// The most connections that did work at once in what it was made of; `None`: PostgreSQL is a model all along.
    fn seen(&self) -> Option<u32>;
}

/// What is enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The longest 99th percentile of waits.
    pub wait_p99: Duration,
    /// The greatest share of requests that fail: refused, or given up.
    pub failed: f64,
}

/// Nine tenths of what it might have come to, from where and to where.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// The 99th percentile of waits.
    pub wait_p99: (Duration, Duration),
    /// The share of requests that fail.
    pub failed: (f64, f64),
}

/// The smallest size that is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smallest {
    /// This one.
    Size(u32),
    /// None is: this limit keeps requests waiting whatever the size.
    None(Option<Limit>),
}

/// What one pool came to under a changed demand.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// The change.
    pub change: Change,
    /// Which pool.
    pub key: PoolKey,
    /// The 99th percentile of waits.
    pub wait_p99: Duration,
    /// The share of requests that fail.
    pub failed: f64,
    /// How sure that is.
    pub interval: Interval,
}

/// The share of requests that failed.
#[must_use]
pub fn failed(pool: &PoolCourse) -> f64 {
    let ended = pool.granted + pool.refusals() + pool.left;
    if ended == 0 { 0.0 } else { (pool.refusals() + pool.left) as f64 / ended as f64 }
}

impl Goal {
    /// Whether a pool came to it.
    #[must_use]
    pub fn is_met(&self, pool: &PoolCourse) -> bool {
        pool.waits.quantile(0.99) <= self.wait_p99 && failed(pool) <= self.failed
    }
}

impl Interval {
    /// Whether it is narrow enough to say anything by.
    #[must_use]
    pub fn is_close(&self) -> bool {
        let (from, to) = self.wait_p99;
        let wide = (to.saturating_sub(from) / 2) > CLOSE_WAIT.0.max(to.mul_f64(CLOSE_WAIT.1));
        !wide && (self.failed.1 - self.failed.0) / 2.0 <= CLOSE_SHARE.max(self.failed.1 * CLOSE_WAIT.1)
    }
}

impl Outcome {
    /// The pool of this name.
    #[must_use]
    pub fn pool(&self, key: &PoolKey) -> Option<&PoolCourse> {
        self.course.pools.iter().find(|pool| pool.key == *key)
    }

    /// Whether more worked at once than was ever seen to.
    #[must_use]
    pub fn is_extrapolated(&self, seen: Option<u32>) -> bool {
        seen.is_some_and(|seen| f64::from(self.most_lent) > BEYOND * f64::from(seen))
    }
}

/// Whether a pool had too few requests to say anything.
#[must_use]
pub fn is_too_few(pool: &PoolCourse) -> bool {
    pool.asked < FEWEST
}

/// How sure the outcome of every pool is, in the order of the pools of `outcome`, by so many other runs.
///
/// # Errors
/// As [`Play::play`].
pub fn intervals(
    play: &dyn Play,
    settings: &HostSettings,
    (outcome, change): (&Outcome, Change),
    runs: u64,
    told: &mut dyn FnMut(f64),
) -> Result<Vec<Interval>, String> {
    let mut found: Vec<(Vec<Duration>, Vec<f64>)> = vec![(Vec::new(), Vec::new()); outcome.course.pools.len()];
    for draw in 1..=runs {
        let mut part = |part: f64| told(((draw - 1) as f64 + part) / runs as f64);
        let other = play.play(settings, Change { draw, ..change }, &mut part)?;
        for (found, pool) in found.iter_mut().zip(&outcome.course.pools) {
            if let Some(pool) = other.pool(&pool.key) {
                found.0.push(pool.waits.quantile(0.99));
                found.1.push(failed(pool));
            }
        }
    }
    Ok(found.into_iter().map(|(waits, shares)| interval(waits, shares)).collect())
}

fn interval(mut waits: Vec<Duration>, mut shares: Vec<f64>) -> Interval {
    waits.sort_unstable();
    shares.sort_unstable_by(f64::total_cmp);
    let place = |share: f64, count: usize| ((share * count as f64) as usize).min(count.saturating_sub(1));
    let at = |share| waits.get(place(share, waits.len())).copied().unwrap_or_default();
    let of = |share| shares.get(place(share, shares.len())).copied().unwrap_or_default();
    Interval { wait_p99: (at(0.05), at(0.95)), failed: (of(0.05), of(0.95)) }
}

/// The smallest size of a pool that is enough, everything else being as it is.
///
/// # Errors
/// As [`Play::play`].
pub fn smallest(
    play: &dyn Play,
    settings: &HostSettings,
    key: &PoolKey,
    goal: Goal,
    told: &mut dyn FnMut(f64),
) -> Result<Smallest, String> {
    let mut done = 0.0;
    let mut meets = |size: u32| -> Result<(bool, Option<Limit>), String> {
        let outcome = play.play(&with_size(settings, key, size), Change::NONE, &mut |_| ())?;
        done += 1.0;
        told(done / (done + 4.0)); // nobody knows how many there will be
        let pool = outcome.pool(key);
        Ok((pool.is_some_and(|pool| goal.is_met(pool)), pool.and_then(PoolCourse::binding)))
    };
    let (mut low, mut high) = (0, 1);
    loop {
        let (is_met, binding) = meets(high)?;
        if is_met {
            break;
        }
        // What is waited for is no longer the pool's own size: a larger one is of no use.
        if high == LARGEST || binding.is_some_and(|limit| limit != Limit::PoolSize && limit != Limit::Connects) {
            return Ok(Smallest::None(binding));
        }
        (low, high) = (high, (high * 2).min(LARGEST));
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if meets(middle)?.0 { high = middle } else { low = middle }
    }
    Ok(Smallest::Size(high))
}

/// The same settings, but for the size of one pool.
#[must_use]
pub fn with_size(settings: &HostSettings, key: &PoolKey, size: u32) -> HostSettings {
    let mut settings = settings.clone();
    if let Some(of) = settings.users.get_mut(&key.user).and_then(|user| user.size.as_mut()) {
        *of = size;
    }
    let database = match settings.databases.get_mut(&key.database) {
        Some(database) => Some(database),
        None => settings.any.as_mut(),
    };
    if let Some(database) = database {
        database.size = size;
        database.min_size = database.min_size.min(size);
    }
    settings
}

/// As PgBouncer would: oldest first, nothing shared by class, nothing shed, one connect at a time.
#[must_use]
pub fn as_pgbouncer(settings: &HostSettings) -> HostSettings {
    HostSettings { guard: Guard::Observe, connects_start: 1, connects_max: 1, ..settings.clone() }
}

/// What it hangs on: each pool under more and less demand, longer work, slower connects; each with its interval by so many runs.
///
/// # Errors
/// As [`Play::play`].
pub fn sensitivity(
    play: &dyn Play,
    settings: &HostSettings,
    runs: u64,
    told: &mut dyn FnMut(f64),
) -> Result<Vec<Sensitivity>, String> {
    const CHANGES: [Change; 7] = [
        Change { demand: 0.8, ..Change::NONE },
        Change { demand: 1.25, ..Change::NONE },
        Change { demand: 1.5, ..Change::NONE },
        Change { demand: 2.0, ..Change::NONE },
        Change { work: 1.25, ..Change::NONE },
        Change { work: 1.5, ..Change::NONE },
        Change { connect: 4.0, ..Change::NONE },
    ];
    let mut found = Vec::new();
    for (place, change) in CHANGES.into_iter().enumerate() {
        let mut part = |part: f64| told((place as f64 + part) / CHANGES.len() as f64);
        let outcome = play.play(settings, change, &mut |_| ())?;
        let intervals = intervals(play, settings, (&outcome, change), runs, &mut part)?;
        found.extend(outcome.course.pools.iter().zip(intervals).map(|(pool, interval)| Sensitivity {
            change,
            key: pool.key.clone(),
            wait_p99: pool.waits.quantile(0.99),
            failed: failed(pool),
            interval,
        }));
    }
    Ok(found)
}
