//! What the watch connection sees of PostgreSQL, how often it looks, and what is said where it cannot.

use std::time::Duration;

use poolwarden_testbed::drawer::{bundle, holders};
use poolwarden_testbed::{Bed, Plan, Pooler, Postgres, Say, Settings, Target, Wire, bed, place, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// PostgreSQL's backends as a bundle tells them, one line each.
fn seen(bed: &Bed) -> Vec<String> {
    let files = bundle(bed.pooler().expect("poolwarden"));
    files.get("postgresql/main.txt").map_or_else(Vec::new, |text| text.lines().map(str::to_owned).collect())
}

fn sql(bed: &Bed, text: &str) -> String {
    bed.postgres.sql(text).value()
}

#[test]
fn a_lock_chain_is_seen_with_its_blocker_and_other_applications_with_what_they_do() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 3, ..Plan::default() });
    bed.postgres.sql("create table stock (id int, n int); insert into stock values (1, 1); grant all on stock to app");
    let login = [("application_name", "reports")];
    let mut reports = Wire::connect_with(&bed.postgres.socket(), &bed::login(), &login).expect("past the pooler");
    reports.query("begin").expect("begun");
    reports.query("select 'hunter2'").expect("idle in transaction from now on");
    let (mut holder, mut blocked) = (bed.client(), bed.client());
    holder.query("begin").expect("begun");
    holder.query("update stock set n = 2").expect("locked");
    blocked.send(&Say::new().query("update stock set n = 3").bytes).expect("sent");
    let chain = "select coalesce(min(pid || ' ' || (pg_blocking_pids(pid))[1]), '') from pg_stat_activity \
                 where cardinality(pg_blocking_pids(pid)) > 0";
    let truth =
        until("PostgreSQL to see the chain", PATIENCE, || Some(sql(&bed, chain)).filter(|said| !said.is_empty()));
    let (waits, blocks) = truth.split_once(' ').expect("two numbers");
    until("the holder to be told with its blocker", PATIENCE, || {
        let all = holders(bed.pooler().expect("poolwarden"));
        let number = |text: &str| text.parse::<u64>().expect("a process id");
        all.iter().any(|of| of["pid"] == number(waits) && of["blocked_by"][0] == number(blocks)).then_some(())
    });
    let lines = seen(&bed);
    let of =
        |pid: &str| lines.iter().find(|line| line.starts_with(&format!("pid {pid} "))).cloned().unwrap_or_default();
    let waiting = of(waits);
    assert!(waiting.contains("own true") && waiting.contains("wait Lock/"), "{waiting}");
    assert!(waiting.ends_with(&format!("blocked by [{blocks}]")), "{waiting}");
    let theirs = sql(&bed, "select pid from pg_stat_activity where application_name = 'reports'");
    let theirs = of(&theirs);
    assert!(theirs.contains("own false role app database app application reports from unix"), "{theirs}");
    assert!(theirs.contains("state IdleInTransaction"), "{theirs}");
    assert!(!lines.iter().any(|line| line.contains("poolwarden watch")), "it does not count itself: {lines:?}");
    assert!(!lines.concat().contains("hunter2"), "a query's values are nobody's business");
    holder.query("commit").expect("committed");
    blocked.answer().expect("unblocked");
}

#[test]
fn limits_of_roles_and_databases_are_seen_with_their_use() {
    let _machine = place::machine(false);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 2, ..Plan::default() });
    bed.postgres.sql("alter role app connection limit 17; alter database app connection limit 60");
    let mut direct = Wire::connect(&bed.postgres.socket(), &bed::login()).expect("past the pooler");
    direct.query("select 1").expect("there");
    let mut client = bed.client();
    client.query("select 1").expect("served");
    until("the role's and the database's use to be PostgreSQL's own", PATIENCE, || {
        let used = sql(&bed, "select count(*) from pg_stat_activity where usename = 'app'");
        // one is the connection that asks, which is gone when the watch connection looks
        let inside = "select count(*) - 1 from pg_stat_activity where datname = 'app'";
        let lines = [
            format!("role app CONNECTION LIMIT 17, used {used}"),
            format!("database app CONNECTION LIMIT 60, used {}", sql(&bed, inside)),
        ];
        let seen = seen(&bed);
        lines.iter().all(|line| seen.contains(line)).then_some(())
    });
}

/// When the watch connection asked, in milliseconds of the day, by PostgreSQL's log.
fn asked(postgres: &Postgres) -> Vec<u64> {
    let log = postgres.log();
    let of_watch = log.lines().filter(|line| line.contains(" watch@app ") && line.contains("pg_postmaster_start_time"));
    let moment = |line: &str| {
        let time = line.split(' ').nth(1)?;
        let parts: Option<Vec<u64>> = time.split([':', '.']).map(|part| part.parse().ok()).collect();
        let [hours, minutes, seconds, millis] = parts?[..] else { return None };
        Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis)
    };
    of_watch.filter_map(moment).collect()
}

/// Milliseconds between the next `count` questions.
fn paces(postgres: &Postgres, count: usize) -> Vec<u64> {
    let before = asked(postgres).len();
    let all = until("questions", PATIENCE, || Some(asked(postgres)).filter(|all| all.len() > before + count));
    // over midnight the next moment is a smaller number
    all[before..].windows(2).map(|two| (two[1] + 86_400_000 - two[0]) % 86_400_000).collect()
}

#[test]
fn postgresql_is_asked_every_five_seconds_and_every_second_while_somebody_waits() {
    let _machine = place::machine(false);
    let plan = Plan { size: 1, postgres: vec![("log_statement", "all".to_owned())], ..Plan::default() };
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let mut holder = bed.client();
    holder.query("begin").expect("the only connection");
    let calm = paces(&bed.postgres, 1);
    assert!((4_500..8_000).contains(&calm[0]), "{calm:?}");
    let mut waits = bed.client();
    waits.send(&Say::new().query("select 1").bytes).expect("sent");
    until("it to wait", PATIENCE, || (bed.pool("cl_waiting") == 1).then_some(()));
    let hurried = paces(&bed.postgres, 3);
    assert!(hurried.iter().all(|pace| (900..3_000).contains(pace)), "{hurried:?}");
    holder.query("commit").expect("given back");
    waits.answer().expect("served");
    let calm = paces(&bed.postgres, 2);
    assert!((4_500..8_000).contains(&calm[1]), "{calm:?}");
}

#[test]
fn where_postgresql_is_full_at_the_start_it_is_said_with_the_way_out_and_tried_until_there_is_room() {
    let _machine = place::machine(false);
    let postgres = Postgres::start(Settings { max_connections: 8, more: Vec::new() });
    let others: Vec<Wire> =
        (0..5).map(|_| Wire::connect(&postgres.socket(), &bed::login()).expect("one of five slots")).collect();
    let pooler = Pooler::start(&Plan { size: 2, ..Plan::default() }, postgres.address());
    let log = until("the reason in the log", PATIENCE, || Some(pooler.log()).filter(|log| log.contains("watch_lost")));
    assert!(log.contains("53300") && log.contains("grant pg_use_reserved_connections to watch"), "{log}");
    assert_eq!(pooler.get("/healthz"), "ok\n", "everything else works");
    let why = pooler.get("/api/v1/why");
    assert!(why.contains("pg_use_reserved_connections"), "{why}");
    drop(others);
    until("the watch connection to be there", PATIENCE, || pooler.log().contains("watch_found").then_some(()));
    until("its facts", PATIENCE, || {
        pooler.get("/metrics").contains("poolwarden_pg_slots_free{host=\"main\"}").then_some(())
    });
}

#[test]
fn a_watch_user_that_sees_nobody_else_is_told_what_to_be_granted() {
    let _machine = place::machine(false);
    let mut bed = Bed::start_as(Target::Poolwarden, Plan { size: 2, ..Plan::default() });
    bed.postgres.sql("revoke pg_monitor from watch");
    let log = until("the reason in the log", PATIENCE, || {
        Some(bed.poolwarden().log()).filter(|log| log.contains("watch_blind"))
    });
    assert!(log.contains("grant pg_monitor to watch"), "{log}");
    bed.postgres.sql("grant pg_monitor to watch");
    until("it to see again", PATIENCE, || bed.poolwarden().log().contains("watch_found").then_some(()));
}
