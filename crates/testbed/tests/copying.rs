//! COPY through the pool: whatever ends it, the connection is intact for the next client.

use std::time::Duration;

use poolwarden_testbed::say::tell;
use poolwarden_testbed::wire::Address;
use poolwarden_testbed::{Bed, Plan, Say, Wire, bed, place, version};

fn s() -> Say {
    Say::new()
}

/// A bed with a single server connection and a table `t (n int)`.
fn start() -> Bed {
    let bed = Bed::start(Plan { size: 1, ..Plan::default() });
    bed.postgres.sql("create table t (n int); grant all on t to app");
    bed
}

/// Says it to PostgreSQL and through the pooler; both answer alike, and another client finds the only connection clean.
#[track_caller]
fn same(bed: &Bed, what: &str, say: &Say, readies: usize) -> String {
    let mut there = Wire::connect(&Address::Tcp(bed.postgres.address()), &bed::login()).expect("connect");
    let expected = there.told(say, readies);
    bed.postgres.sql("truncate t");
    let mut here = bed.client();
    let told = here.told(say, readies);
    assert_eq!(told, expected, "{what}: the pooler's answer, and PostgreSQL's");
    let mut other = bed.client();
    other.patience(Duration::from_secs(5)).expect("a socket");
    assert_eq!(other.query("select 'clean'").unwrap_or_else(|e| panic!("after {what}: {e}")).value(), "clean");
    assert_eq!(here.query("select 'in step'").unwrap_or_else(|e| panic!("after {what}: {e}")).value(), "in step");
    told
}

#[test]
fn copy_in_ends_in_every_way_and_the_pool_is_intact() {
    let _machine = place::machine(false);
    let bed = start();
    let copy = || s().query("copy t from stdin");
    let told = same(&bed, "rows and done", &copy().data("1\n").data("2\n").done(), 1);
    assert_eq!(told, "G C(COPY 2) ZI");
    let told = same(&bed, "a row that is wrong", &copy().data("x\n").data("2\n").done(), 1);
    assert_eq!(told, "G E(22P02) ZI");
    let told = same(&bed, "a failure of the client's", &copy().data("1\n").fail("changed my mind"), 1);
    assert_eq!(told, "G E(57014) ZI");
    same(&bed, "nothing at all", &copy().done(), 1);
    same(&bed, "a table that is not there", &s().query("copy nowhere from stdin").data("1\n").done(), 1);
    same(&bed, "sync and flush inside", &copy().data("1\n").flush().sync().data("2\n").done(), 1);
    let told =
        same(&bed, "two in one query", &s().query("copy t from stdin; copy t from stdin").data("1\n").done().done(), 1);
    assert_eq!(told, "G C(COPY 1) G C(COPY 0) ZI");
    same(&bed, "in a transaction", &s().query("begin").then(&copy()).data("1\n").done().query("rollback"), 3);
    // PostgreSQL gives up such a session from 14 on: so does the pooler, and nobody else meets what is left of it.
    let inside = copy().data("1\n").query("select 1");
    let mut wire = bed.client();
    if version::major() >= 14 {
        wire.send(&inside.bytes).expect("sent");
        assert_eq!(wire.last_words(), "G E(08P01) E(FATAL 08P01)");
    } else {
        assert_eq!(wire.told(&inside, 1), "G E(08P01) ZI");
        drop(wire);
    }
    assert_eq!(bed.client().query("select 'clean'").expect("served").value(), "clean");
}

#[test]
fn copy_in_by_the_extended_protocol_ends_in_every_way_and_the_pool_is_intact() {
    let _machine = place::machine(false);
    let bed = start();
    let copy = || s().once("copy t from stdin");
    let told = same(&bed, "sync at the end", &copy().data("1\n").done().sync(), 1);
    assert_eq!(told, "1 2 G C(COPY 1) ZI");
    same(&bed, "sync right after execute", &copy().sync().data("1\n").done().sync(), 1);
    same(&bed, "a failure of the client's", &copy().data("1\n").fail("no").sync(), 1);
    same(&bed, "a row that is wrong", &copy().data("x\n").data("1\n").done().sync(), 1);
    same(&bed, "in a pipeline", &s().once("select 1").then(&copy()).data("1\n").done().once("select 2").sync(), 1);
    same(&bed, "out of a pipeline", &s().once("copy (select 7) to stdout").once("select 8").sync(), 1);
}

#[test]
fn copy_messages_that_come_late_mean_nothing() {
    let _machine = place::machine(false);
    let bed = start();
    let late = s().data("1\n").data("2\n").done().fail("late");
    same(&bed, "late after nothing", &late.clone().query("select 1"), 1);
    same(
        &bed,
        "late after an error",
        &s().query("copy t from stdin").data("x\n").sync().query("select 2").then(&late).query("select 3"),
        4,
    );
    // After the connection has gone back to its pool, and with another client on it.
    let mut wire = bed.client();
    wire.told(&s().query("copy t from stdin").data("x\n").done(), 1);
    let mut other = bed.client();
    other.query("begin").expect("the only connection");
    wire.send(&late.bytes).expect("sent");
    assert_eq!(other.query("select count(*) from t").expect("undisturbed").value(), "0");
    other.query("commit").expect("undisturbed");
    assert_eq!(wire.query("select 3").expect("in step").value(), "3");
    bed.at_rest();
}

#[test]
fn copy_out_streams_and_an_error_in_its_middle_is_told() {
    let _machine = place::machine(false);
    let bed = start();
    let told = same(&bed, "rows out", &s().query("copy (values (1), (2)) to stdout"), 1);
    assert_eq!(told, "H d(1\n) d(2\n) c C(COPY 2) ZI");
    same(
        &bed,
        "an error on the way",
        &s().query("copy (select 1 / (3 - n) from generate_series(1, 5) n) to stdout"),
        1,
    );
}

#[test]
fn a_large_copy_goes_in_and_comes_out_whole() {
    let _machine = place::machine(false);
    let bed = start();
    let mut wire = bed.client();
    wire.send(&s().query("copy t from stdin").bytes).expect("sent");
    assert_eq!(tell(&wire.up_to('G').expect("asked for rows")), "G");
    let piece: String = (0..10_000).map(|n| format!("{n}\n")).collect();
    for _ in 0..100 {
        wire.send(&s().data(&piece).bytes).expect("sent");
    }
    assert_eq!(wire.told(&s().done(), 1), "C(COPY 1000000) ZI");
    wire.send(&s().query("copy t to stdout").bytes).expect("sent");
    let messages = wire.readies(1).expect("rows");
    let rows = messages.iter().filter(|(tag, _)| *tag == b'd').count();
    assert_eq!(rows, 1_000_000);
}
