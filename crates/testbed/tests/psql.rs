//! psql, libpq's own client, in clear and over TLS in both modes: the simple protocol, Describe, `\copy`, Ctrl-C.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use poolwarden_testbed::door::{Door, WAYS};
use poolwarden_testbed::{Plan, Postgres, Sampler, child, client, place, template, until};
use rustix::process::Signal;

/// 8 MiB.
const LARGE: usize = 8 << 20;

fn psql(door: &Door) -> Command {
    let mut command = client::command(template::programs().join("psql"), &door.bed);
    door.tell(&mut command);
    command.args(["-X", "-q", "-A", "-t", "-v", "VERBOSITY=verbose"]);
    command
}

/// What psql prints for a script on its standard input, errors included.
fn script(door: &Door, text: &str) -> String {
    let place = place::Place::new("psql");
    let file = std::fs::File::open(place.write("script.sql", text)).expect("just written");
    let output = psql(door).stdin(file).output().expect("psql runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    String::from_utf8_lossy(&output.stdout).into_owned() + &errors
}

fn lines(said: &str) -> Vec<&str> {
    said.lines().collect()
}

#[test]
fn psql_queries_describes_and_rolls_back() {
    let _machine = place::machine(false);
    for way in WAYS {
        let door = way.open(Plan::default());
        let said = script(&door, "select 6 * 7; select 1 as a, 'two' as b \\gdesc \n select 1; select 2;");
        assert_eq!(lines(&said), ["42", "a|integer", "b|text", "1", "2"]);
        let said = script(
            &door,
            "create table rolled (n int); begin; insert into rolled values (1); rollback; \
             select count(*) from rolled; begin; insert into rolled values (2); commit; select n from rolled;",
        );
        assert_eq!(lines(&said), ["0", "2"]);
        let prepared = "begin; prepare twice(int) as select $1 * 2; execute twice(21); deallocate twice; commit;";
        assert_eq!(lines(&script(&door, prepared)), ["42"]);
        assert!(door.bed.postgres.backends().len() <= door.bed.limit());
    }
}

#[test]
fn psql_goes_on_after_an_error() {
    let _machine = place::machine(false);
    for way in WAYS {
        let door = way.open(Plan::default());
        let said =
            script(&door, "select 1 / 0;\nselect 5;\nbegin;\nselect no_such_column;\nselect 1;\nrollback;\nselect 6;");
        for part in ["ERROR:  22012", "ERROR:  42703", "ERROR:  25P02"] {
            assert!(said.contains(part), "no {part} in {said}");
        }
        let answers: Vec<&str> = said.lines().filter(|line| line.parse::<i32>().is_ok()).collect();
        assert_eq!(answers, ["5", "6"]);
    }
}

#[test]
fn psql_copies_in_and_out() {
    let _machine = place::machine(false);
    for way in WAYS {
        let door = way.open(Plan::default());
        let mut text = "create table copied (n int, t text);\n\\copy copied from stdin\n".to_string();
        (0..10_000).for_each(|n| text.push_str(&format!("{n}\trow {n}\n")));
        text.push_str("\\.\nselect count(*), sum(n) from copied;\n\\copy copied from stdin\nx\ty\n\\.\nselect 5;\n");
        text.push_str("\\copy (select n from copied where n < 3 order by n) to stdout\n");
        let said = script(&door, &text);
        assert!(said.contains("ERROR:  22P02"), "the broken COPY passed: {said}");
        let answers: Vec<&str> = said.lines().take(5).collect();
        assert_eq!(answers, ["10000|49995000", "5", "0", "1", "2"]);
    }
}

#[test]
fn psql_carries_a_large_row_both_ways() {
    let _machine = place::machine(false);
    for way in WAYS {
        let door = way.open(Plan::default());
        let large = "x".repeat(LARGE);
        let said = script(&door, &format!("select '{large}' as t;\nselect length('{large}');\n"));
        let said = lines(&said);
        assert!(said.len() == 2 && said[0] == large, "an 8 MiB text changed on its way: {} lines", said.len());
        assert_eq!(said[1], LARGE.to_string());
    }
}

#[test]
fn psql_cancels_a_running_query() {
    let _machine = place::machine(false);
    for way in WAYS {
        let door = way.open(Plan::default());
        let mut command = psql(&door);
        command.args(["-c", "select pg_sleep(30)"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let psql = child::spawn(&mut command);
        until_sleeping(&door.bed.postgres);
        child::signal(child::pid(&psql), Signal::INT);
        let output = psql.wait_with_output().expect("psql ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("ERROR:  57014"), "not cancelled: {said}");
        assert!(started.elapsed() < Duration::from_secs(10), "the cancel came late");
        let sleeping = |backend: &poolwarden_testbed::postgres::Backend| backend.state == "active";
        assert!(!door.bed.postgres.backends().iter().any(sleeping), "PostgreSQL still runs it");
    }
}

fn until_sleeping(postgres: &Postgres) {
    until("pg_sleep to run", Duration::from_secs(20), || {
        let sleeps = |b: &poolwarden_testbed::postgres::Backend| b.state == "active" && b.query.contains("pg_sleep");
        postgres.backends().iter().any(sleeps).then_some(())
    });
}

#[test]
fn a_hundred_psqls_at_once_are_served() {
    let _machine = place::machine(false);
    for way in WAYS {
        let door = way.open(Plan::default());
        let sampler = Sampler::start(&door.bed.postgres);
        // Each connects, then waits for its script on the standard input, so that all are there at once.
        let mut clients: Vec<_> = (0..100)
            .map(|_| child::spawn(psql(&door).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped())))
            .collect();
        for (number, psql) in clients.iter_mut().enumerate() {
            use std::io::Write;
            let mut input = psql.stdin.take().expect("piped above");
            write!(input, "begin; select {number} from pg_sleep(0.01); commit;").expect("psql reads");
        }
        for (number, psql) in clients.into_iter().enumerate() {
            let output = psql.wait_with_output().expect("psql ends");
            let said = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(said.trim(), number.to_string(), "client {number}: {errors}");
        }
        sampler.expect_at_most(door.bed.limit());
    }
}
