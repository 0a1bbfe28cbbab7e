//! Settings changed while clients work: sizes up and down, broken files among good ones, passwords, a PostgreSQL that restarts
//! behind paused pools. Nobody notices.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use poolwarden_testbed::fault_proxy::{Harm, Harms};
use poolwarden_testbed::reloads;
use poolwarden_testbed::wire::Login;
use poolwarden_testbed::workers::{TRANSACTION, Workers};
use poolwarden_testbed::{Bed, Plan, Pooler, Sampler, Say, Target, Wire, bed, place, until};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);

/// A role of PostgreSQL that is nobody's name in poolwarden.
const OWNER: &str = "create role owner login password 'first'";

fn pooler(bed: &Bed) -> &Pooler {
    bed.pooler().expect("poolwarden")
}

fn text(bed: &Bed) -> String {
    fs::read_to_string(pooler(bed).dir().join("poolwarden.toml")).expect("its file")
}

/// How a changed file is put in force.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Console,
    Signal,
}

/// Puts this text in force, and waits until `key` of SHOW CONFIG is `value`.
#[track_caller]
fn change(bed: &Bed, text: &str, by: By, (key, value): (&str, &str)) {
    pooler(bed).rewrite_text(text);
    reload(bed, by);
    until(key, PATIENCE, || {
        bed.show("CONFIG").iter().any(|row| row["key"] == key && row["value"] == value).then_some(())
    });
}

/// Has the file read again and waits until that was done.
#[track_caller]
fn reload(bed: &Bed, by: By) {
    match by {
        By::Console => drop(bed.console().query("RELOAD").expect("reloaded")),
        By::Signal => {
            let done = || pooler(bed).metric("poolwarden_config_reloads_total", "result=\"ok\"");
            let before = done();
            pooler(bed).signal(Signal::HUP);
            until("the reload", PATIENCE, || (done() > before).then_some(()));
        }
    }
}

#[test]
fn five_then_fifty_then_five_and_no_transaction_is_cut() {
    let _machine = place::machine(false);
    // the guard would take the smaller size back: clients wait for it, as they are meant to
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 5, budget: Some(80), ..reloads::plan() });
    let five = text(&bed);
    let fifty = five.replace("size = 5\n", "size = 50\n");
    let workers = Workers::start(&bed, 12, TRANSACTION);
    for (grow, shrink) in [(By::Console, By::Signal), (By::Signal, By::Console)] {
        let small = Sampler::start(&bed.postgres);
        workers.flow(50);
        small.expect_at_most(5);
        let large = Sampler::start(&bed.postgres);
        change(&bed, &fifty, grow, ("pools.app.size", "50"));
        // more transactions open at once than there were places: with the clients at work, as many as there are now
        let mut open: Vec<Wire> = (0..45).map(|_| bed.client()).collect();
        let mut backends = BTreeSet::new();
        for client in &mut open {
            client.query("begin").expect("a place in the larger pool");
            backends.insert(client.query("select pg_backend_pid()").expect("its own").value());
        }
        assert_eq!(backends.len(), 45, "each has a server connection of its own");
        until("all fifty to be lent", PATIENCE, || (bed.pool("sv_active") == 50).then_some(()));
        workers.flow(50);
        change(&bed, &five, shrink, ("pools.app.size", "5"));
        for client in &mut open {
            let pid = client.query("select pg_backend_pid()").expect("its transaction goes on").value();
            assert!(backends.remove(&pid), "it goes on elsewhere: {pid}");
            client.query("commit").expect("and ends");
        }
        until("the pool to be small again", PATIENCE, || (bed.postgres.backends().len() <= 5).then_some(()));
        let small = Sampler::start(&bed.postgres);
        for client in &mut open {
            assert_eq!(client.query("select 8").expect("served by the small pool").value(), "8");
        }
        small.expect_at_most(5);
        assert_eq!(large.expect_at_most(50), 50);
    }
    let (_, errors) = workers.end();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn of_random_reloads_the_broken_half_changes_nothing_at_all_and_no_transaction_is_cut() {
    const RELOADS: u64 = 150;
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, reloads::plan());
    let found = reloads::run(&bed, Target::Poolwarden, RELOADS, 7);
    let wrong = [found.broken_accepted, found.good_refused, found.changed_after_refusal, found.not_as_written];
    assert_eq!((wrong, &found.cut), ([0; 4], &Vec::new()), "{found:#?}");
    assert_eq!(found.kinds.len(), 12, "every kind of fault was there: {:?}", found.kinds);
    let broken = found.kinds.values().sum::<u64>();
    assert_eq!((found.refused, found.refused_aloud), (broken, broken), "each was told");
}

#[test]
fn postgres_restarts_behind_a_pause_longer_than_anybody_may_wait_and_two_hundred_clients_go_on() {
    const CLIENTS: u32 = 200;
    let _machine = place::machine(false);
    let mut bed = Bed::start_as(Target::Poolwarden, Plan { size: 10, ..reloads::plan() });
    let patient = text(&bed);
    let hasty = patient.replace("max_wait = \"60s\"", "max_wait = \"300ms\"");
    let workers = Workers::start(&bed, CLIENTS as usize, TRANSACTION);
    let mut kept: Vec<Wire> = (0..5).map(|_| bed.client()).collect();
    for client in &mut kept {
        let prepared = client.told(&Say::new().parse("kept", "select 6 * 7").sync(), 1);
        assert!(prepared.starts_with('1'), "{prepared}");
    }
    bed.console().query("PAUSE").expect("paused");
    assert_eq!(bed.postgres.backends().len(), 0, "every server connection is closed");
    until("all of them to wait", PATIENCE, || (bed.pool("cl_waiting") == u64::from(CLIENTS)).then_some(()));
    // Only while they wait behind the pause is anybody allowed so little: how fast they are served afterwards is the machine's.
    change(&bed, &hasty, By::Console, ("pools.app.max_wait", "300ms"));
    bed.postgres.stop();
    bed.postgres.restart();
    until("all to have waited for longer than max_wait", PATIENCE, || {
        let waited = bed.show("POOLS").iter().map(|row| row["maxwait"].parse::<u64>().unwrap_or(0)).max();
        (waited >= Some(1)).then_some(())
    });
    assert_eq!(bed.pool("cl_waiting"), u64::from(CLIENTS), "nobody was refused");
    change(&bed, &patient, By::Console, ("pools.app.max_wait", "1m"));
    bed.console().query("RESUME").expect("resumed");
    workers.flow(u64::from(CLIENTS));
    for client in &mut kept {
        let again = client.told(&Say::new().run("kept", &[]).sync(), 1);
        assert!(again.contains("42"), "what was prepared is there again: {again}");
    }
    let (_, errors) = workers.end();
    assert_eq!(errors, Vec::<String>::new());
    let refused = pooler(&bed).metric("poolwarden_checkouts_total", "outcome=\"refused\"");
    assert_eq!(refused, 0.0, "a pause is no saturation");
}

/// The process ids of PostgreSQL's backends of this role.
fn backends(bed: &Bed, role: &str) -> BTreeSet<String> {
    let ask = format!("select pid from pg_stat_activity where usename = '{role}' and backend_type = 'client backend'");
    bed.postgres.sql(&ask).rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}

/// Waits until none of them is there any more.
#[track_caller]
fn gone(bed: &Bed, role: &str, old: &BTreeSet<String>) {
    until("the server connections of the old password to be gone", PATIENCE, || {
        backends(bed, role).is_disjoint(old).then_some(())
    });
}

/// A login as `app` with this password.
fn with(password: &str) -> Login {
    Login { password: password.to_owned(), ..bed::login() }
}

#[test]
fn the_role_of_a_pool_gets_a_new_password_live_and_no_transaction_fails() {
    const SIZE: u32 = 5;
    let _machine = place::machine(false);
    let plan = Plan { size: SIZE, ..reloads::plan() }.file("owner", "first");
    let plan = plan.pool("user = \"owner\"\nscram_file = \"owner\"");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    bed.postgres.sql(OWNER);
    let workers = Workers::start(&bed, 12, TRANSACTION);
    for (round, by) in [By::Console, By::Signal, By::Console].into_iter().enumerate() {
        let new = format!("next-{round}");
        // all are open, so that none is opened with a password that is no more
        let old = until("the pool to be full", PATIENCE, || {
            Some(backends(&bed, "owner")).filter(|all| all.len() == SIZE as usize)
        });
        let mut held = bed.client();
        held.query("begin").expect("begun");
        let pid = held.query("select pg_backend_pid()").expect("lent").value();
        bed.postgres.sql(&format!("alter role owner password '{new}'"));
        fs::write(pooler(&bed).dir().join("owner"), &new).expect("written");
        reload(&bed, by);
        gone(&bed, "owner", &old.iter().filter(|old| **old != pid).cloned().collect());
        workers.flow(50);
        let after = held.query("select pg_backend_pid()").expect("what is lent is left alone").value();
        assert_eq!(after, pid);
        held.query("commit").expect("and ends well");
        gone(&bed, "owner", &old);
        assert!(backends(&bed, "owner").len() <= SIZE as usize);
    }
    let (_, errors) = workers.end();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn a_client_gets_a_new_password_live_and_who_is_connected_stays() {
    let _machine = place::machine(false);
    let plan = reloads::plan().file("owner", "first").pool("user = \"owner\"\nscram_file = \"owner\"");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    bed.postgres.sql(OWNER);
    let workers = Workers::start(&bed, 6, TRANSACTION);
    let (mut inside, mut idle) = (bed.client(), bed.client());
    inside.query("begin").expect("begun");
    let mut old = bed::login().password;
    for (round, by) in [By::Signal, By::Console].into_iter().enumerate() {
        let new = format!("clients-{round}");
        fs::write(pooler(&bed).dir().join("app.password"), &new).expect("written");
        Wire::connect(&bed.address(), &with(&old)).expect("the file alone changes nothing");
        // the console has the same users: its session is opened before
        match by {
            By::Console => drop(
                Wire::connect(&bed.address(), &Login { database: "poolwarden".into(), ..with(&old) })
                    .and_then(|mut console| console.query("RELOAD"))
                    .expect("reloaded"),
            ),
            By::Signal => reload(&bed, by),
        }
        let mut client = Wire::connect(&bed.address(), &with(&new)).expect("the new password");
        assert_eq!(client.query("select 3").expect("served").value(), "3");
        let refused = Wire::connect(&bed.address(), &with(&old)).expect_err("the old one").to_string();
        assert!(refused.contains("28P01"), "{refused}");
        assert_eq!(idle.query("select 4").expect("who is connected stays").value(), "4");
        assert_eq!(inside.query("select 5").expect("and its transaction goes on").value(), "5");
        workers.flow(50);
        old = new;
    }
    inside.query("commit").expect("it ends well");
    let (_, errors) = workers.end();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn a_password_that_serves_both_sides_is_changed_live_and_no_transaction_fails() {
    const SIZE: u32 = 5;
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: SIZE, ..reloads::plan() });
    let workers = Workers::start(&bed, 12, TRANSACTION);
    for round in 0..3 {
        let new = format!("another-{round}");
        let old = until("the pool to be full", PATIENCE, || {
            Some(backends(&bed, "app")).filter(|all| all.len() == SIZE as usize)
        });
        // PostgreSQL first: who is logged in stays so
        bed.postgres.sql(&format!("alter role app password '{new}'"));
        fs::write(pooler(&bed).dir().join("app.password"), &new).expect("written");
        reload(&bed, By::Signal);
        gone(&bed, "app", &old);
        workers.flow(50);
        let mut client = Wire::connect(&bed.address(), &with(&new)).expect("the new password");
        assert_eq!(client.query("select 3").expect("served").value(), "3");
        let refused = Wire::connect(&bed.address(), &bed::login());
        assert!(refused.is_err_and(|why| why.to_string().contains("28P01")), "the old one");
    }
    let (_, errors) = workers.end();
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn a_login_under_way_with_the_old_password_shuts_nobody_out() {
    let _machine = place::machine(false);
    let plan = Plan { size: 2, ..reloads::plan() }.file("owner", "first");
    let plan = plan.pool("user = \"owner\"\nscram_file = \"owner\"");
    let (bed, line) = Bed::start_behind(plan, 3);
    bed.postgres.sql(OWNER);
    let (mut first, mut second) = (bed.client(), bed.client());
    first.query("begin").expect("lent");
    let before = line.accepted();
    // PostgreSQL hears of the next login after the reload
    line.harm(Harms { up: vec![Harm::Stall(0)], ..Harms::default() });
    second.send(&Say::new().query("select 2").bytes).expect("sent");
    until("its connection to be opened", PATIENCE, || (line.accepted() > before).then_some(()));
    bed.postgres.sql("alter role owner password 'next'");
    fs::write(pooler(&bed).dir().join("owner"), "next").expect("written");
    reload(&bed, By::Console);
    line.heal();
    assert_eq!(second.answer().expect("served with the new password").value(), "2");
    first.query("commit").expect("it ends well");
    assert_eq!(first.query("select 3").expect("served").value(), "3");
}

#[test]
fn between_the_new_password_in_postgresql_and_the_reload_open_connections_serve_everybody() {
    let _machine = place::machine(false);
    let plan = Plan { size: 2, ..reloads::plan() }.file("owner", "first");
    let plan = plan.pool("user = \"owner\"\nscram_file = \"owner\"");
    let bed = Bed::start_as(Target::Poolwarden, plan);
    bed.postgres.sql(OWNER);
    let (mut first, mut second) = (bed.client(), bed.client());
    first.query("begin").expect("lent");
    bed.postgres.sql("alter role owner password 'next'");
    second.send(&Say::new().query("select 2").bytes).expect("sent");
    until("a second connection to be refused", PATIENCE, || {
        pooler(&bed).get("/metrics").contains("sqlstate=\"28P01\"").then_some(())
    });
    first.query("commit").expect("it ends well");
    assert_eq!(second.answer().expect("served over the one that is open").value(), "2");
    assert_eq!(first.query("select 3").expect("and so is the next").value(), "3");
    fs::write(pooler(&bed).dir().join("owner"), "next").expect("written");
    reload(&bed, By::Console);
    for client in [&mut first, &mut second] {
        client.query("begin").expect("a connection of its own");
    }
    assert_eq!(backends(&bed, "owner").len(), 2);
}
