//! What a rehearsal answers, before it is printed.

use std::time::Duration;

use poolwarden_pool::{HostSettings, PoolKey};
use poolwarden_sim::queueing::{Moment, PoolCourse};
use poolwarden_sim::study::{self, Change, Goal, Interval, Outcome, Play, Sensitivity, Smallest, failed};
use poolwarden_sim::{Quantiles, Spread};

use super::text::ms;

/// All of it.
pub(crate) struct Answer {
    /// What was played.
    pub(crate) title: String,
    pub(crate) seed: u64,
    /// The server of its pools.
    pub(crate) server: String,
    /// What was measured when it was recorded.
    pub(crate) measured: Vec<Measured>,
    /// First as it is, then with other settings.
    pub(crate) variants: Vec<Variant>,
    /// Of the first.
    pub(crate) sensitivity: Vec<Sensitivity>,
    pub(crate) goal: Goal,
    /// What is assumed, and what could not be read.
    pub(crate) notes: Vec<String>,
}

/// One pool, as it was.
pub(crate) struct Measured {
    pub(crate) key: PoolKey,
    pub(crate) waits: Spread,
    pub(crate) granted: u64,
    pub(crate) failed: u64,
    pub(crate) step: Duration,
    pub(crate) moments: Vec<Moment>,
}

/// Under one set of settings.
pub(crate) struct Variant {
    /// `as it is`, or what was set.
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// In the order of the outcome's pools; empty where nobody could say.
    pub(crate) intervals: Vec<Interval>,
    pub(crate) smallest: Vec<Smallest>,
    /// More worked at once than was ever seen to.
    pub(crate) is_extrapolated: bool,
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Simulated requests that intervals and tables may cost.
    pub(crate) requests: u64,
    pub(crate) smallest: bool,
    pub(crate) sensitivity: bool,
}

impl Effort {
    /// Everything that is worth its time.
    pub(crate) const ALL: Self = Self { requests: 10_000_000, smallest: true, sensitivity: true };
    /// The run itself and no more.
    pub(crate) const QUICK: Self = Self { requests: 0, smallest: false, sensitivity: false };
}

/// Fewer runs say nothing of nine tenths of them.
const FEWEST_RUNS: u64 = 8;
/// More are no surer.
const MOST_RUNS: u64 = 20;
/// Of the table, for each of its rows.
const TABLE_RUNS: u64 = 8;
const TABLE_ROWS: u64 = 7;

/// Plays one set of settings and asks how sure it is and what would be enough.
pub(crate) fn variant(
    play: &dyn Play,
    (name, settings): (String, &HostSettings),
    goal: Goal,
    effort: Effort,
    told: &mut dyn FnMut(&str, f64),
) -> Result<Variant, String> {
    let outcome = play.play(settings, Change::NONE, &mut |part| told(&name, part))?;
    let runs = (effort.requests / play.requests().max(1)).min(MOST_RUNS);
    let intervals = if runs < FEWEST_RUNS {
        Vec::new()
    } else {
        let so_far = format!("{name}: how sure");
        study::intervals(play, settings, (&outcome, Change::NONE), runs, &mut |part| told(&so_far, part))?
    };
    let mut smallest = Vec::new();
    if effort.smallest {
        let so_far = format!("{name}: the smallest size");
        for pool in &outcome.course.pools {
            smallest.push(study::smallest(play, settings, &pool.key, goal, &mut |part| told(&so_far, part))?);
        }
    }
    let is_extrapolated = outcome.is_extrapolated(play.seen());
    Ok(Variant { name, outcome, intervals, smallest, is_extrapolated })
}

/// What it hangs on; nothing where that would take too long.
pub(crate) fn sensitivity(
    play: &dyn Play,
    settings: &HostSettings,
    effort: Effort,
    told: &mut dyn FnMut(&str, f64),
) -> Result<Vec<Sensitivity>, String> {
    if !effort.sensitivity || play.requests() * TABLE_RUNS * TABLE_ROWS > 4 * effort.requests {
        return Ok(Vec::new());
    }
    study::sensitivity(play, settings, TABLE_RUNS, &mut |part| told("what it hangs on", part))
}

impl Answer {
    /// Why nothing can be concluded; `None`: something can.
    pub(crate) fn inconclusive(&self) -> Option<String> {
        let pools = self.variants.first()?.outcome.course.pools.iter();
        let busiest = pools.max_by_key(|pool| pool.asked)?;
        if study::is_too_few(busiest) {
            return Some(format!(
                "{} requests are too few to say what one in a hundred waits: take a longer time",
                busiest.asked
            ));
        }
        for variant in &self.variants {
            for (interval, pool) in variant.intervals.iter().zip(&variant.outcome.course.pools) {
                if !study::is_too_few(pool) && !interval.is_close() {
                    return Some(format!(
                        "{}: pool {}/{} might wait {} to {} at the 99th percentile and fail {:.2} % to {:.2} %: \
                         too wide to conclude from; take a longer time",
                        variant.name,
                        pool.key.database,
                        pool.key.user,
                        ms(interval.wait_p99.0),
                        ms(interval.wait_p99.1),
                        interval.failed.0 * 100.0,
                        interval.failed.1 * 100.0
                    ));
                }
            }
        }
        None
    }
}

impl Variant {
    /// Of one pool.
    pub(crate) fn interval(&self, place: usize) -> Option<&Interval> {
        self.intervals.get(place)
    }
}

/// The numbers of a pool that every form of the answer shows.
pub(crate) struct Row<'a> {
    pub(crate) key: &'a PoolKey,
    pub(crate) waits: Quantiles,
    pub(crate) granted: u64,
    pub(crate) failed: f64,
    pub(crate) binding: Option<&'static str>,
}

impl<'a> From<&'a PoolCourse> for Row<'a> {
    fn from(pool: &'a PoolCourse) -> Self {
        Self {
            key: &pool.key,
            waits: pool.waits.quantiles(),
            granted: pool.granted,
            failed: failed(pool),
            binding: pool.binding().map(poolwarden_pool::Limit::name),
        }
    }
}

impl<'a> From<&'a Measured> for Row<'a> {
    fn from(pool: &'a Measured) -> Self {
        let all = pool.granted + pool.failed;
        Self {
            key: &pool.key,
            waits: pool.waits.quantiles(),
            granted: pool.granted,
            failed: if all == 0 { 0.0 } else { pool.failed as f64 / all as f64 },
            binding: None,
        }
    }
}
