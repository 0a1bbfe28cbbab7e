//! The cancel race: clients that cancel their own queries at every moment, beside clients that never do, in a pool that is full.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bed::{Bed, login};
use crate::say::Say;
use crate::until;
use crate::wire::{Address, Fault, Wire, cancel};

/// Clients that cancel, and clients that never do.
const CANCELLERS: u64 = 4;
const BYSTANDERS: usize = 6;
/// A query that races with its cancel takes so long; the cancel is sent up to twice as long after it.
const QUERY: Duration = Duration::from_millis(2);
/// One cancel in so many is timed, against a query that would go on.
const TIMED: u64 = 10;
/// A query that would go on runs by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of a race.
#[derive(Debug, Default)]
pub struct Raced {
    /// Cancel requests sent through the pooler.
    pub cancels: u64,
    /// Of those that raced, how many met their own query.
    pub hits: u64,
    /// Queries of clients that never cancelled.
    pub undisturbed: u64,
    /// How many of those were cancelled: what must never be.
    pub wrongly: u64,
    /// From the cancel request to the client's error: through the pooler, and straight to PostgreSQL in between. Sorted.
    pub through: Vec<Duration>,
    /// The same, straight.
    pub straight: Vec<Duration>,
}

/// The value below which so much of `sorted` lies.
#[must_use]
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // a place in a list
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Sends `count` cancels through the pooler of `bed`, whose pool should be smaller than the clients are many.
#[must_use]
#[track_caller]
pub fn run(bed: &Bed, count: u64) -> Raced {
    let (stop, undisturbed, wrongly) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let (address, direct) = (bed.address(), Address::Tcp(bed.postgres.address()));
    let mut raced = Raced::default();
    thread::scope(|scope| {
        let _stop = Stop(&stop); // also when a worker fails
        for _ in 0..BYSTANDERS {
            scope.spawn(|| {
                let mut wire = bed.client();
                while !stop.load(Ordering::Acquire) {
                    match wire.query("select pg_sleep(0.001)") {
                        Ok(_) => undisturbed.fetch_add(1, Ordering::AcqRel),
                        Err(Fault::Server(notice)) if notice.code == "57014" => wrongly.fetch_add(1, Ordering::AcqRel),
                        Err(fault) => panic!("a client that never cancelled: {fault}"),
                    };
                }
            });
        }
        let workers: Vec<_> = (0..CANCELLERS)
            .map(|worker| {
                let (address, direct) = (&address, &direct);
                scope.spawn(move || worked(worker, count / CANCELLERS, address, direct, bed.postgres.direct("app")))
            })
            .collect();
        for worker in workers {
            raced.add(worker.join().expect("a client that cancels"));
        }
    });
    (raced.undisturbed, raced.wrongly) = (undisturbed.into_inner(), wrongly.into_inner());
    raced.through.sort_unstable();
    raced.straight.sort_unstable();
    raced
}

/// Nobody goes on when this is gone.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Raced {
    fn add(&mut self, other: Raced) {
        self.cancels += other.cancels;
        self.hits += other.hits;
        self.through.extend(other.through);
        self.straight.extend(other.straight);
    }
}

fn worked(worker: u64, count: u64, address: &Address, direct: &Address, mut superuser: Wire) -> Raced {
    let mut raced = Raced::default();
    let mut through = Wire::connect(address, &login()).expect("connected to the pooler");
    let mut straight = Wire::connect(direct, &login()).expect("connected to PostgreSQL");
    for number in 0..count {
        raced.cancels += 1;
        if number % TIMED == 0 {
            raced.straight.push(timed(&mut straight, direct, &mut superuser));
            raced.through.push(timed(&mut through, address, &mut superuser));
        } else {
            // From at once to well after its end, in steps that are no multiple of the query's time.
            let after = Duration::from_micros((worker * 911 + number * 37) % 4_000);
            raced.hits += u64::from(race(&mut through, address, after));
        }
    }
    raced
}

/// Cancels a short query `after` it was sent; whether that met it.
fn race(wire: &mut Wire, address: &Address, after: Duration) -> bool {
    let sql = format!("select pg_sleep({})", QUERY.as_secs_f64());
    wire.send(&Say::new().query(&sql).bytes).expect("sent");
    thread::sleep(after);
    cancel(address, &wire.key.clone()).expect("closed without a word");
    match wire.answer() {
        Ok(_) => false,
        Err(Fault::Server(notice)) if notice.code == "57014" => true,
        Err(fault) => panic!("a client that cancels: {fault}"),
    }
}

/// How long a cancel takes against a query that would go on: from the request to the client's error.
fn timed(wire: &mut Wire, address: &Address, superuser: &mut Wire) -> Duration {
    wire.query("begin").expect("a connection of its own");
    let answer = wire.query("select pg_backend_pid()").expect("a connection of its own");
    let runs = format!("select 1 from pg_stat_activity where pid = {} and state = 'active'", answer.value());
    wire.send(&Say::new().query("select pg_sleep(30)").bytes).expect("sent");
    until("the query to run", PATIENCE, || (!superuser.query(&runs).expect("served").rows.is_empty()).then_some(()));
    let (key, began) = (wire.key.clone(), Instant::now());
    cancel(address, &key).expect("closed without a word");
    match wire.answer() {
        Err(Fault::Server(notice)) => assert_eq!(notice.code, "57014", "{}", notice.message),
        other => panic!("not cancelled: {other:?}"),
    }
    let took = began.elapsed();
    wire.query("rollback").expect("rolled back");
    took
}
