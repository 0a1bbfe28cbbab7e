//! Those who are logging in, oldest first. When too many are there, the oldest that has said nothing makes room.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Somebody who is logging in.
pub(crate) struct Visitor {
    pub(crate) spoke: AtomicBool,
    pub(crate) leave: Notify,
}

/// Those who are logging in, oldest first.
#[derive(Default)]
pub(crate) struct Visitors(Mutex<VecDeque<Arc<Visitor>>>);

impl Visitors {
    fn held(&self) -> MutexGuard<'_, VecDeque<Arc<Visitor>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enter(&self) -> Arc<Visitor> {
        let visitor = Arc::new(Visitor { spoke: AtomicBool::new(false), leave: Notify::new() });
        self.held().push_back(visitor.clone());
        visitor
    }

    pub(crate) fn exit(&self, visitor: &Arc<Visitor>) {
        self.held().retain(|other| !Arc::ptr_eq(other, visitor));
    }

    /// Sends away the oldest that has said nothing; false if all are talking.
    pub(crate) fn make_room(&self) -> bool {
        let mut visitors = self.held();
        let silent = visitors.iter().position(|visitor| !visitor.spoke.load(Ordering::Relaxed));
        match silent.and_then(|at| visitors.remove(at)) {
            Some(visitor) => {
                visitor.leave.notify_one();
                true
            }
            None => false,
        }
    }
}
