//! Whom to wake, and how: loops by their doors, the lane by a notice, the clock by its thread.

use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use poolwarden_switch::Target;
use poolwarden_switch::pool::LoopId;
use tokio::sync::Notify;

use crate::engine::{Door, Wake};

/// Whom to wake, and how.
pub(crate) struct Wakers {
    pub(crate) doors: Vec<Arc<Door>>,
    pub(crate) lane: Notify,
    pub(crate) clock: OnceLock<Thread>,
}

impl Wakers {
    pub(crate) fn new(doors: Vec<Arc<Door>>) -> Self {
        Self { doors, lane: Notify::new(), clock: OnceLock::new() }
    }
}

impl Wake for Wakers {
    fn wake(&self, target: Target) {
        match target {
            Target::Loop(LoopId(number)) => {
                if let Some(door) = self.doors.get(usize::from(number)) {
                    door.ring();
                }
            }
            Target::Lane => self.lane.notify_one(),
            Target::Clock => {
                if let Some(clock) = self.clock.get() {
                    clock.unpark();
                }
            }
        }
    }
}
