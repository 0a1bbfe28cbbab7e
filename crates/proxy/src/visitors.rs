//! Those who are logging in, oldest first, each with its place. When all places are taken, the oldest that has said nothing
//! leaves its own to the newcomer: there are never more of them than places.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::inner::held;
use crate::link::Place;

/// Somebody who is logging in.
#[derive(Default)]
pub(crate) struct Visitor {
    pub(crate) spoke: AtomicBool,
    pub(crate) leave: Notify,
}

/// Those who are logging in, oldest first.
#[derive(Default)]
pub(crate) struct Visitors(Mutex<VecDeque<(Arc<Visitor>, Place)>>);

impl Visitors {
    pub(crate) fn enter(&self, place: Place) -> Arc<Visitor> {
        let visitor = Arc::new(Visitor::default());
        held(&self.0).push_back((visitor.clone(), place));
        visitor
    }

    /// Gives the visitor's place back, unless it was sent away and somebody else has it.
    pub(crate) fn exit(&self, visitor: &Arc<Visitor>) {
        held(&self.0).retain(|(other, _)| !Arc::ptr_eq(other, visitor));
    }

    /// Sends away the oldest that has said nothing, and gives its place; `None` if all are talking.
    pub(crate) fn make_room(&self) -> Option<Place> {
        let mut visitors = held(&self.0);
        let silent = visitors.iter().position(|(visitor, _)| !visitor.spoke.load(Ordering::Relaxed))?;
        let (visitor, place) = visitors.remove(silent)?;
        visitor.leave.notify_one();
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn who_is_sent_away_leaves_its_place_to_the_newcomer_and_to_nobody_else() {
        let (taken, visitors) = (Arc::new(AtomicU32::new(0)), Visitors::default());
        let take = || Place::take(&taken, 2);
        let talking = visitors.enter(take().unwrap());
        talking.spoke.store(true, Ordering::Relaxed);
        let silent = visitors.enter(take().unwrap());
        for _ in 0..8 {
            assert!(take().is_none(), "all places are taken");
            let newcomer = visitors.enter(visitors.make_room().expect("somebody is silent"));
            visitors.exit(&silent);
            assert_eq!(taken.load(Ordering::Relaxed), 2, "the place went over");
            newcomer.spoke.store(true, Ordering::Relaxed);
            assert!(visitors.make_room().is_none(), "all are talking");
            newcomer.spoke.store(false, Ordering::Relaxed);
        }
        visitors.exit(&talking);
        assert_eq!(taken.load(Ordering::Relaxed), 1);
    }
}
