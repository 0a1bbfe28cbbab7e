//! A class shed by hand: its requests are refused at once on living connections, the others' are served, and it is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use poolwarden_testbed::{Bed, Plan, Target, Wire, bed, place, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Clients that call themselves so are of class batch.
fn start() -> Bed {
    let class = "[classes.batch]\napplications = [\"night*\"]\n\n[auth]\n";
    Bed::start_as(Target::Poolwarden, Plan { size: 1, ..Plan::default() }.edit("[auth]\n", class))
}

fn batch_client(bed: &Bed) -> Wire {
    let mut wire = bed.client();
    wire.query("set application_name = 'nightly-7'").expect("set");
    wire
}

fn of_batch(bed: &Bed, column: &str) -> String {
    let rows = bed.show("CLASSES");
    let row = rows.iter().find(|row| row["class"] == "batch" && row["pool"] == "app");
    row.map_or_else(String::new, |row| row[column].clone())
}

#[test]
fn a_shed_class_is_refused_on_living_connections_and_a_transaction_it_began_goes_on() {
    let _machine = place::machine(false);
    let mut bed = start();
    let (mut batch, mut other, mut console) = (batch_client(&bed), bed.client(), bed.console());
    batch.query("begin").expect("begun before");
    console.query("SHED batch FOR '10m'").expect("shed");
    assert_eq!(batch.query("select 1").expect("nothing is shed inside a transaction").value(), "1");
    batch.query("commit").expect("committed");
    for _ in 0..2 {
        let fault = batch.query("select 2").expect_err("shed").to_string();
        assert!(fault.contains("53300") && fault.contains("class \"batch\" is being shed by an operator"), "{fault}");
        assert_eq!(other.query("select 3").expect("another class is served").value(), "3");
    }
    assert_eq!((of_batch(&bed, "refused_shed"), of_batch(&bed, "waiting")), ("2".to_owned(), "0".to_owned()));
    assert!(of_batch(&bed, "shed_until").ends_with(" UTC"), "{:?}", bed.show("CLASSES"));
    let pooler = bed.poolwarden();
    assert_eq!(pooler.metric("poolwarden_sheds_total", "class=\"batch\",reason=\"shed\""), 2.0);
    assert_eq!(pooler.metric("poolwarden_class_shed", "class=\"batch\""), 1.0);
    console.query("SHED batch FOR '0s'").expect("given back");
    assert_eq!(batch.query("select 4").expect("served again, on the same connection").value(), "4");
    assert_eq!(of_batch(&bed, "shed_until"), "");
    let log = until("both lines in the log", PATIENCE, || {
        let log = bed.poolwarden().log();
        (log.contains("class batch is shed until") && log.contains("class batch is shed no longer")).then_some(log)
    });
    assert!(log.contains("by console, app from 127.0.0.1"), "{log}");
}

#[test]
fn a_class_that_is_not_there_and_a_time_that_is_none_are_refused_with_what_to_write() {
    let _machine = place::machine(false);
    let bed = start();
    let mut console = bed.console();
    let table = [
        ("SHED bacth FOR '10m'", "no such class: bacth"),
        ("SHED batch FOR '25h'", "longer than a class may be shed"),
        ("SHED batch FOR 'ten minutes'", "ten minutes"),
        ("SHED batch", "SHED is written SHED class FOR '10m'"),
    ];
    for (sql, expected) in table {
        let fault = console.query(sql).expect_err("refused").to_string();
        assert!(fault.contains(expected), "{sql}: {fault}");
    }
    assert_eq!(batch_client(&bed).query("select 1").expect("nothing was shed").value(), "1");
}

/// Ten times what one server connection can do, by clients that ask again at once whatever they are told.
fn storm(address: &poolwarden_testbed::wire::Address, stop: &AtomicBool) {
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let mut wire = Wire::connect(address, &bed::login()).expect("connect");
                wire.query("set application_name = 'nightly'").expect("set");
                while !stop.load(Ordering::Acquire) {
                    if let Err(fault) = wire.query("select pg_sleep(0.02)") {
                        assert!(fault.to_string().contains("53300"), "{fault}");
                    }
                }
            });
        }
    });
}

#[test]
fn an_overloaded_class_is_named_when_shedding_begins_and_ends_and_metrics_say_so_meanwhile() {
    let _machine = place::machine(false);
    let class = "[classes.batch]\nmax_wait = \"2s\"\napplications = [\"night*\"]\n\n[auth]\n";
    let plan = Plan { size: 1, ..Plan::default() }.edit("[auth]\n", class);
    let mut bed = Bed::start_as(Target::Poolwarden, plan);
    let (address, stop) = (bed.address(), AtomicBool::new(false));
    thread::scope(|scope| {
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let ends = Stop(&stop);
        scope.spawn(|| storm(&address, &stop));
        until("shedding to begin", PATIENCE, || (of_batch(&bed, "overloaded") == "t").then_some(()));
        let pooler = bed.poolwarden();
        assert_eq!(pooler.metric("poolwarden_overloaded", "class=\"batch\""), 1.0);
        until("somebody to be shed", PATIENCE, || {
            let shed = pooler.metric("poolwarden_sheds_total", "class=\"batch\",reason=\"overload\"");
            (shed > 0.0).then_some(())
        });
        until("the line in the log", PATIENCE, || {
            pooler.log().contains("class batch is overloaded, shedding begins").then_some(())
        });
        drop(ends);
    });
    until("it to be over", PATIENCE, || (of_batch(&bed, "overloaded") == "f").then_some(()));
    let line = until("the last line in the log", PATIENCE, || {
        let log = bed.poolwarden().log();
        log.lines().rfind(|line| line.contains("class batch is overloaded no more")).map(str::to_owned)
    });
    assert!(line.contains("event=shedding_ended") && line.contains("class=batch") && line.contains(" shed="), "{line}");
    let retries = bed.poolwarden().metric("poolwarden_retries_total", "class=\"batch\"");
    assert!(retries > 0.0, "who was refused came again at once");
}
