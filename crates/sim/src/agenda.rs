//! What will happen, in order of time and, at the same time, in the order in which it was put down.

use std::collections::BTreeMap;

use poolwarden_switch::pool::Time;

/// Things to come.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BTreeMap<(Time, u64), T>,
    sequence: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), sequence: 0 }
    }
}

impl<T> Agenda<T> {
    pub(crate) fn put(&mut self, at: Time, thing: T) {
        self.sequence += 1;
        self.entries.insert((at, self.sequence), thing);
    }

    /// When the first of them happens.
    pub(crate) fn first(&self) -> Option<Time> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn next(&mut self) -> Option<(Time, T)> {
        self.entries.pop_first().map(|((at, _), thing)| (at, thing))
    }
}
