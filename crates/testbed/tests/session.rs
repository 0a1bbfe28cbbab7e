//! Session mode: a client is told its own server connection's process, and everything that names a process means it.

use std::thread;
use std::time::Duration;

use poolwarden_testbed::bed::login;
use poolwarden_testbed::wire::{Message, cancel};
use poolwarden_testbed::{Bed, Fault, Mode, Plan, Say, Wire, place, until};

const PATIENCE: Duration = Duration::from_secs(15);

fn start(plan: Plan) -> Bed {
    Bed::start(Plan { mode: Mode::Session, ..plan })
}

fn own_process(wire: &mut Wire) -> String {
    wire.query("select pg_backend_pid()").expect("answered").value()
}

fn notified_by((_, body): &Message) -> i32 {
    i32::from_be_bytes(body[..4].try_into().expect("four bytes"))
}

#[test]
fn the_process_a_client_is_told_is_the_one_that_serves_it() {
    let _machine = place::machine(false);
    let bed = start(Plan::default());
    let (mut one, mut two) = (bed.client(), bed.client());
    assert_eq!(own_process(&mut one), one.key.0.to_string());
    assert_eq!(own_process(&mut two), two.key.0.to_string());
    one.query("listen news").expect("listens");
    two.query("notify news, 'it happened'").expect("notifies");
    let told = one.up_to('A').expect("a notification");
    assert_eq!(notified_by(told.last().expect("a notification")), two.key.0);
}

#[test]
fn who_blocks_whom_is_told_by_the_processes_clients_know() {
    let _machine = place::machine(false);
    let bed = start(Plan::default());
    let (mut holder, mut waiter, mut asker) = (bed.client(), bed.client(), bed.client());
    holder.query("select pg_advisory_lock(7)").expect("locked");
    waiter.send(&Say::new().query("select pg_advisory_lock(7)").bytes).expect("sent");
    let question = format!("select pg_blocking_pids({})::text", waiter.key.0);
    let expected = format!("{{{}}}", holder.key.0);
    until("the waiter to be blocked", PATIENCE, || {
        (asker.query(&question).expect("answered").value() == expected).then_some(())
    });
    holder.query("select pg_advisory_unlock(7)").expect("unlocked");
    waiter.answer().expect("granted");
}

#[test]
fn a_client_whose_process_is_terminated_hears_it_from_the_server() {
    let _machine = place::machine(false);
    let bed = start(Plan::default());
    let mut wire = bed.client();
    bed.postgres.sql(&format!("select pg_terminate_backend({})", wire.key.0));
    match wire.answer() {
        Err(Fault::Server(notice)) => {
            let said = (notice.severity.as_str(), notice.code.as_str(), notice.message.as_str());
            assert_eq!(said, ("FATAL", "57P01", "terminating connection due to administrator command"));
        }
        other => panic!("not terminated: {other:?}"),
    }
    let mut next = bed.client();
    assert_eq!(next.query("select 1").expect("served").value(), "1");
}

#[test]
fn a_cancel_needs_the_right_process_and_the_right_secret() {
    let _machine = place::machine(false);
    let bed = start(Plan::default());
    let (mut one, mut two) = (bed.client(), bed.client());
    for wire in [&mut one, &mut two] {
        wire.send(&Say::new().query("select pg_sleep(60)").bytes).expect("sent");
    }
    until("both to run", PATIENCE, || {
        let active = bed.postgres.backends().iter().filter(|backend| backend.state == "active").count();
        (active == 2).then_some(())
    });
    let (first, second) = (one.key.clone(), two.key.clone());
    for wrong in [(first.0, second.1.clone()), (second.0, first.1.clone()), (first.0 + 1, first.1.clone())] {
        cancel(&bed.address(), &wrong).expect("closed without a word");
    }
    assert!(one.silent_for(Duration::from_millis(200)) && two.silent_for(Duration::from_millis(1)));
    cancel(&bed.address(), &first).expect("closed without a word");
    match one.answer() {
        Err(Fault::Server(notice)) => assert_eq!(notice.code, "57014"),
        other => panic!("not cancelled: {other:?}"),
    }
    assert!(two.silent_for(Duration::from_millis(100)), "another client's query was ended");
    assert_eq!(own_process(&mut one), first.0.to_string(), "it keeps its process");
}

#[test]
fn a_login_waits_for_its_connection_and_no_longer_than_the_pool_lets_it() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(
        poolwarden_testbed::Target::Poolwarden,
        Plan { mode: Mode::Session, size: 1, max_wait: Duration::from_secs(2), ..Plan::default() },
    );
    let holder = bed.client();
    match Wire::connect(&bed.address(), &login()) {
        Err(Fault::Server(notice)) => {
            assert_eq!((notice.severity.as_str(), notice.code.as_str()), ("FATAL", "53300"));
            assert!(notice.message.contains("no server connection within"), "{}", notice.message);
        }
        other => panic!("not refused: {other:?}"),
    }
    let process = holder.key.0;
    let address = bed.address();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| Wire::connect(&address, &login()).expect("its turn comes"));
        until("it to wait", PATIENCE, || (bed.pool("cl_waiting") == 1).then_some(()));
        drop(holder);
        let next = waiting.join().expect("connected");
        assert_eq!(next.key.0, process, "the one connection serves the next client");
    });
    bed.at_rest();
}

#[test]
fn a_pause_holds_logins_and_a_resume_lets_them_in() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(poolwarden_testbed::Target::Poolwarden, Plan { mode: Mode::Session, ..Plan::default() });
    let first = bed.client();
    let mut console = bed.console();
    drop(first);
    bed.at_rest();
    console.query("PAUSE app").expect("paused");
    let address = bed.address();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| Wire::connect(&address, &login()).expect("let in"));
        until("it to wait", PATIENCE, || (bed.pool("cl_waiting") == 1).then_some(()));
        console.query("RESUME app").expect("resumed");
        let mut wire = waiting.join().expect("connected");
        assert_eq!(wire.query("select 1").expect("served").value(), "1");
    });
}
