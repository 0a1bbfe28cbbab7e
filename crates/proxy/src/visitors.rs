//! Those who are logging in, oldest first, each with its place. When all places are taken, the oldest that has said nothing
//! leaves its own to the newcomer: there are never more of them than places.
//!
//! Where all of them are talking there is a door aside, with places of its own: who comes in there is heard until it says where it
//! wants to go, and goes on only if that is the console (or to cancel). So operators get in, however many others try to. When the
//! door aside is full as well, its oldest leaves: a login takes milliseconds, and who takes longer makes room.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::inner::held;
use crate::link::Place;

/// Places of the door aside.
pub(crate) const ASIDE: u32 = 64;

/// Somebody who is logging in.
#[derive(Default)]
pub(crate) struct Visitor {
    pub(crate) spoke: AtomicBool,
    pub(crate) leave: Notify,
    /// It came in by the door aside.
    pub(crate) aside: bool,
}

/// Those who are logging in, oldest first.
#[derive(Default)]
pub(crate) struct Visitors {
    usual: Mutex<VecDeque<(Arc<Visitor>, Place)>>,
    aside: Mutex<VecDeque<(Arc<Visitor>, Place)>>,
}

impl Visitors {
    /// Lets somebody in: by one of `most` places that are counted in `taken`, or by the door aside, counted in `aside`.
    /// `None` only if nobody is there who could leave.
    pub(crate) fn let_in(&self, taken: &Arc<AtomicU32>, most: u32, aside: &Arc<AtomicU32>) -> Option<Arc<Visitor>> {
        if let Some(place) = Place::take(taken, most).or_else(|| self.make_room()) {
            return Some(self.enter(place));
        }
        let visitor = Arc::new(Visitor { aside: true, ..Visitor::default() });
        let mut others = held(&self.aside);
        let place = Place::take(aside, ASIDE).or_else(|| {
            let (oldest, place) = others.pop_front()?;
            oldest.leave.notify_one();
            Some(place)
        });
        others.push_back((visitor.clone(), place?));
        Some(visitor)
    }

    fn enter(&self, place: Place) -> Arc<Visitor> {
        let visitor = Arc::new(Visitor::default());
        held(&self.usual).push_back((visitor.clone(), place));
        visitor
    }

    /// Gives the visitor's place back, unless it was sent away and somebody else has it.
    pub(crate) fn exit(&self, visitor: &Arc<Visitor>) {
        let queue = if visitor.aside { &self.aside } else { &self.usual };
        held(queue).retain(|(other, _)| !Arc::ptr_eq(other, visitor));
    }

    /// Sends away the oldest that has said nothing, and gives its place; `None` if all are talking.
    pub(crate) fn make_room(&self) -> Option<Place> {
        let mut visitors = held(&self.usual);
        let silent = visitors.iter().position(|(visitor, _)| !visitor.spoke.load(Ordering::Relaxed))?;
        let (visitor, place) = visitors.remove(silent)?;
        visitor.leave.notify_one();
        Some(place)
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn when_all_are_talking_there_is_the_door_aside_whose_oldest_leaves() {
        let (taken, aside, visitors) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Visitors::default());
        let let_in = || visitors.let_in(&taken, 1, &aside).unwrap();
        let talking = let_in();
        talking.spoke.store(true, Ordering::Relaxed);
        let crowd: Vec<_> = (0..ASIDE + 5).map(|_| let_in()).collect();
        assert!(!talking.aside && crowd.iter().all(|visitor| visitor.aside));
        assert_eq!((taken.load(Ordering::Relaxed), aside.load(Ordering::Relaxed)), (1, ASIDE));
        visitors.exit(&crowd[0]);
        assert_eq!(aside.load(Ordering::Relaxed), ASIDE, "it had left its place to another");
        visitors.exit(&talking);
        assert!(!let_in().aside, "there is a usual place again");
        crowd.iter().for_each(|visitor| visitors.exit(visitor));
        assert_eq!((taken.load(Ordering::Relaxed), aside.load(Ordering::Relaxed)), (1, 0));
    }
}
