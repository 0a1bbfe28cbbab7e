//! What the callers and the writer hold together: the queue, the state, and the door that readers pass.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::queue::Queue;
use crate::state::Condition;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) limits: Limits,
    max_size: AtomicU64,
    queue: Mutex<Queue>,
    condition: Mutex<Condition>,
    /// The writer is told of work here.
    work: Condvar,
    progress: Mutex<Progress>,
    /// The callers are told of the writer's progress here.
    progressed: Condvar,
    /// Readers pass together; who puts the file aside passes alone, since two databases must not share one index.
    door: RwLock<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    Opening,
    /// The first attempt to open was made, whatever came of it.
    Tried,
    Ended,
}

impl Shared {
    pub(crate) fn new(path: PathBuf, limits: Limits) -> Self {
        Self {
            path,
            max_size: AtomicU64::new(limits.max_size),
            limits,
            queue: Mutex::default(),
            condition: Mutex::new(Condition::new()),
            work: Condvar::new(),
            progress: Mutex::new(Progress::Opening),
            progressed: Condvar::new(),
            door: RwLock::default(),
        }
    }

    pub(crate) fn max_size(&self) -> u64 {
        self.max_size.load(Ordering::Relaxed)
    }

    pub(crate) fn bound(&self, max_size: u64) {
        self.max_size.store(max_size, Ordering::Relaxed);
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        held(&self.queue)
    }

    pub(crate) fn condition(&self) -> MutexGuard<'_, Condition> {
        held(&self.condition)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, ()> {
        self.door.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.door.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the writer.
    pub(crate) fn call(&self) {
        self.work.notify_one();
    }

    /// The queue, once `is_due` holds of it or at `until`.
    pub(crate) fn wait(&self, until: Option<Instant>, is_due: impl Fn(&Queue) -> bool) -> MutexGuard<'_, Queue> {
        let mut queue = self.queue();
        while !is_due(&queue) {
            queue = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return queue,
                Some(left) => self.work.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        queue
    }

    pub(crate) fn progress(&self, progress: Progress) {
        *held(&self.progress) = progress;
        self.progressed.notify_all();
    }

    /// Whether the writer came as far as `progress` within `patience`.
    pub(crate) fn reached(&self, progress: Progress, patience: Duration) -> bool {
        let waited = self.progressed.wait_timeout_while(held(&self.progress), patience, |now| *now < progress);
        *waited.unwrap_or_else(PoisonError::into_inner).0 >= progress
    }
}

/// A panic elsewhere does not take the history with it: every change under these locks is whole by itself.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
