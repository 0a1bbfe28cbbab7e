//! Counts the backends of the user `app`, over and over, past every pooler.
//!
//! A connection that is ending still counts until PostgreSQL has let it go.
//! poolwarden's watch connection and the sampler itself log in as others and are not counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::postgres::{Postgres, superuser};
use crate::wire::{Address, Wire};

/// Often enough to see a short excess, and a few hundredths of a core.
const PAUSE: Duration = Duration::from_millis(10);

/// One look: when, and how many backends there were.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When it was asked.
    pub at: Instant,
    /// Backends of the user `app`.
    pub backends: usize,
}

/// A sampler at work.
#[derive(Debug)]
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Sample>>>,
}

/// What a finished sampler saw.
#[derive(Debug)]
pub struct Seen {
    /// Every look, in order.
    pub samples: Vec<Sample>,
}

impl Sampler {
    /// Begins to look every few milliseconds; goes on when PostgreSQL goes away and comes back.
    #[must_use]
    pub fn start(postgres: &Postgres) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, stopping) = (postgres.socket(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || watch(&address, &stopping));
        Sampler { stop, thread: Some(thread) }
    }

    /// Ends it and returns what it saw.
    #[must_use]
    #[track_caller]
    pub fn finish(mut self) -> Seen {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().expect("finished once");
        let samples = thread.join().unwrap_or_else(|_| panic!("the sampler panicked"));
        assert!(samples.len() > 1, "the sampler saw nothing");
        Seen { samples }
    }
}

impl Sampler {
    /// Ends it, prints and returns the most backends it saw, and fails above `limit`.
    #[track_caller]
    pub fn expect_at_most(self, limit: usize) -> usize {
        let seen = self.finish();
        eprintln!("at most {} backends in {} looks, limit {limit}", seen.most(), seen.samples.len());
        assert!(seen.most() <= limit, "{} backends, limit {limit}", seen.most());
        seen.most()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the sampler panicked");
        }
    }
}

impl Seen {
    /// The most backends at one time.
    #[must_use]
    pub fn most(&self) -> usize {
        self.samples.iter().map(|sample| sample.backends).max().unwrap_or(0)
    }

    /// When `count` backends were first seen together.
    #[must_use]
    pub fn reached(&self, count: usize) -> Option<Instant> {
        self.samples.iter().find(|sample| sample.backends >= count).map(|sample| sample.at)
    }
}

fn watch(address: &Address, stop: &AtomicBool) -> Vec<Sample> {
    const ASK: &str = "select count(*) from pg_stat_activity where usename = 'app' and backend_type = 'client backend'";
    let mut samples = Vec::new();
    let mut wire: Option<Wire> = None;
    loop {
        // One more look after the end was asked for, so that there is one after all work.
        let last = stop.load(Ordering::Acquire);
        wire = wire.or_else(|| Wire::connect(address, &superuser("postgres")).ok());
        if let Some(open) = &mut wire {
            match open.query(ASK) {
                Ok(answer) => {
                    let backends = answer.value().parse().expect("a count is a number");
                    samples.push(Sample { at: Instant::now(), backends });
                }
                Err(_) => wire = None,
            }
        }
        if last {
            return samples;
        }
        std::thread::sleep(PAUSE);
    }
}
