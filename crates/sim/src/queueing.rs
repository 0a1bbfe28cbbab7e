//! Traffic in virtual time: the very core that lends server connections, before a PostgreSQL that is a queueing model.
//!
//! It plays no protocol and no loops (a [`crate::World`] does): requests come, hold, and go. So it says what admission decides
//! and how long requests wait, and nothing of scheduler delay or socket cost. What asks is a scenario's crowd, or what was
//! recorded. Same demand, settings and seed: same course, to the nanosecond.

mod backend;
mod course;
mod crowd;
mod demand;
mod picture;
mod play;
pub(crate) mod run;
mod timers;

use std::time::Duration;

use poolwarden_config::Config;
use poolwarden_switch::pool::{HostSettings, Limit, PoolSnapshot, Time};

pub use backend::{Machine, Sharing, Work};
pub use course::{Course, Moment, PoolCourse};
pub use demand::{Demand, Ended, Seat, Wish};
pub use play::Rehearsed;
pub use run::Model;

use poolwarden_watch::View;

use crate::load::Record;
use crate::scenario::{Group, Scenario};

/// After the last phase everybody who waits is given this long: past every default bound on waiting.
const GRACE: Duration = Duration::from_secs(90);
/// A course has about so many moments.
const MOMENTS: u32 = 600;
/// And none is shorter than this.
const SHORTEST: Duration = Duration::from_millis(100);

/// Who is shown a picture every second.
type Watching<'a> = &'a mut dyn FnMut(&View);

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// Every request.
    pub record: Record,
    /// What it was like, step by step.
    pub course: Course,
    /// Every pool at the end.
    pub pools: Vec<PoolSnapshot>,
    /// When somebody first had to wait, since the beginning.
    pub saturated: Option<Time>,
    /// When it was over.
    pub ended: Time,
    /// The most server connections lent at once, of all pools.
    pub most_lent: u32,
}

impl Played {
    /// The limit that kept requests of a pool waiting the longest.
    #[must_use]
    pub fn binding(pool: &PoolSnapshot) -> Option<Limit> {
        let most = pool.wait_nanos.iter().zip(Limit::ALL).max_by_key(|(nanos, _)| **nanos);
        most.filter(|(nanos, _)| **nanos > 0).map(|(_, limit)| limit)
    }
}

/// Plays `scenario` under `config`, of which only the first server counts.
///
/// # Errors
/// A class that does not exist, or a pool that does not let its clients in: what is wrong, and the next step.
pub fn play(scenario: &Scenario, config: &Config) -> Result<Played, String> {
    let settings = config.host_settings(0);
    let seats = crowd::Crowd::seats(scenario, config, &settings)?;
    play_with(scenario, settings, (&seats, Duration::ZERO, false), (&mut |_| (), None))
}

/// The same, with every request in the record as it ended.
///
/// # Errors
/// As [`play`].
pub fn play_keeping(scenario: &Scenario, config: &Config) -> Result<Played, String> {
    let settings = config.host_settings(0);
    let seats = crowd::Crowd::seats(scenario, config, &settings)?;
    play_with(scenario, settings, (&seats, Duration::ZERO, true), (&mut |_| (), None))
}

/// The same, with a course that begins only after `warm_up`, so that the empty beginning does not count.
///
/// # Errors
/// As [`play`].
pub fn play_after(scenario: &Scenario, config: &Config, warm_up: Duration) -> Result<Played, String> {
    let settings = config.host_settings(0);
    let seats = crowd::Crowd::seats(scenario, config, &settings)?;
    play_with(scenario, settings, (&seats, warm_up, false), (&mut |_| (), None))
}

/// The same as [`play`], with `watch` shown a picture every second, as the pooler's own watcher is.
///
/// # Errors
/// As [`play`].
pub fn play_watched(scenario: &Scenario, config: &Config, watch: &mut dyn FnMut(&View)) -> Result<Played, String> {
    let settings = config.host_settings(0);
    let seats = crowd::Crowd::seats(scenario, config, &settings)?;
    play_with(scenario, settings, (&seats, Duration::ZERO, false), (&mut |_| (), Some(watch)))
}

fn play_with(
    scenario: &Scenario,
    settings: HostSettings,
    (seats, warm_up, keeps): (&[Seat], Duration, bool),
    (told, watch): (&mut dyn FnMut(Time), Option<Watching<'_>>),
) -> Result<Played, String> {
    let of = |(seat, group): (u32, &Group)| (0..group.clients).map(move |_| seat);
    let members: Vec<u32> = (0..).zip(&scenario.groups).flat_map(of).collect();
    let model = Model {
        machine: scenario.postgres.into(),
        connects: vec![scenario.postgres.connect],
        faults: scenario.faults.clone(),
        seed: scenario.seed,
    };
    let demand = ((seats, &members[..], true), crowd::Crowd::new(scenario, keeps));
    let mut run = run::Run::new(settings, model, demand, (Time::ZERO + warm_up, step_of(scenario.lasts())))?;
    let end = Time::ZERO + scenario.lasts() + GRACE;
    let pools = match watch {
        Some(watch) => run.play_watched(end, told, watch)?,
        None => run.play(end, told)?,
    };
    let (saturated, ended, most_lent) = (run.saturated, run.now(), run.most_lent);
    Ok(Played { record: run.demand.finish(ended), course: run.course, pools, saturated, ended, most_lent })
}

/// How long a moment is in a run of this length.
#[must_use]
pub fn step_of(lasts: Duration) -> Duration {
    (lasts / MOMENTS).max(SHORTEST)
}
