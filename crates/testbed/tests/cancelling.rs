//! Cancel requests: they end what they are meant for, never another's query, and need no place in the pool.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use poolwarden_testbed::wire::cancel;
use poolwarden_testbed::{Bed, Fault, Plan, Say, Target, Wire, child, place, until};

const PATIENCE: Duration = Duration::from_secs(15);
const SLEEP: &str = "select pg_sleep(60)";

fn start(size: u32) -> Bed {
    Bed::start_as(Target::Poolwarden, Plan { size, ..Plan::default() })
}

/// Waits until so many backends run something.
#[track_caller]
fn running(bed: &Bed, count: usize) {
    until("the queries to run", PATIENCE, || {
        let active = bed.postgres.backends().iter().filter(|backend| backend.state == "active").count();
        (active == count).then_some(())
    });
}

#[track_caller]
fn is_cancelled(wire: &mut Wire) {
    wire.patience(PATIENCE).expect("a socket");
    match wire.answer() {
        Err(Fault::Server(notice)) => assert_eq!(notice.code, "57014", "{}", notice.message),
        other => panic!("not cancelled: {other:?}"),
    }
}

#[test]
fn the_right_key_ends_its_own_query_and_a_wrong_one_ends_nothing() {
    let _machine = place::machine(false);
    let bed = start(2);
    let (mut one, mut two) = (bed.client(), bed.client());
    one.send(&Say::new().query(SLEEP).bytes).expect("sent");
    two.send(&Say::new().query(SLEEP).bytes).expect("sent");
    running(&bed, 2);
    let (pid, secret) = one.key.clone();
    for wrong in [(pid, vec![1, 2, 3, 4]), (pid + 77, secret.clone()), (-1, secret.clone()), (0, vec![0; 4])] {
        cancel(&bed.address(), &wrong).expect("closed without a word");
    }
    // The right one comes last, so that whatever the others did has been done by then.
    cancel(&bed.address(), &(pid, secret)).expect("closed without a word");
    is_cancelled(&mut one);
    assert!(two.silent_for(Duration::from_millis(200)), "another client's query was ended");
    let key = two.key.clone();
    cancel(&bed.address(), &key).expect("closed without a word");
    is_cancelled(&mut two);
    // A cancel for a client that runs nothing means nothing.
    cancel(&bed.address(), &key).expect("closed without a word");
    for wire in [&mut one, &mut two] {
        for number in 0..20 {
            assert_eq!(wire.query(&format!("select {number}")).expect("served").value(), number.to_string());
        }
    }
    bed.at_rest();
}

#[test]
fn a_request_that_waits_is_cancelled_without_ever_being_lent_a_connection() {
    let _machine = place::machine(false);
    let bed = start(1);
    let mut holder = bed.client();
    let mut waiting = bed.client();
    holder.query("begin").expect("the only connection");
    waiting.send(&Say::new().query("select 1").bytes).expect("sent");
    until("it to wait", PATIENCE, || (bed.pool("cl_waiting") == 1).then_some(()));
    let key = waiting.key.clone();
    cancel(&bed.address(), &key).expect("closed without a word");
    is_cancelled(&mut waiting);
    assert_eq!(bed.pool("cl_waiting"), 0);
    // The same in a batch: the error, and a ready for its sync alone.
    waiting.send(&Say::new().once("select 1").flush().bytes).expect("sent");
    until("it to wait", PATIENCE, || (bed.pool("cl_waiting") == 1).then_some(()));
    cancel(&bed.address(), &key).expect("closed without a word");
    assert_eq!(waiting.told(&Say::new().sync(), 1), "E(57014) ZI");
    holder.query("commit").expect("undisturbed");
    assert_eq!(waiting.query("select 2").expect("served").value(), "2");
    bed.at_rest();
}

#[test]
fn a_cancel_needs_no_place_in_a_full_pool_nor_among_the_clients() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 2, max_clients: 5, budget: Some(2), ..Plan::default() });
    let mut clients: Vec<Wire> = (0..5).map(|_| bed.client()).collect();
    for wire in &mut clients {
        wire.send(&Say::new().query(SLEEP).bytes).expect("sent");
    }
    running(&bed, 2);
    until("the others to wait", PATIENCE, || (bed.pool("cl_waiting") == 3).then_some(()));
    let started = Instant::now();
    for wire in &mut clients {
        let key = wire.key.clone();
        cancel(&bed.address(), &key).expect("closed without a word");
    }
    clients.iter_mut().for_each(is_cancelled);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    bed.at_rest();
}

#[test]
fn two_thousand_cancels_at_once_are_bounded_and_end_the_one_query() {
    let _machine = place::machine(false);
    let bed = start(2);
    let (mut victim, mut other) = (bed.client(), bed.client());
    other.query("select 1").expect("warm");
    let pid = bed.pooler().expect("poolwarden").pid();
    let before = child::memory(pid).expect("poolwarden runs");
    victim.send(&Say::new().query(SLEEP).bytes).expect("sent");
    running(&bed, 1);
    let log = bed.postgres.log().len();
    let key = victim.key.clone();
    let address = bed.address();
    thread::scope(|scope| {
        for worker in 0..8 {
            let (key, address) = (&key, &address);
            scope.spawn(move || {
                for number in 0..250 {
                    let wrong =
                        (key.0, vec![9, 9, u8::try_from(worker).expect("small"), u8::try_from(number).expect("small")]);
                    let chosen = if number % 2 == 0 { key } else { &wrong };
                    cancel(address, chosen).expect("closed without a word");
                }
            });
        }
        for number in 0..200 {
            assert_eq!(other.query(&format!("select {number}")).expect("undisturbed").value(), number.to_string());
        }
    });
    is_cancelled(&mut victim);
    assert_eq!(victim.query("select 2").expect("served").value(), "2");
    let forwarded = bed.postgres.log()[log..].matches("connection received: host=127.0.0.1").count();
    let grown = child::peak_memory(pid).expect("poolwarden runs").saturating_sub(before);
    eprintln!("PostgreSQL saw {forwarded} connections, poolwarden grew by {} KiB", grown / 1024);
    assert!(grown < 32 << 20, "poolwarden grew by {} KiB", grown / 1024);
    bed.at_rest();
}

#[test]
fn a_cancel_that_races_the_end_of_its_query_never_hits_the_next_client() {
    let _machine = place::machine(false);
    let bed = start(1);
    let address = bed.address();
    let (stop, served, hit) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        let bystander = scope.spawn(|| {
            let mut wire = bed.client();
            while !stop.load(Ordering::Acquire) {
                let answer = wire.query("select pg_sleep(0.001)");
                answer.unwrap_or_else(|e| panic!("the bystander's query was hit: {e}"));
                served.fetch_add(1, Ordering::AcqRel);
            }
        });
        let mut wire = bed.client();
        let key = wire.key.clone();
        for round in 0..300_u64 {
            wire.send(&Say::new().query("select pg_sleep(0.002)").bytes).expect("sent");
            // From at once to well after its end, in steps that are no multiple of the query's time.
            thread::sleep(Duration::from_micros(round * 37 % 4_000));
            cancel(&address, &key).expect("closed without a word");
            match wire.answer() {
                Ok(_) => {}
                Err(Fault::Server(notice)) if notice.code == "57014" => {
                    hit.fetch_add(1, Ordering::AcqRel);
                }
                Err(fault) => panic!("round {round}: {fault}"),
            }
            if bystander.is_finished() {
                break;
            }
        }
        stop.store(true, Ordering::Release);
        bystander.join().expect("the bystander was never hit");
    });
    let (served, hit) = (served.into_inner(), hit.into_inner());
    eprintln!("{hit} of 300 cancels hit their own query, {served} queries of the bystander none");
    assert!(hit > 10 && served > 50, "the race was not run: {hit} hits, {served} served");
    bed.at_rest();
}
