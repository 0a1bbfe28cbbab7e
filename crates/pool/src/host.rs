//! The host: all pools of one PostgreSQL server.

use crate::{Action, Event, Handled, HostSettings, HostSnapshot, Input, Time, Wake};

/// All pools of one PostgreSQL server.
pub struct Host {}

impl Host {
    /// A host that obeys `settings`; `seed` feeds jitter and back-off and nothing else.
    #[must_use]
    pub fn new(_settings: HostSettings, _seed: u64) -> Self {
        Self {}
    }
    /// Something happened at `now`.
    pub fn handle(&mut self, _now: Time, _input: Input) -> Handled {
        Handled::Done
    }
    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        None
    }
    /// The next thing that became true.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    /// When to call `handle(now, Input::Timeout)`, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, Wake)> {
        None
    }
    /// What it knows now.
    #[must_use]
    pub fn snapshot(&self, _now: Time) -> HostSnapshot {
        HostSnapshot {
            pools: vec![],
            budget: 0,
            used: 0,
            connects: (0, 0),
            down: false,
            moved: 0,
            evicted: 0,
            retired: (0, 0, 0),
        }
    }
}
