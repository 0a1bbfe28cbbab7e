//! What has gone wrong with poolers elsewhere and no other file of tests is about.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use poolwarden_testbed::{Bed, Mode, Plan, Target, Wire, place, until};

#[test]
fn a_reset_that_waits_for_a_lock_holds_its_own_connection_alone() {
    let _machine = place::machine(false);
    let plan = Plan { size: 2, mode: Mode::Session, ..Plan::default() };
    let bed = Bed::start_as(
        Target::Poolwarden,
        plan.pool("server_reset_query = \"select pg_advisory_lock(99), pg_advisory_unlock(99)\""),
    );
    let mut keeper = bed.postgres.direct("app");
    keeper.query("select pg_advisory_lock(99)").expect("the lock is free");
    let mut gone = bed.client();
    gone.query("select 1").expect("served");
    drop(gone);
    until("the reset to wait for the lock", Duration::from_secs(10), || {
        let backends = bed.postgres.backends();
        backends.iter().any(|one| one.state == "active" && one.query.contains("pg_advisory_lock")).then_some(())
    });
    let mut other = bed.client();
    for number in 0..20 {
        assert_eq!(other.query(&format!("select {number}")).expect("the other place").value(), number.to_string());
    }
    assert!(bed.postgres.backends().len() <= 2, "the size holds while a connection cannot be reset");
    keeper.query("select pg_advisory_unlock(99)").expect("held");
    drop(other);
    bed.at_rest();
}

/// How long each of many transactions took, the slowest last.
fn times(wire: &mut Wire, count: usize) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let began = Instant::now();
            wire.query("select 1").expect("served");
            began.elapsed()
        })
        .collect();
    times.sort();
    times
}

/// What a scrape costs others it costs in every round; what the machine's other work costs it costs in some.
#[test]
fn a_scrape_under_load_delays_no_transaction() {
    const COUNT: usize = 1_500;
    const ROUNDS: usize = 8;
    let _machine = place::machine(true);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 4, ..Plan::default() });
    let _crowd: Vec<Wire> = (0..300).map(|_| bed.client()).collect();
    let mut wire = bed.client();
    let http = bed.pooler().expect("it is poolwarden").http();
    let scrape = || assert!(poolwarden_testbed::pooler::http_get(http, "/metrics").contains("poolwarden_"));
    let p99 = |times: &[Duration]| times[times.len() * 99 / 100];
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let alone = p99(&times(&mut wire, COUNT));
        let over = AtomicBool::new(false);
        let (scraped, scrapes) = thread::scope(|scope| {
            let scraper = scope.spawn(|| {
                let mut scrapes = 0;
                while !over.load(Ordering::Acquire) || scrapes < 2 {
                    scrape();
                    scrapes += 1;
                    // As often as hundreds of scrapers of the usual habit, and not as fast as it can be asked.
                    thread::sleep(Duration::from_millis(20));
                }
                scrapes
            });
            let scraped = p99(&times(&mut wire, COUNT));
            over.store(true, Ordering::Release);
            (scraped, scraper.join().expect("the scraper"))
        });
        rounds.push((alone, scraped, scrapes));
        if scraped <= alone * 3 + Duration::from_millis(2) {
            return;
        }
    }
    panic!("a scrape is felt: p99 alone, beside scrapes, and how many: {rounds:?}");
}

/// The process ids of the pool's connections, now.
fn pids(keeper: &mut Wire) -> Vec<String> {
    let sql = "select pid from pg_stat_activity where usename = 'app' and backend_type = 'client backend'";
    let answer = keeper.query(sql).expect("PostgreSQL answers");
    answer.rows.into_iter().map(|mut row| row.remove(0).unwrap_or_default()).collect()
}

#[test]
fn connections_opened_together_are_replaced_one_by_one_and_the_minimum_is_kept() {
    const SIZE: u32 = 8;
    let _machine = place::machine(false);
    let plan = Plan { size: SIZE, ..Plan::default() }.pool("lifetime = \"4s\"\nmin_size = 8");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    // All at once.
    let mut clients: Vec<Wire> = (0..SIZE).map(|_| bed.client()).collect();
    for wire in &mut clients {
        wire.query("begin").expect("a place for each");
    }
    for wire in &mut clients {
        wire.query("commit").expect("served");
    }
    let mut keeper = bed.postgres.direct("app");
    let first = pids(&mut keeper);
    assert_eq!(first.len(), SIZE as usize);
    let began = Instant::now();
    let mut gone: BTreeMap<String, Duration> = BTreeMap::new();
    let mut fewest = first.len();
    until("every connection to be replaced", Duration::from_secs(20), || {
        let now = pids(&mut keeper);
        assert!(now.len() <= SIZE as usize, "{} connections", now.len());
        fewest = fewest.min(now.len());
        for pid in first.iter().filter(|pid| !now.contains(pid)) {
            gone.entry(pid.clone()).or_insert_with(|| began.elapsed());
        }
        (gone.len() == first.len() && now.len() == SIZE as usize).then_some(())
    });
    let ends: Vec<Duration> = gone.values().copied().collect();
    let spread = ends.iter().max().expect("eight").saturating_sub(*ends.iter().min().expect("eight"));
    eprintln!("replaced over {spread:?}, never fewer than {fewest}");
    // A tenth of four seconds, both ways; eight together within a twentieth of that would be no chance.
    assert!(spread > Duration::from_millis(40), "all were replaced within {spread:?}");
    assert!(fewest >= SIZE as usize / 2, "only {fewest} were left at a time");
    // Nobody who works is cut off by it.
    let mut worker = bed.client();
    let until_then = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until_then {
        worker.query("begin; select pg_sleep(0.01); commit").expect("undisturbed");
    }
}
