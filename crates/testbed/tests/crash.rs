//! PostgreSQL dies under load and comes back; ten thousand clients vanish at once.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use poolwarden_testbed::crowd::{Crowd, Habit};
use poolwarden_testbed::wire::Address;
use poolwarden_testbed::{Bed, Fault, Plan, Sampler, Target, Wire, bed, place, serverlog, until};

/// Clients under load: more than three times the pool, so that most of them wait.
const CLIENTS: usize = 32;
/// The host's limit of connects at once, and one more for the watch connection.
const MOST_CONNECTS: usize = 16 + 1;
/// Connects within any second: what the pool needs, and a failing round or two of four with back-off.
const MOST_PER_SECOND: usize = 32;

/// What the clients of the crash tell the test.
#[derive(Default)]
struct Told {
    stop: AtomicBool,
    served: [AtomicUsize; CLIENTS],
    failed: Mutex<Vec<String>>,
}

impl Told {
    fn served_at_least(&self, base: &[usize], more: usize) -> bool {
        self.served.iter().zip(base).all(|(served, base)| served.load(Ordering::Acquire) >= base + more)
    }

    fn counts(&self) -> Vec<usize> {
        self.served.iter().map(|served| served.load(Ordering::Acquire)).collect()
    }

    fn failures(&self) -> Vec<String> {
        self.failed.lock().expect("no client panicked").clone()
    }
}

/// A short transaction; a failure names the statement.
fn transaction(wire: &mut Wire) -> Result<(), Box<(&'static str, Fault)>> {
    for sql in ["begin", "select pg_sleep(0.01)", "select 1", "commit"] {
        wire.query(sql).map_err(|fault| Box::new((sql, fault)))?;
    }
    Ok(())
}

/// One client: a transaction after the other, a new session where the old one was closed.
fn work(number: usize, address: &Address, told: &Told) {
    let mut wire: Option<Wire> = None;
    while !told.stop.load(Ordering::Acquire) {
        let Some(open) = &mut wire else {
            wire = Wire::connect(address, &bed::login()).ok();
            if wire.is_none() {
                thread::sleep(Duration::from_millis(20));
            }
            continue;
        };
        match transaction(open) {
            Ok(()) => {
                told.served[number].fetch_add(1, Ordering::AcqRel);
            }
            Err(failure) => {
                let (stage, fault) = *failure;
                told.failed.lock().expect("no client panicked").push(format!("client {number} at {stage}: {fault}"));
                let lives = matches!(&fault, Fault::Server(notice) if notice.severity == "ERROR");
                let clean = lives && open.query("rollback").is_ok();
                wire = wire.filter(|_| clean);
            }
        }
    }
}

#[test]
fn waiting_clients_outlive_a_killed_postgresql() {
    let _machine = place::machine(true);
    let mut bed = Bed::start(Plan::default());
    let told = Told::default();
    let sampler = Sampler::start(&bed.postgres);
    let address = bed.address();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (address, told) = (&address, &told);
            scope.spawn(move || work(number, address, told));
        }
        // The clients end with the scope, whatever the test finds.
        let stop = StopOnDrop(&told);
        let warm = Duration::from_secs(20);
        until("every client to be served", warm, || told.served_at_least(&[0; CLIENTS], 2).then_some(()));
        assert_eq!(told.failures(), [""; 0], "before the crash");
        let before = bed.postgres.log().len();
        bed.postgres.kill9();
        until("a client in a transaction to be told", warm, || (!told.failures().is_empty()).then_some(()));
        // The outage itself: one second without a server.
        thread::sleep(Duration::from_secs(1));
        let base = told.counts();
        bed.postgres.restart();
        until("every client to be served again", warm, || told.served_at_least(&base, 2).then_some(()));
        drop(stop);
        judge(&bed, &told, &bed.postgres.log()[before..]);
    });
    sampler.expect_at_most(bed.limit());
}

struct StopOnDrop<'a>(&'a Told);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

/// A server connection that dies takes at most the one client with it to whom it was lent.
fn judge(bed: &Bed, told: &Told, log: &str) {
    let failures = told.failures();
    let connects: Vec<_> =
        serverlog::connects(log).into_iter().filter(|connect| connect.user.as_deref() != Some("watch")).collect();
    let (at_once, per_second) = (serverlog::most_at_once(&connects), serverlog::most_within(&connects, 1_000));
    eprintln!("{} clients failed; {at_once} connects at once, {per_second} within a second", failures.len());
    assert!(
        failures.len() <= bed.limit(),
        "more clients failed than were lent a connection: {:#?}",
        &failures[..20.min(failures.len())]
    );
    if Target::chosen() == Target::Poolwarden {
        assert!(at_once <= MOST_CONNECTS, "{at_once} connects at once");
        assert!(per_second <= MOST_PER_SECOND, "{per_second} connects within a second");
    }
}

#[test]
fn ten_thousand_clients_vanish_in_mid_query_and_the_pool_serves_on() {
    let _machine = place::machine(true);
    let target = Target::chosen();
    let bed = Bed::start(Plan { max_clients: 12_000, max_wait: Duration::from_secs(120), ..Plan::default() });
    let sampler = Sampler::start(&bed.postgres);
    let crowd = Crowd::start(Path::new(env!("CARGO_BIN_EXE_crowd")), bed.addr(), target.crowd(10_000), Habit::MidQuery);
    eprintln!("{} clients stand there, each in mid-query", crowd.size);
    until("the crowd's queries to run", Duration::from_secs(20), || {
        let running = bed.postgres.backends().iter().filter(|backend| backend.state == "active").count();
        (running >= bed.limit().min(100)).then_some(())
    });
    crowd.vanish();
    let mut client = bed.client();
    client.patience(Duration::from_secs(20)).expect("a socket");
    assert_eq!(client.query("select 6 * 7").expect("served again").value(), "42");
    // PostgreSQL itself does not notice that a client has gone while it sleeps.
    if target != Target::Direct {
        until("the abandoned queries to be cancelled", Duration::from_secs(20), || {
            let sleeping = |backend: &poolwarden_testbed::postgres::Backend| backend.state == "active";
            (!bed.postgres.backends().iter().any(sleeping)).then_some(())
        });
    }
    sampler.expect_at_most(bed.limit());
}
