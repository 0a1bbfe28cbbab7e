//! Clients and servers that leave in the middle: nobody meets what they left, and every connection is accounted for.

use std::time::Duration;

use poolwarden_testbed::say::tell;
use poolwarden_testbed::{Bed, Fault, Plan, Sampler, Say, Target, Wire, place, until};

const PATIENCE: Duration = Duration::from_secs(15);

fn s() -> Say {
    Say::new()
}

fn start(size: u32) -> Bed {
    let bed = Bed::start_as(Target::Poolwarden, Plan { size, ..Plan::default() });
    bed.postgres.sql("create table t (n int); grant all on t to app");
    bed
}

/// The states in which a client may vanish: what it has said, and what it has read before it goes.
fn moments() -> Vec<(&'static str, Say, Option<char>)> {
    let rows = "select repeat('x', 100000) from generate_series(1, 1000)";
    let half_query = s().query("insert into t values (666)").bytes;
    let half_row = s().data(&"6\n".repeat(100)).bytes;
    let cut = |say: &Say, bytes: &[u8], at: usize| Say { bytes: [&say.bytes[..], &bytes[..at]].concat() };
    vec![
        ("mid-query", s().query("insert into t values (1); select pg_sleep(60)"), None),
        ("mid-result", s().query(rows), Some('D')),
        ("mid-transaction", s().query("begin").query("insert into t values (2)"), Some('Z')),
        ("a failed transaction", s().query("begin").query("select 1/0"), Some('E')),
        ("mid-batch", s().once("insert into t values (3)").flush(), Some('C')),
        ("mid-COPY in", s().query("copy t from stdin").data("4\n"), Some('G')),
        ("mid-COPY in, extended", s().once("copy t from stdin").flush().data("5\n"), Some('G')),
        (
            "mid-COPY out",
            s().query("copy (select repeat('x', 100000) from generate_series(1, 1000)) to stdout"),
            Some('d'),
        ),
        ("mid-message", cut(&s(), &half_query, 15), None),
        ("mid-message of a transaction", cut(&s().query("begin"), &half_query, 15), Some('Z')),
        ("mid-row of a COPY", cut(&s().query("copy t from stdin"), &half_row, 50), Some('G')),
        ("mid-header", cut(&s().query("begin; insert into t values (7)"), b"Q\0\0", 3), Some('Z')),
        (
            "a pipeline of transactions",
            (0..50).fold(s(), |say, _| say.query("begin; insert into t values (8); rollback")),
            None,
        ),
        ("a suspended portal", s().parse("", rows).bind("p", "", &[]).execute("p", 3).flush(), Some('s')),
    ]
}

#[test]
fn a_client_that_vanishes_at_any_moment_leaves_a_clean_pool_and_an_exact_count() {
    let _machine = place::machine(false);
    let bed = start(2);
    let sampler = Sampler::start(&bed.postgres);
    for (what, say, read) in moments() {
        for politely in [false, true] {
            let began = std::time::Instant::now();
            let mut gone = bed.client();
            gone.send(&say.bytes).expect("sent");
            if let Some(tag) = read {
                gone.up_to(tag).unwrap_or_else(|e| panic!("{what}: {e}"));
            }
            if politely {
                drop(gone)
            } else {
                gone.reset()
            }
            // Both connections of the pool are asked, at the same time, by clients that expect nothing of the kind.
            let mut others = [bed.client(), bed.client()];
            for other in &mut others {
                other.patience(PATIENCE).expect("a socket");
                let told = other.told(&s().query("begin").query("select count(*), max(n) from t"), 2);
                assert_eq!(told, "C(BEGIN) ZT T(count,max) D(0,null) C(SELECT 1) ZT", "after {what}");
            }
            for other in &mut others {
                assert_eq!(other.told(&s().query("commit"), 1), "C(COMMIT) ZI", "after {what}");
            }
            eprintln!("{what}: clean within {:?}", began.elapsed());
        }
    }
    bed.at_rest();
    sampler.expect_at_most(bed.limit());
}

#[test]
fn two_hundred_clients_that_vanish_while_they_wait_or_work_leave_no_trace() {
    let _machine = place::machine(false);
    let bed = start(4);
    let sampler = Sampler::start(&bed.postgres);
    for round in 0..4 {
        let mut crowd: Vec<Wire> = (0..50).map(|_| bed.client()).collect();
        for (number, wire) in crowd.iter_mut().enumerate() {
            let sql = ["select pg_sleep(0.05)", "begin", "insert into t values (1); select pg_sleep(60)"][number % 3];
            wire.send(&s().query(sql).bytes).expect("sent");
        }
        if round % 2 == 0 {
            until("some to wait", PATIENCE, || (bed.pool("cl_waiting") > 10).then_some(()));
        }
        crowd.into_iter().for_each(Wire::reset);
    }
    let mut client = bed.client();
    client.patience(PATIENCE).expect("a socket");
    assert_eq!(client.query("select count(*) from t").expect("served").value(), "0");
    bed.at_rest();
    assert_eq!(bed.pool("cl_waiting"), 0);
    sampler.expect_at_most(bed.limit());
}

/// Ends the backends there are, and waits until they have gone: PostgreSQL 13 cannot wait for that itself.
#[track_caller]
fn end_backends(bed: &Bed) {
    let before = bed.postgres.backends();
    bed.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'");
    until("the backends to end", Duration::from_secs(5), || {
        let left = bed.postgres.backends();
        before.iter().all(|one| left.iter().all(|other| other.pid != one.pid)).then_some(())
    });
}

#[test]
fn a_server_that_ends_idle_in_its_pool_is_noticed_by_nobody() {
    let _machine = place::machine(false);
    let bed = start(3);
    let mut clients = [bed.client(), bed.client(), bed.client()];
    for round in 0..5 {
        for wire in &mut clients {
            wire.query("begin").expect("each has its own");
        }
        for wire in &mut clients {
            wire.query("commit").expect("and gives it back");
        }
        end_backends(&bed);
        for (number, wire) in clients.iter_mut().enumerate() {
            let value =
                wire.query(&format!("select {number}")).unwrap_or_else(|e| panic!("round {round}: {e}")).value();
            assert_eq!(value, number.to_string());
        }
    }
    bed.at_rest();
}

/// Ends the only backend with `wire` on it, and expects its FATAL once and then the end.
#[track_caller]
fn ends_with_one_fatal(bed: &Bed, wire: &mut Wire, before: &str) {
    end_backends(bed);
    let told = wire.last_words();
    assert_eq!(told, format!("{before}E(FATAL 57P01)"));
    let mut next = bed.client();
    next.patience(PATIENCE).expect("a socket");
    assert_eq!(next.query("select 'next'").expect("the next client is served").value(), "next");
    bed.at_rest();
}

#[test]
fn a_server_that_ends_with_a_client_on_it_is_told_once_and_the_next_client_is_served() {
    let _machine = place::machine(false);
    let bed = start(1);
    let mut wire = bed.client();
    wire.query("begin").expect("begun");
    ends_with_one_fatal(&bed, &mut wire, "");
    let mut wire = bed.client();
    wire.send(&s().query("select pg_sleep(60)").bytes).expect("sent");
    until("the query to run", PATIENCE, || bed.postgres.backends().iter().any(|b| b.state == "active").then_some(()));
    ends_with_one_fatal(&bed, &mut wire, "T(pg_sleep) ");
    let mut wire = bed.client();
    wire.send(&s().once("select 1").flush().bytes).expect("sent");
    assert_eq!(tell(&wire.up_to('C').expect("served")), "1 2 D(1) C(SELECT 1)");
    ends_with_one_fatal(&bed, &mut wire, "");
    let mut wire = bed.client();
    wire.send(&s().query("copy t from stdin").bytes).expect("sent");
    wire.up_to('G').expect("asked for rows");
    ends_with_one_fatal(&bed, &mut wire, "");
}

#[test]
fn a_server_killed_in_mid_result_is_an_end_and_nothing_half_reaches_another_client() {
    let _machine = place::machine(false);
    let bed = start(1);
    let mut wire = bed.client();
    wire.send(&s().query("select repeat('x', 100000) from generate_series(1, 100000)").bytes).expect("sent");
    wire.up_to('D').expect("a row");
    bed.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'");
    let end = loop {
        match wire.receive() {
            Ok((b'D', _)) => {}
            Ok((b'E', body)) => break String::from_utf8_lossy(&body).into_owned(),
            Ok((tag, _)) => panic!("{:?}", char::from(tag)),
            Err(Fault::Closed) => break "closed".to_string(),
            Err(fault) => panic!("{fault}"),
        }
    };
    assert!(end == "closed" || end.contains("57P01") || end.contains("08006"), "{end}");
    let mut next = bed.client();
    next.patience(PATIENCE).expect("a socket");
    assert_eq!(next.query("select 'next'").expect("served").value(), "next");
    bed.at_rest();
}
