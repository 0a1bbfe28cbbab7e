//! The log of inputs that proves replay parity: bounded, and when it is full it ends with a mark, never with a hole.

use crate::{Input, Time};

/// Inputs in the order they were handled, each with the clamped time that was accounted.
#[derive(Clone, Debug)]
pub struct InputLog {
    entries: Vec<(Time, Input)>,
    capacity: usize,
    full: bool,
}

impl InputLog {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Vec::new(), capacity, full: false }
    }

    pub(crate) fn note(&mut self, now: Time, input: &Input) {
        if self.entries.len() < self.capacity {
            self.entries.push((now, input.clone()));
        } else {
            self.full = true;
        }
    }

    /// The inputs; an input's sequence number is its place.
    #[must_use]
    pub fn entries(&self) -> &[(Time, Input)] {
        &self.entries
    }

    /// The mark: more inputs came after the last entry than the log could hold.
    #[must_use]
    pub fn full(&self) -> bool {
        self.full
    }
}
