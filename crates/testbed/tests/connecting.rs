//! A PostgreSQL that is full, starting, hanging or does not believe us, and a process without descriptors.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use poolwarden_testbed::crowd::{Crowd, Habit};
use poolwarden_testbed::{Bed, Plan, Say, Target, Wire, bed, place, until};

const PATIENCE: Duration = Duration::from_secs(20);

fn with_relay(size: u32) -> Plan {
    Plan { size, connect_time: Duration::from_millis(1), ..Plan::default() }
}

/// So many clients at once, each with a query of its own.
#[track_caller]
fn all_served(bed: &Bed, count: usize) -> Duration {
    let started = Instant::now();
    let address = bed.address();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..count)
            .map(|number| {
                let address = &address;
                scope.spawn(move || {
                    let mut wire =
                        Wire::connect(address, &bed::login()).unwrap_or_else(|e| panic!("client {number}: {e}"));
                    wire.patience(PATIENCE).expect("a socket");
                    let sql = format!("select {number} from pg_sleep(0.02)");
                    let answer = wire.query(&sql).unwrap_or_else(|e| panic!("client {number}: {e}"));
                    assert_eq!(answer.value(), number.to_string());
                })
            })
            .collect();
        for client in clients {
            client.join().expect("served");
        }
    });
    started.elapsed()
}

#[test]
fn a_postgresql_that_is_full_makes_clients_wait_for_pg_slots_and_fails_none() {
    let _machine = place::machine(false);
    let plan = Plan {
        size: 10,
        max_connections: 14,
        postgres: vec![("superuser_reserved_connections", "3".into())],
        ..Plan::default()
    };
    let bed = Bed::start_as(Target::Poolwarden, plan);
    // Others of PostgreSQL's own clients take all but two or three of what it has.
    let direct = poolwarden_testbed::wire::Address::Tcp(bed.postgres.address());
    let others: Vec<Wire> = (0..8).map(|_| Wire::connect(&direct, &bed::login()).expect("a place")).collect();
    let mut console = bed.console();
    let mut clients: Vec<Wire> = Vec::new();
    for _ in 0..12 {
        let mut wire = bed.client();
        wire.send(&Say::new().query("select pg_sleep(1.5)").bytes).expect("sent");
        clients.push(wire);
    }
    until("SHOW WAITS to name pg_slots", PATIENCE, || {
        let waits = console.query("SHOW WAITS").expect("SHOW WAITS");
        let cells = waits.rows.iter().flatten().flatten();
        cells.map(String::as_str).any(|cell| cell == "pg_slots").then_some(())
    });
    drop(others);
    for (number, wire) in clients.iter_mut().enumerate() {
        wire.answer().unwrap_or_else(|e| panic!("client {number}: {e}"));
    }
    let refused = bed.postgres.log().matches("too many clients already").count()
        + bed.postgres.log().matches("remaining connection slots").count();
    eprintln!("PostgreSQL refused {refused} connects");
    assert!((1..60).contains(&refused), "{refused} refusals: hammered, or never full");
}

#[test]
fn a_postgresql_that_is_starting_up_is_waited_for() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, with_relay(4));
    let before = bed.relay().accepted();
    bed.relay().refuse(6, "57P03", "the database system is starting up");
    let took = all_served(&bed, 12);
    let tries = bed.relay().accepted() - before;
    eprintln!("served in {took:?} after {tries} connects");
    assert!(tries <= 6 + 4 + 4, "{tries} connects");
}

#[test]
fn a_wrong_server_password_is_told_and_not_tried_over_and_over() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(
        Target::Poolwarden,
        Plan { size: 10, ..Plan::default() }.pool("user = \"app\"\npassword_env = \"WRONG_PASSWORD\""),
    );
    let failed = || bed.postgres.log().matches("password authentication failed for user \"app\"").count();
    let started = Instant::now();
    let address = bed.address();
    let told: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..20).map(|_| scope.spawn(|| Wire::connect(&address, &bed::login()).map(|_| ()))).collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("ended").expect_err("nobody can be served").to_string())
            .collect()
    });
    eprintln!(
        "{} clients were told within {:?}, {} logins failed: {}",
        told.len(),
        started.elapsed(),
        failed(),
        told[0]
    );
    assert!(told.iter().all(|told| told.contains("28P01") || told.contains("password")), "{told:?}");
    assert!(failed() <= 20, "{} failed logins", failed());
    let now = failed();
    thread::sleep(Duration::from_secs(1)); // nobody asks: nothing may be tried
    // Four connects may be under way at once: when the first is answered, three may still be.
    assert!(failed() <= now + 3, "tried on without being asked");
}

#[test]
fn connects_that_hang_do_not_keep_others_from_being_opened() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, with_relay(8));
    bed.client().query("select 1").expect("warm");
    bed.console().query("RECONNECT").expect("all are replaced");
    bed.relay().stall(3);
    // Three of the first connects hang for the whole connect timeout of 15 s; nobody waits for them.
    let took = all_served(&bed, 24);
    eprintln!("served beside three hanging connects in {took:?}");
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn all_first_connects_that_hang_are_given_up_and_the_clients_are_served_after_all() {
    let _machine = place::machine(false);
    let plan = with_relay(4).edit("tls = \"disable\"", "tls = \"disable\"\nconnect_timeout = \"2s\"");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    bed.relay().stall(4);
    let took = all_served(&bed, 8);
    eprintln!("served after four hanging connects in {took:?}");
    assert!(took < Duration::from_secs(12), "{took:?}");
}

#[test]
fn without_descriptors_those_who_are_there_go_on_and_accepting_recovers() {
    let _machine = place::machine(false);
    let plan = Plan { size: 2, budget: Some(4), max_clients: 40, open_files: Some(280), ..Plan::default() };
    let bed =
        Bed::start_as(Target::Poolwarden, plan.edit("max_clients = 40", "max_clients = 40\nlogin_timeout = \"60s\""));
    let mut good: Vec<Wire> = (0..4).map(|_| bed.client()).collect();
    good[0].query("select 1").expect("warm");
    let mut console = bed.console();
    let crowd = Crowd::start(Path::new(env!("CARGO_BIN_EXE_crowd")), bed.addr(), 400, Habit::Silent);
    until("the descriptors to run out", PATIENCE, || {
        bed.pooler().expect("poolwarden").log().contains("cannot accept").then_some(())
    });
    for number in 0..200_usize {
        let wire = &mut good[number % 4];
        assert_eq!(wire.query(&format!("select {number}")).expect("goes on").value(), number.to_string());
    }
    assert!(!console.query("SHOW POOLS").expect("answers").rows.is_empty());
    crowd.vanish();
    let mut new = until("accepting to recover", PATIENCE, || Wire::connect(&bed.address(), &bed::login()).ok());
    assert_eq!(new.query("select 5").expect("served").value(), "5");
    bed.at_rest();
}
