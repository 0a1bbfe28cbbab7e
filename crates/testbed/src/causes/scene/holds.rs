//! Scenes in which connections are held for longer than they should be: forgotten, idle, locked, slow, and two at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{Act, LEISURE, Scene, saturated, turn};
use crate::Plan;
use crate::causes::crowd::{Client, QUICK, between, ms, pick, pick_ms};
use crate::causes::judge::Truth;
use crate::causes::stage::Stage;
use crate::fault_proxy::Dice;
use crate::wire::Fault;

/// Nobody waits for the end of a run that long.
const FOR_EVER: Duration = ms(600_000);

/// The plan of a pool whose other limits are far away.
fn pool_of(size: u32) -> Plan {
    Plan { size, budget: Some(size + 20), ..Plan::default() }
}

/// Clients that ask little: an application in good health.
fn healthy(stage: &mut Stage, count: u32, hold: Duration) {
    let sql = format!("select pg_sleep({})", hold.as_secs_f64());
    stage.crowd(count, "web", LEISURE, move |client| client.once(&sql, hold + QUICK).map(drop));
}

/// Clients that each forget a transaction once things go wrong, one every `every`.
fn forgetful(stage: &mut Stage, count: u32, application: &'static str, every: Duration) {
    let turn = Arc::new(AtomicU32::new(0));
    stage.crowd(count, application, (ms(5), ms(15)), move |client| {
        if !client.signs.struck() {
            return Ok(());
        }
        let turn = turn.fetch_add(1, Ordering::AcqRel);
        client.signs.rest(every * turn);
        client.begin()?;
        client.within("select count(*) from accounts", QUICK)?;
        client.signs.rest(FOR_EVER);
        Ok(())
    });
}

/// Accounts to work on.
fn accounts(stage: &mut Stage) {
    let mut wire = stage.direct();
    for sql in [
        "create table accounts (id int primary key, n bigint not null default 0)",
        "insert into accounts select * from generate_series(1, 100)",
        "grant all on accounts to app",
    ] {
        wire.query(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

fn nothing() -> Act {
    Box::new(|_| {})
}

pub(super) fn leak(dice: &mut Dice) -> Scene {
    let (size, every) = (pick(dice, 5, 9), pick_ms(dice, 300, 900));
    let (hold, web) = (pick_ms(dice, 5, 20), dice.below(2) == 0);
    let application = *dice.of(&["web", "importer"]);
    let mut truth = saturated("leak", ("pool_size", Some(size)));
    // An application of its own is not let have the last connection while another asks: its share may be what binds.
    truth.binding = truth.binding.filter(|_| application == "web");
    let set: Act = Box::new(move |stage| {
        accounts(stage);
        healthy(stage, 6, hold);
        forgetful(stage, size, application, every);
    });
    let chosen = json!({ "size": size, "application": application, "every_ms": every.as_millis(), "hold_ms": hold.as_millis(), "web": web });
    Scene { plan: pool_of(size), web, truth, chosen, set, strike: nothing() }
}

/// Transactions that wait for something else while they are open, once things go wrong.
fn dawdling(stage: &mut Stage, count: u32, gap: (Duration, Duration)) {
    let applications = ["web", "mobile", "partners"];
    for (place, application) in applications.into_iter().enumerate() {
        let place = u32::try_from(place).unwrap_or(0);
        let share = count / 3 + u32::from(place < count % 3);
        stage.crowd(share, application, LEISURE, move |client| dawdle(client, gap));
    }
}

fn dawdle(client: &mut Client, gap: (Duration, Duration)) -> Result<(), Fault> {
    client.begin()?;
    let row = pick(&mut client.dice, 1, 100);
    client.within(&format!("select n from accounts where id = {row}"), QUICK)?;
    if client.signs.struck() {
        let gap = between(&mut client.dice, gap);
        client.signs.rest(gap);
    }
    client.within(&format!("select pg_sleep(0.001), n from accounts where id = {row}"), QUICK)?;
    client.commit()
}

pub(super) fn idle_in_transaction(dice: &mut Dice) -> Scene {
    let (size, longest) = (pick(dice, 4, 7), pick_ms(dice, 200, 400));
    let (clients, web) = (pick(dice, size * 4, size * 6), dice.below(2) == 0);
    let gap = (longest / 2, longest);
    let truth = saturated("idle_in_transaction", ("pool_size", Some(size)));
    let set: Act = Box::new(move |stage| {
        accounts(stage);
        dawdling(stage, clients, gap);
    });
    let chosen = json!({ "size": size, "clients": clients, "gap_ms": longest.as_millis(), "web": web });
    Scene { plan: pool_of(size), web, truth, chosen, set, strike: nothing() }
}

/// How the lock is held.
#[derive(Debug, Clone, Copy)]
enum Lock {
    /// A row, by an update that is not committed.
    Row,
    /// The table, by LOCK TABLE.
    Table,
    /// The table, by ALTER TABLE that waits behind a long read.
    Alter,
}

/// Clients that all write to one row, or that read the table if it is the table that is locked.
fn writers(stage: &mut Stage, count: u32, lock: Lock) {
    let sql = match lock {
        Lock::Row => "update accounts set n = n + 1 where id = 1",
        Lock::Table | Lock::Alter => "select n from accounts where id = 1",
    };
    stage.crowd(count, "web", LEISURE, move |client| client.once(sql, QUICK).map(drop));
}

/// Takes the lock past the pooler, and keeps it until the stage falls.
fn hold_beside(stage: &mut Stage, lock: Lock) {
    let mut holder = stage.direct();
    let said = match lock {
        Lock::Row => holder.query("begin; update accounts set n = n + 1 where id = 1"),
        Lock::Table => holder.query("begin; lock table accounts in access exclusive mode"),
        Lock::Alter => holder.query("begin; select count(*) from accounts"),
    };
    said.unwrap_or_else(|e| panic!("take the lock: {e}"));
    *stage.culprit.lock().expect("nobody panicked with it") = u32::try_from(holder.key.0).ok();
    stage.beside.push(holder);
    if matches!(lock, Lock::Alter) {
        let mut alter = stage.direct();
        let sent = alter.send(&crate::wire::message(b'Q', b"alter table accounts add column note text\0"));
        sent.unwrap_or_else(|e| panic!("alter the table: {e}"));
        stage.beside.push(alter);
    }
}

/// Takes the lock through the pooler, with a statement that runs on and on.
fn hold_within(stage: &mut Stage, lock: Lock) {
    let sql = match lock {
        Lock::Row => "update accounts set n = n + 1 where id = 1",
        Lock::Table | Lock::Alter => "lock table accounts in access exclusive mode",
    };
    let culprit = Arc::clone(&stage.culprit);
    stage.crowd(1, "billing", (ms(0), ms(1)), move |client| {
        client.begin()?;
        let pid = client.within("select pg_backend_pid()", QUICK)?.value();
        *culprit.lock().expect("nobody panicked with it") = pid.parse().ok();
        client.within(sql, FOR_EVER)?;
        client.within("select pg_sleep(600)", FOR_EVER)?;
        client.commit()
    });
}

pub(super) fn lock_convoy(seed: u64, dice: &mut Dice) -> Scene {
    let size = pick(dice, 4, 8);
    let lock = turn(seed, [Lock::Row, Lock::Table, Lock::Alter]);
    let (beside, clients, web) = (dice.below(2) == 0, size + pick(dice, 4, 10), dice.below(2) == 0);
    let truth = saturated("lock_convoy", ("pool_size", Some(size)));
    let set: Act = Box::new(move |stage| {
        accounts(stage);
        writers(stage, clients, lock);
        healthy(stage, 4, ms(5));
    });
    let strike: Act = Box::new(move |stage| if beside { hold_beside(stage, lock) } else { hold_within(stage, lock) });
    let chosen = json!({ "size": size, "clients": clients, "lock": format!("{lock:?}"), "beside": beside, "web": web });
    Scene { plan: pool_of(size), web, truth, chosen, set, strike }
}

/// Tables of an application's statements; how long each takes stands in the table.
const STATEMENTS: [&str; 4] = ["orders", "customers", "invoices", "sessions"];

fn speeds(stage: &mut Stage, usual: Duration) {
    let mut wire = stage.direct();
    for table in STATEMENTS {
        let usual = usual.as_millis();
        let sql = format!("create table {table} as select {usual}::float8 as ms; grant select on {table} to app");
        wire.query(&sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
}

/// Clients that run each of the statements in turn.
fn readers(stage: &mut Stage, count: u32, application: &'static str) {
    stage.crowd(count, application, LEISURE, move |client| {
        let table = STATEMENTS[client.dice.below(STATEMENTS.len())];
        client.once(&format!("select pg_sleep(ms / 1000) from {table}"), ms(60)).map(drop)
    });
}

fn slowed(stage: &mut Stage, table: &str, to: Duration) {
    let sql = format!("update {table} set ms = {}", to.as_millis());
    stage.direct().query(&sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
}

pub(super) fn slow_query(dice: &mut Dice) -> Scene {
    let (size, usual, slow) = (pick(dice, 4, 6), pick_ms(dice, 2, 10), pick_ms(dice, 600, 1_500));
    let (clients, table) = (pick(dice, size * 4, size * 5), *dice.of(&STATEMENTS));
    let truth = saturated("slow_query", ("pool_size", Some(size)));
    let set: Act = Box::new(move |stage| {
        speeds(stage, usual);
        readers(stage, clients, "web");
    });
    let strike: Act = Box::new(move |stage| slowed(stage, table, slow));
    let chosen = json!({
        "size": size, "clients": clients, "usual_ms": usual.as_millis(), "slow_ms": slow.as_millis(), "statement": table,
    });
    Scene { plan: pool_of(size), web: dice.below(2) == 0, truth, chosen, set, strike }
}

/// Which two go wrong at once.
#[derive(Debug, Clone, Copy)]
enum Pair {
    IdleAndSlow,
    LeakAndSlow,
    LeakAndLock,
}

pub(super) fn mixed(seed: u64, dice: &mut Dice) -> Scene {
    let pair = turn(seed, [Pair::IdleAndSlow, Pair::LeakAndSlow, Pair::LeakAndLock]);
    let (half, span, every) = (pick(dice, 3, 4), pick_ms(dice, 300, 600), pick_ms(dice, 100, 300));
    let size = half * 2;
    let causes = match pair {
        Pair::IdleAndSlow => vec!["idle_in_transaction", "slow_query"],
        Pair::LeakAndSlow => vec!["leak", "slow_query"],
        Pair::LeakAndLock => vec!["leak", "lock_convoy"],
    };
    let truth = Truth {
        causes,
        allowed: Vec::new(),
        binding: Some(("pool_size", Some(size))),
        guilty: None,
        states: &["saturated"],
    };
    let set: Act = Box::new(move |stage| {
        accounts(stage);
        speeds(stage, ms(3));
        match pair {
            Pair::IdleAndSlow => {
                dawdling(stage, size * 2, (span, span));
                reports(stage, size * 2);
            }
            Pair::LeakAndSlow => {
                forgetful(stage, half, "importer", every);
                reports(stage, size * 2);
                readers(stage, 4, "web");
            }
            Pair::LeakAndLock => {
                forgetful(stage, half, "importer", every);
                writers(stage, size * 2, Lock::Row);
            }
        }
    });
    let strike: Act = Box::new(move |stage| match pair {
        Pair::IdleAndSlow | Pair::LeakAndSlow => slowed(stage, "orders", span),
        Pair::LeakAndLock => {
            // Whoever comes to the lock takes every connection that is left, so the leaks come first.
            stage.signs.rest(every * (half + 2));
            hold_beside(stage, Lock::Row);
        }
    });
    let chosen = json!({ "pair": format!("{pair:?}"), "size": size, "span_ms": span.as_millis(), "every_ms": every.as_millis() });
    Scene { plan: pool_of(size), web: false, truth, chosen, set, strike }
}

/// Clients of the one statement that turns slow.
fn reports(stage: &mut Stage, count: u32) {
    stage.crowd(count, "reports", LEISURE, |client| {
        client.once("select pg_sleep(ms / 1000) from orders", ms(60)).map(drop)
    });
}
