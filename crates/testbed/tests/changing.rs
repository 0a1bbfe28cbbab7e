//! Settings changed while clients work: sizes up and down, broken files among good ones, passwords, a PostgreSQL that restarts
//! behind paused pools. Nobody notices.

use std::fs;
use std::time::Duration;

use poolwarden_testbed::reloads::{self, Dice};
use poolwarden_testbed::wire::Login;
use poolwarden_testbed::workers::Workers;
use poolwarden_testbed::{Bed, Plan, Pooler, Say, Target, Wire, bed, place, until};
use rustix::process::Signal;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const TRANSACTION: &[&str] = &["begin", "select pg_sleep(0.002)", "commit"];

fn pooler(bed: &Bed) -> &Pooler {
    bed.pooler().expect("poolwarden")
}

fn text(bed: &Bed) -> String {
    fs::read_to_string(pooler(bed).dir().join("poolwarden.toml")).expect("its file")
}

/// Everything that is in force, as it is told: settings, databases, users.
fn in_force(bed: &Bed) -> String {
    let tables = ["CONFIG", "DATABASES", "USERS"].map(|table| {
        let mut rows = bed.show(table);
        for row in &mut rows {
            // what is counted, not set
            for counted in ["current_connections", "current_client_connections"] {
                row.remove(counted);
            }
        }
        format!("{rows:?}")
    });
    let config: Value = serde_json::from_str(&pooler(bed).get("/api/v1/config")).expect("JSON");
    format!("{config}{}", tables.join("\n"))
}

#[test]
fn five_then_fifty_then_five_and_no_transaction_is_cut() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 5, budget: Some(80), ..Plan::default() });
    let five = text(&bed);
    let workers = Workers::start(&bed, 12, TRANSACTION);
    pooler(&bed).rewrite_text(&five.replace("size = 5\n", "size = 50\n"));
    bed.console().query("RELOAD").expect("reloaded");
    // as many open transactions at once as there are places besides those at work
    let mut open: Vec<Wire> = (0..38).map(|_| bed.client()).collect();
    for client in &mut open {
        client.query("begin").expect("a place in the larger pool");
    }
    assert!(bed.postgres.backends().len() >= 38);
    workers.flow(50);
    pooler(&bed).rewrite_text(&five);
    pooler(&bed).signal(Signal::HUP);
    until("the smaller size to be in force", PATIENCE, || {
        (bed.show("DATABASES").iter().find(|row| row["name"] == "app")?["pool_size"] == "5").then_some(())
    });
    for client in &mut open {
        assert_eq!(client.query("select 7").expect("its transaction goes on").value(), "7");
        client.query("commit").expect("and ends");
    }
    until("the pool to be small again", PATIENCE, || (bed.postgres.backends().len() <= 5).then_some(()));
    workers.flow(50);
    for client in &mut open {
        assert_eq!(client.query("select 8").expect("served by the small pool").value(), "8");
    }
    let (_, errors) = workers.end();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn of_random_reloads_the_broken_half_changes_nothing_at_all_and_no_transaction_is_cut() {
    const RELOADS: u64 = 120;
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan::default());
    let base = text(&bed);
    let workers = Workers::start(&bed, 6, TRANSACTION);
    let (mut dice, mut kinds, mut console) = (Dice::new(7), std::collections::BTreeSet::new(), bed.console());
    for round in 0..RELOADS {
        let file = reloads::toml(&base, &mut dice);
        let before = in_force(&bed);
        fs::write(pooler(&bed).dir().join("poolwarden.toml"), &file.bytes).expect("written");
        let answer = console.query("RELOAD");
        match (file.broken, answer) {
            (Some(kind), Err(_)) => {
                kinds.insert(kind);
                assert_eq!(in_force(&bed), before, "round {round}: {kind}");
            }
            (None, Ok(_)) => {
                let written = String::from_utf8(file.bytes).expect("text");
                let size = written.split_once("\nsize = ").and_then(|(_, rest)| rest.lines().next()).expect("a size");
                let rows = bed.show("DATABASES");
                let row = rows.iter().find(|row| row["name"] == "app").expect("the pool");
                assert_eq!(row["pool_size"], size, "round {round}");
                let others = written.matches("[pools.other").count();
                assert_eq!(rows.iter().filter(|row| row["name"].starts_with("other")).count(), others, "round {round}");
            }
            (broken, answer) => {
                panic!("round {round}: {broken:?}: {answer:?}\n{}", String::from_utf8_lossy(&file.bytes))
            }
        }
    }
    assert_eq!(kinds.len(), 10, "every kind of fault was there: {kinds:?}");
    let (served, errors) = workers.end();
    assert_eq!(errors, Vec::<String>::new());
    assert!(served > RELOADS, "{served}");
}

#[test]
fn postgres_restarts_behind_paused_pools_and_two_hundred_clients_wait_longer_than_they_might() {
    let _machine = place::machine(false);
    // nobody may wait longer than a moment, and while it is paused that does not count
    let plan = Plan { size: 10, ..Plan::default() }.edit("max_wait = \"60s\"", "max_wait = \"300ms\"");
    let mut bed = Bed::start_as(Target::Poolwarden, plan);
    let mut clients: Vec<Wire> = (0..200).map(|_| bed.client()).collect();
    for client in &mut clients {
        client.query("select 1").expect("served");
        let prepared = client.told(&Say::new().parse("kept", "select 6 * 7").sync(), 1);
        assert!(prepared.starts_with('1'), "{prepared}");
    }
    bed.console().query("PAUSE").expect("paused");
    assert_eq!(bed.postgres.backends().len(), 0, "every server connection is closed");
    let threads: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                client.query("begin").map_err(|e| format!("begin: {e}"))?;
                let kept = client.told(&Say::new().run("kept", &[]).sync(), 1);
                client.query("commit").map_err(|e| format!("commit: {e}"))?;
                Ok::<String, String>(kept)
            })
        })
        .collect();
    until("all of them to wait", PATIENCE, || (bed.pool("cl_waiting") == 200).then_some(()));
    bed.postgres.stop();
    bed.postgres.restart();
    // longer than max_wait, were it counted
    until("the oldest to have waited for a second", PATIENCE, || {
        let waited = bed.show("POOLS").iter().map(|row| row["maxwait"].parse::<u64>().unwrap_or(0)).max();
        (waited >= Some(1)).then_some(())
    });
    bed.console().query("RESUME").expect("resumed");
    let ended: Vec<Result<String, String>> =
        threads.into_iter().map(|thread| thread.join().expect("it did not panic")).collect();
    let errors: Vec<&String> = ended.iter().filter_map(|ended| ended.as_ref().err()).collect();
    assert_eq!(errors, Vec::<&String>::new());
    for kept in ended.into_iter().flatten() {
        assert!(kept.contains("42"), "what was prepared is there again: {kept}");
    }
}

#[test]
fn a_new_password_comes_live_and_no_transaction_fails() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 5, ..Plan::default() });
    let workers = Workers::start(&bed, 12, TRANSACTION);
    for round in 0..3 {
        let new = format!("another-{round}");
        let before = bed.postgres.backends();
        // PostgreSQL first: who is logged in stays so
        bed.postgres.sql(&format!("alter role app password '{new}'"));
        fs::write(pooler(&bed).dir().join("app.password"), &new).expect("written");
        pooler(&bed).signal(Signal::HUP);
        until("the server connections of the old password to be gone", PATIENCE, || {
            let now = bed.postgres.backends();
            (!before.iter().any(|old| now.iter().any(|backend| backend.pid == old.pid))).then_some(())
        });
        workers.flow(50);
        let login = Login { password: new, ..bed::login() };
        let mut client = Wire::connect(&bed.address(), &login).expect("the new password");
        assert_eq!(client.query("select 3").expect("served").value(), "3");
        let old = Wire::connect(&bed.address(), &bed::login());
        assert!(old.is_err_and(|why| why.to_string().contains("28P01")), "the old one");
    }
    let (_, errors) = workers.end();
    assert_eq!(errors, Vec::<String>::new());
}
