//! The live-test bed: a private PostgreSQL, a pooler before it, and raw clients.
//!
//! It knows nothing of poolwarden's inside: it starts the built binary and speaks the wire protocol.
//! Everything it starts ends with the test: on drop, on a panic, and when the test process is killed.
//! Its functions panic with a clear message, since their only callers are tests.
//! `TESTBED_TARGET` (`poolwarden`, `pgbouncer`, `direct`) chooses what the clients speak to,
//! so that a test can be proved right against PostgreSQL itself.

pub mod bed;
pub mod causes;
pub mod certificate;
pub mod child;
pub mod client;
pub mod corpus;
pub mod corpus_random;
pub mod corpus_word;
pub mod crowd;
pub mod delay;
pub mod disk;
pub mod door;
pub mod drawer;
pub mod fault_proxy;
pub mod ini;
pub mod leak;
pub mod libpq;
pub mod oracle;
pub mod oracle_normal;
pub mod oracle_round;
pub mod pgbouncer;
pub mod place;
pub mod pooler;
pub mod postgres;
pub mod race;
pub mod reloads;
pub mod sampler;
pub mod say;
pub mod scram;
pub mod screen;
pub mod serverlog;
pub mod template;
pub mod version;
pub mod wire;
pub mod workers;

pub use bed::{Bed, Mode, Plan, Target};
pub use pooler::Pooler;
pub use postgres::{Postgres, Settings};
pub use sampler::Sampler;
pub use say::Say;
pub use wire::{Fault, Login, Wire};

use std::time::{Duration, Instant};

/// Asks `condition` every few milliseconds until it answers, and panics after `limit` naming `what`.
///
/// For the state of other processes, which cannot call back.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
