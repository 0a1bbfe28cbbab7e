//! Many clients over few server connections: nothing fails, and the limit holds all the while.

use std::sync::{Arc, Barrier};
use std::thread;

use poolwarden_testbed::{Bed, Plan, Sampler, Target, Wire, bed, child, client, place, template};

fn pgbench(bed: &Bed, arguments: &[&str]) -> String {
    let mut command = client::command(template::programs().join("pgbench"), bed);
    let (passed, said) = client::run(command.args(arguments));
    assert!(passed, "pgbench {arguments:?} failed:\n{said}");
    assert!(!said.contains("ERROR") && !said.contains("FATAL"), "pgbench {arguments:?}:\n{said}");
    said
}

/// 64 clients with `transactions` each: all are processed, none failed.
fn all_processed(bed: &Bed, transactions: u32, arguments: &[&str]) {
    let each = transactions.to_string();
    let said = pgbench(bed, &[&["-n", "-c", "64", "-j", "2", "-t", &each], arguments].concat());
    let total = 64 * transactions;
    let processed = format!("number of transactions actually processed: {total}/{total}");
    assert!(said.contains(&processed), "{arguments:?}: not {processed:?}:\n{said}");
    assert!(said.contains("number of failed transactions: 0 "), "{arguments:?}:\n{said}");
    let tps = said.lines().find(|line| line.starts_with("tps")).unwrap_or_default();
    eprintln!("pgbench {arguments:?}: {total} transactions, {tps}");
}

fn with_pgbench(arguments: &[&str], transactions: u32) {
    let _machine = place::machine(false);
    let bed = Bed::start(Plan::default());
    let sampler = Sampler::start(&bed.postgres);
    pgbench(&bed, &["-i", "-q", "-s", "4"]);
    all_processed(&bed, transactions, arguments);
    assert!(sampler.expect_at_most(bed.limit()) > 1, "the sampler saw no load");
}

#[test]
fn pgbench_simple_never_fails_nor_exceeds_the_limit() {
    with_pgbench(&["-M", "simple"], 80);
}

#[test]
fn pgbench_extended_never_fails_nor_exceeds_the_limit() {
    with_pgbench(&["-M", "extended"], 80);
}

#[test]
fn pgbench_prepared_never_fails_nor_exceeds_the_limit() {
    with_pgbench(&["-M", "prepared"], 80);
}

#[test]
fn pgbench_with_a_connection_for_each_transaction_never_fails_nor_exceeds_the_limit() {
    with_pgbench(&["-C", "-M", "simple"], 8);
}

#[test]
fn two_thousand_connected_clients_share_ten_server_connections() {
    let _machine = place::machine(true);
    child::raise_open_files();
    let bed = Bed::start(Plan::default());
    let count = Target::chosen().crowd(2_000);
    bed.postgres.sql("create table served (client int); grant all on served to app");
    let sampler = Sampler::start(&bed.postgres);
    let gathered = Arc::new(Barrier::new(usize::try_from(count).expect("small")));
    let clients: Vec<_> = (0..count)
        .map(|number| {
            let (address, gathered) = (bed.address(), Arc::clone(&gathered));
            let small = thread::Builder::new().stack_size(256 << 10);
            let work = move || {
                let connected = Wire::connect(&address, &bed::login());
                // Every client comes here, connected or not: a missing one would hold the others for ever.
                gathered.wait();
                let mut wire = connected?;
                wire.query("begin")?;
                wire.query(&format!("insert into served values ({number})"))?;
                wire.query("commit")
            };
            small.spawn(work).expect("a thread")
        })
        .collect();
    for (number, client) in clients.into_iter().enumerate() {
        let outcome = client.join().expect("no panic");
        assert!(outcome.is_ok(), "client {number}: {}", outcome.expect_err("just seen"));
    }
    assert!(sampler.expect_at_most(bed.limit()) > 1, "the sampler saw no load");
    let served = bed.postgres.sql("select count(distinct client)::text || '/' || count(*) from served").value();
    assert_eq!(served, format!("{count}/{count}"));
}
