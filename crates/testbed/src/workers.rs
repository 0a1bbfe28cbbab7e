//! Clients that run transactions all the time, and what became of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::bed::{Bed, login};
use crate::until;
use crate::wire::{Login, Wire};

const PATIENCE: Duration = Duration::from_secs(60);
/// What an application thinks about while its transaction is open; one client in three does.
const THOUGHT: Duration = Duration::from_millis(2);

/// A short transaction.
pub const TRANSACTION: &[&str] = &["begin", "select pg_sleep(0.002)", "commit"];

/// Clients at work. Dropped, they end.
#[derive(Debug)]
pub struct Workers {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<(), String>>>,
}

impl Workers {
    /// `count` clients of the user and database `app` that run transactions of these statements; each ends at its first error.
    #[must_use]
    #[track_caller]
    pub fn start(bed: &Bed, count: usize, statements: &'static [&'static str]) -> Workers {
        Workers::start_as(bed, &login(), count, statements)
    }

    /// The same with another login.
    #[must_use]
    #[track_caller]
    pub fn start_as(bed: &Bed, login: &Login, count: usize, statements: &'static [&'static str]) -> Workers {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let work = |number: usize| {
            let (stop, served, address) = (Arc::clone(&stop), Arc::clone(&served), bed.address());
            let login = login.clone();
            thread::spawn(move || {
                let mut wire = Wire::connect(&address, &login).map_err(|e| format!("client {number}: {e}"))?;
                while !stop.load(Ordering::Acquire) {
                    for sql in statements {
                        let answer = wire.query(sql).map_err(|e| format!("client {number} at {sql}: {e}"))?;
                        if answer.state == 'T' && number.is_multiple_of(3) {
                            thread::sleep(THOUGHT);
                        }
                    }
                    served.fetch_add(1, Ordering::AcqRel);
                }
                Ok(())
            })
        };
        let threads = (0..count).map(work).collect();
        let workers = Workers { stop, served, threads };
        workers.flow(count as u64);
        workers
    }

    /// Transactions that ended well so far.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Acquire)
    }

    /// Waits until that many more transactions ended well, or a client failed.
    #[track_caller]
    pub fn flow(&self, more: u64) {
        let before = self.served();
        until("the load to flow", PATIENCE, || {
            let failed = self.threads.iter().any(JoinHandle::is_finished);
            (failed || self.served() >= before + more).then_some(())
        });
    }

    /// Ends them: the transactions that ended well, and the errors there were.
    #[must_use]
    pub fn end(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Release);
        let ended = std::mem::take(&mut self.threads).into_iter().map(JoinHandle::join);
        let errors = ended.filter_map(|ended| ended.unwrap_or_else(|_| Err("a client panicked".to_owned())).err());
        let errors = errors.collect();
        (self.served(), errors)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}
