//! The call under way: its time, how much work it may still do, and what comes out of it.
//!
//! Actions and events are kept in queues that are drained by the caller and reused, so that
//! nothing is allocated in steady state.

use std::collections::VecDeque;

use crate::{Action, Event, Time};

/// Most transitions per call: at about 100 ns each the lock is held for some 25 µs at worst.
pub(crate) const TRANSITIONS: u32 = 256;

/// The call under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// Time of the call; never goes back.
    pub(crate) now: Time,
    /// Transitions it may still make.
    left: u32,
    /// What must be done.
    pub(crate) actions: VecDeque<Action>,
    /// What became true.
    pub(crate) events: VecDeque<Event>,
}

impl Turn {
    /// A new call begins.
    pub(crate) fn begin(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.left = TRANSITIONS;
    }

    /// One transition was made.
    pub(crate) fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Whether the call has done all it may.
    pub(crate) fn spent(&self) -> bool {
        self.left == 0
    }
}
