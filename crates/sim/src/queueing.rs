//! A scenario in virtual time: the very core that lends server connections, before a PostgreSQL that is a queueing model.
//!
//! It plays no protocol and no loops (a [`crate::World`] does): requests come, hold, and go. So it says what admission decides
//! and how long requests wait, and nothing of scheduler delay or socket cost. Same scenario, settings and seed, same record.

mod backend;
mod run;

use poolwarden_config::Config;
use poolwarden_switch::pool::{Limit, PoolSnapshot, Time};

use crate::load::Record;
use crate::scenario::Scenario;

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// Every request.
    pub record: Record,
    /// Every pool at the end.
    pub pools: Vec<PoolSnapshot>,
    /// When somebody first had to wait, since the beginning.
    pub saturated: Option<Time>,
    /// When it was over.
    pub ended: Time,
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
    run::Run::new(scenario, config)?.play()
}
