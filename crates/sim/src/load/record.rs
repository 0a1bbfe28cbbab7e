//! What a run leaves: one line per request, refusals by their names, and how late the generator was.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_switch::pool::Time;

use super::summary::Tally;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Answered.
    Served,
    /// Refused, and the client did not come again.
    Refused,
    /// Neither: an error of the server, or a session that ended.
    Failed,
    /// Given up by its client before it was sent: every connection of the group was busy until its deadline.
    Unsent,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Of which group.
    pub group: usize,
    /// In which phase it was meant to be made.
    pub phase: usize,
    /// When it was meant to be made, since the scenario's beginning.
    pub intended: Time,
    /// When its client knew how it ended.
    pub ended: Time,
    /// How long it was to hold its connection.
    pub hold: Duration,
    /// How often it came.
    pub attempts: u32,
    /// How it ended.
    pub end: End,
}

/// All of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Every request, in the order in which they ended, where they are kept.
    pub samples: Vec<Sample>,
    /// All of them in numbers.
    pub tally: Tally,
    /// Refused attempts by group, phase and name: the limit that refused where the pooler says it, else the SQLSTATE.
    pub refused: BTreeMap<(usize, usize, String), u64>,
    /// What failed otherwise, by group and what was said.
    pub failed: BTreeMap<(usize, String), u64>,
    /// Refusals by group that were wrong: no true SQLSTATE, or a session that did not live on as it must.
    pub wrong: BTreeMap<(usize, String), u64>,
    /// Sessions that ended, by group.
    pub lost: BTreeMap<usize, u64>,
    /// How late the generator was for each arrival, unordered; empty in virtual time.
    pub lags: Vec<Duration>,
    /// Rows a refused request has left behind, where the scenario writes any.
    pub left_behind: u64,
}

impl Record {
    /// Notes a refused attempt.
    pub fn refused(&mut self, group: usize, phase: usize, name: String) {
        *self.refused.entry((group, phase, name)).or_default() += 1;
    }
}
