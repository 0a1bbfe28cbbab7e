//! Time limits of what clients do: whoever outlasts one is told which, its server connection comes back clean,
//! and who stays within them is left alone.

use std::time::{Duration, Instant};

use poolwarden_testbed::say::tell;
use poolwarden_testbed::{Bed, Fault, Mode, Plan, Sampler, Say, Target, place};

/// Far above the limits, far below a test's patience.
const SOON: Duration = Duration::from_secs(20);

fn start(mode: Mode, limits: &str) -> Bed {
    Bed::start_as(Target::Poolwarden, Plan { size: 1, mode, ..Plan::default() }.pool(limits))
}

/// Says `say`, and returns the last words of the session that follow without another word of the client.
fn outlasts(bed: &Bed, say: &Say) -> (String, Duration) {
    let mut wire = bed.client();
    wire.patience(SOON).expect("a time limit");
    let began = Instant::now();
    wire.send(&say.bytes).expect("sent");
    let mut words = String::new();
    loop {
        match wire.receive() {
            Ok((_, body)) => words = String::from_utf8_lossy(&body).replace('\0', " "),
            Err(Fault::Closed) => return (words, began.elapsed()),
            Err(fault) => panic!("{fault} after {words}"),
        }
    }
}

#[test]
fn each_limit_ends_what_outlasts_it_says_so_and_leaves_the_pool_clean() {
    let _machine = place::machine(false);
    let sleep = Say::new().query("select pg_sleep(60)");
    let open = Say::new().query("begin");
    let busy = Say::new().query("begin").query("select pg_sleep(60)");
    let silent = Say::new().query("select 1");
    let cases = [
        ("query_timeout", &sleep, "57014"),
        ("query_timeout", &busy, "57014"),
        ("transaction_timeout", &open, "25P04"),
        ("transaction_timeout", &busy, "25P04"),
        ("idle_in_transaction_timeout", &open, "25P03"),
        ("client_idle_timeout", &silent, "57P05"),
    ];
    for mode in [Mode::Transaction, Mode::Session] {
        for (limit, say, sqlstate) in cases {
            let bed = start(mode, &format!("{limit} = \"300ms\""));
            let sampler = Sampler::start(&bed.postgres);
            let (words, after) = outlasts(&bed, say);
            assert!(words.contains(sqlstate) && words.contains(limit), "{mode:?}, {limit}: {words}");
            assert!(after >= Duration::from_millis(300), "{mode:?}, {limit}: ended after {after:?}");
            let mut next = bed.client();
            next.patience(SOON).expect("a time limit");
            assert_eq!(next.query("select 1").expect("served").value(), "1", "{mode:?}, {limit}");
            sampler.expect_at_most(bed.limit());
        }
    }
}

#[test]
fn who_stays_within_the_limits_is_left_alone_however_long_it_stays() {
    let _machine = place::machine(false);
    let limits = "query_timeout = \"2s\"\ntransaction_timeout = \"10s\"\nidle_in_transaction_timeout = \"2s\"\n\
                  client_idle_timeout = \"2s\"";
    let bed = start(Mode::Transaction, limits);
    let mut wire = bed.client();
    let began = Instant::now();
    // many short requests, one long pipeline of them, and transactions with short silences: together beyond every short limit
    while began.elapsed() < Duration::from_secs(4) {
        wire.query("select pg_sleep(0.2)").expect("a short request");
        let pipeline = (0..5).fold(Say::new(), |say, _| say.once("select pg_sleep(0.1)").sync());
        wire.send(&pipeline.bytes).expect("sent");
        let answers = wire.readies(5).expect("answers");
        assert!(!tell(&answers).contains("Error"), "{}", tell(&answers));
        wire.query("begin").expect("begin");
        wire.query("select pg_sleep(0.2)").expect("in a transaction");
        wire.query("commit").expect("commit");
    }
}

#[test]
fn a_users_own_limit_goes_before_the_pools() {
    let _machine = place::machine(false);
    let plan = Plan { size: 1, ..Plan::default() }.pool("client_idle_timeout = \"300ms\"");
    let bed =
        Bed::start_as(Target::Poolwarden, plan.edit("[users.app]\n", "[users.app]\nclient_idle_timeout = \"0s\"\n"));
    let mut wire = bed.client();
    assert!(wire.silent_for(Duration::from_millis(1500)), "the user's zero means no limit");
    assert_eq!(wire.query("select 1").expect("served").value(), "1");
}
