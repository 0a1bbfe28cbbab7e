//! Things that end at a time, soonest first; what has been called off is passed over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Ends by a clock that only goes forward, of any unit that can be compared. Equal ends come in the order they were put.
#[derive(Debug)]
pub(super) struct Timers<C, T> {
    heap: BinaryHeap<Reverse<(C, u64, T)>>,
    sequence: u64,
}

impl<C: Ord + Copy, T: Ord + Copy> Timers<C, T> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }

    pub(super) fn put(&mut self, at: C, what: T) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, what)));
    }

    /// The first that `stands`; what does not is dropped.
    pub(super) fn first(&mut self, stands: impl Fn(T) -> bool) -> Option<(C, T)> {
        while let Some(Reverse((at, _, what))) = self.heap.peek() {
            if stands(*what) {
                return Some((*at, *what));
            }
            self.heap.pop();
        }
        None
    }

    /// Takes the one that [`Timers::first`] has just shown.
    pub(super) fn pop(&mut self) {
        self.heap.pop();
    }

    /// Every end is put where `to` says.
    pub(super) fn shift(&mut self, to: impl Fn(C) -> C) {
        let moved = self.heap.drain().map(|Reverse((at, sequence, what))| Reverse((to(at), sequence, what)));
        self.heap = moved.collect::<Vec<_>>().into();
    }
}
