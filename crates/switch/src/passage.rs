//! Who comes, who goes and who is refused, one by one: for a log that says each of them. Nothing is kept unless somebody listens.

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use poolwarden_pool::PoolKey;

/// Passages kept until somebody takes them, a few times a second: more at once are counted only.
const MOST: usize = 4096;

/// Something that happened to one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The client's number.
    pub serial: u64,
    /// Its database and user.
    pub key: PoolKey,
    /// Where it comes from; `None` is a unix socket.
    pub remote: Option<SocketAddr>,
    /// What happened.
    pub what: Passing,
}

/// What happened to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passing {
    /// It has logged in.
    Came,
    /// It is gone.
    Went {
        /// Why; `None`: of its own will.
        why: Option<String>,
        /// How long it was there.
        age: Duration,
    },
    /// It was told this error of ours.
    Refused(String),
}

/// The passages nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Passages {
    listening: AtomicBool,
    kept: Mutex<(VecDeque<Passage>, u64)>,
}

impl Passages {
    pub(crate) fn listen(&self, listening: bool) {
        self.listening.store(listening, Ordering::Relaxed);
    }

    /// Keeps what `passage` makes, if anybody listens.
    pub(crate) fn note(&self, passage: impl FnOnce() -> Passage) {
        if !self.listening.load(Ordering::Relaxed) {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0.len() < MOST {
            kept.0.push_back(passage());
        } else {
            kept.1 += 1;
        }
    }

    /// All of them, oldest first, and how many were not kept.
    pub(crate) fn take(&self) -> (VecDeque<Passage>, u64) {
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_unless_somebody_listens_and_then_not_without_bound() {
        let passage = || Passage {
            serial: 1,
            key: PoolKey { database: "app".into(), user: "web".into() },
            remote: None,
            what: Passing::Came,
        };
        let passages = Passages::default();
        passages.note(passage);
        assert_eq!(passages.take(), (VecDeque::new(), 0));
        passages.listen(true);
        for _ in 0..MOST + 3 {
            passages.note(passage);
        }
        let (kept, more) = passages.take();
        assert_eq!((kept.len(), more), (MOST, 3));
        assert_eq!(passages.take(), (VecDeque::new(), 0));
    }
}
