//! Session state in transaction mode: settings follow their client, what cannot follow keeps the connection or is refused,
//! and nobody finds another's.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use poolwarden_testbed::bed::login;
use poolwarden_testbed::{Bed, Plan, Say, Wire, place, until};

const PATIENCE: Duration = Duration::from_secs(20);

fn start(size: u32, lines: &str) -> Bed {
    let bed = Bed::start(Plan { size, ..Plan::default() }.pool(lines));
    bed.postgres.sql("create role anna; create role berta; grant anna, berta to app; create table seen (n int); grant all on seen to app");
    bed
}

fn ask(wire: &mut Wire, sql: &str) -> String {
    wire.query(sql).unwrap_or_else(|fault| panic!("{sql}: {fault}")).value()
}

fn run(wire: &mut Wire, sql: &str) {
    wire.query(sql).unwrap_or_else(|fault| panic!("{sql}: {fault}"));
}

/// Everything a client might find that another left.
const LOOK: &str = "select concat_ws('|', current_setting('search_path'), current_setting('timezone'), current_user, \
                    current_setting('app.tenant', true), current_setting('work_mem'))";

/// So many clients at once with settings of their own, each made in another way; each finds its own, always.
#[test]
fn each_client_finds_its_own_settings_whichever_connection_it_is_lent() {
    let _machine = place::machine(false);
    let bed = start(2, "");
    let mut clients: Vec<(Wire, String)> = Vec::new();
    for number in 0..6 {
        let mut wire = bed.client();
        let role = ["anna", "berta"][number % 2];
        let zone = ["Europe/Rome", "Asia/Tokyo", "UTC"][number % 3];
        run(&mut wire, &format!("set search_path = s{number}, public; set time zone '{zone}'"));
        let bound =
            Say::new().parse("", "select set_config($2, $1, false)").bind("", "", &[&number.to_string(), "app.tenant"]);
        wire.told(&bound.execute("", 0).sync(), 1);
        run(&mut wire, &format!("set role {role}"));
        run(&mut wire, "begin; set work_mem = '1MB'; savepoint a; set work_mem = '2MB'; rollback to a; commit");
        run(&mut wire, "begin; set app.tenant = 'rolled back'; set role none; rollback");
        run(&mut wire, "begin; set local search_path = local; commit");
        clients.push((wire, format!("s{number}, public|{zone}|{role}|{number}|1MB")));
    }
    for _ in 0..5 {
        for (wire, expected) in &mut clients {
            assert_eq!(ask(wire, LOOK), *expected);
        }
    }
    let mut stranger = bed.client();
    let tenants: BTreeSet<String> = (0..4).map(|_| ask(&mut stranger, LOOK)).collect();
    assert!(
        tenants
            .iter()
            .all(|seen| seen.starts_with("\"$user\", public|") && seen.contains("|app|") && !seen.contains("s1")),
        "{tenants:?}"
    );
    for (wire, _) in &mut clients {
        run(wire, "reset role; reset app.tenant; reset search_path");
        assert!(ask(wire, LOOK).contains("|app||1MB"));
    }
    drop(clients);
    bed.at_rest();
}

#[test]
fn an_ordinary_transaction_costs_no_further_question() {
    let _machine = place::machine(false);
    let bed = start(1, "");
    let mut wire = bed.client();
    run(&mut wire, "set statement_timeout = '7s'");
    let before = bed.postgres.sql("select xact_commit from pg_stat_database where datname = 'app'");
    for _ in 0..20 {
        assert_eq!(ask(&mut wire, "show statement_timeout"), "7s");
    }
    drop(before);
    let parsed: u64 = bed
        .show("STATS")
        .iter()
        .filter(|row| row["database"] == "app")
        .map(|row| row["total_query_count"].parse::<u64>().expect("a number"))
        .sum();
    assert!(parsed <= 25, "{parsed} queries for 21 of the client's");
}

#[test]
fn reset_gives_a_client_what_it_began_with() {
    let _machine = place::machine(false);
    let bed = start(1, "");
    let began = [("DateStyle", "German"), ("search_path", "mine")];
    let mut wire = Wire::connect_with(&bed.address(), &login(), &began).expect("connect");
    let mut other = bed.client();
    for reset in [
        "reset all",
        "discard all",
        "reset search_path; reset datestyle",
        "set search_path to default; set datestyle to default",
    ] {
        run(&mut wire, "set search_path = x; set datestyle = 'SQL'");
        assert_eq!(ask(&mut wire, "show search_path"), "x");
        assert_eq!(ask(&mut other, "show search_path"), "\"$user\", public");
        run(&mut wire, reset);
        assert_eq!(ask(&mut wire, "show search_path"), "mine", "{reset}");
        assert!(ask(&mut wire, "show datestyle").starts_with("German"), "{reset}");
    }
    let told =
        wire.told(&Say::new().query("begin").query("reset datestyle").query("show datestyle").query("commit"), 4);
    assert!(told.contains("German") && !told.contains("ISO"), "{told}");
}

#[test]
fn state_that_cannot_follow_keeps_the_connection_until_it_ends_and_show_pins_says_why() {
    let _machine = place::machine(false);
    let bed = start(2, "");
    let cases = [
        ("select pg_advisory_lock(7)", "select pg_advisory_unlock(7)", "advisory_lock"),
        ("create temp table mine (n int)", "drop table mine", "temp_table"),
        ("select 1 as n into temp mine", "drop table mine", "temp_table"),
        ("begin; declare c cursor with hold for select 1; commit", "close c", "hold_cursor"),
        ("listen news", "unlisten news", "listen"),
        ("prepare p as select 1", "deallocate p", "prepare"),
    ];
    for (make, end, reason) in cases {
        let mut wire = bed.client();
        run(&mut wire, make);
        let pins = until("the pin to be seen", PATIENCE, || Some(bed.show("PINS")).filter(|pins| pins.len() == 1));
        assert_eq!(pins[0]["reason"], reason, "{make}");
        assert_eq!(pins[0]["pid"], ask(&mut wire, "select pg_backend_pid()"), "{make}");
        run(&mut wire, end);
        until("the pin to end", PATIENCE, || bed.show("PINS").is_empty().then_some(()));
        run(&mut wire, make);
        drop(wire);
        until("the pin to go with its client", PATIENCE, || bed.show("PINS").is_empty().then_some(()));
        bed.at_rest();
        let left = "select (select count(*) from pg_locks where locktype = 'advisory') + (select count(*) from pg_prepared_statements where from_sql) \
                    + (select count(*) from pg_cursors where is_holdable) + (select count(*) from pg_listening_channels()) \
                    + (select count(*) from pg_class where relnamespace = pg_my_temp_schema())";
        for _ in 0..3 {
            assert_eq!(ask(&mut bed.client(), left), "0", "{make}");
        }
    }
    let text = bed.pooler().map(|pooler| pooler.get("/metrics")).unwrap_or_default();
    assert!(text.contains("poolwarden_pins_total") && text.contains("reason=\"listen\""), "{text}");
    bed.at_rest();
}

#[test]
fn a_notification_reaches_the_client_that_listens_and_a_temporary_table_stays_over_transactions() {
    let _machine = place::machine(false);
    let bed = start(2, "");
    let (mut listener, mut speaker) = (bed.client(), bed.client());
    run(&mut listener, "listen news");
    run(&mut listener, "create temp table mine as select 5 as n");
    run(&mut speaker, "notify news, 'now'");
    let heard = listener.up_to('A').expect("a notification");
    assert_eq!(heard.last().map(|message| message.0), Some(b'A'));
    assert_eq!(ask(&mut listener, "select n from mine"), "5");
}

#[test]
fn a_loaded_library_ends_with_its_connection() {
    let _machine = place::machine(false);
    let bed = start(1, "");
    bed.postgres.sql("alter role app superuser"); // others may load only what lies in plugins
    let mut wire = bed.client();
    let before = ask(&mut wire, "select pg_backend_pid()");
    let told = wire.told(&Say::new().query("load 'no_such_library'"), 1);
    assert!(told.contains("E("), "{told}");
    assert_eq!(ask(&mut bed.client(), "select pg_backend_pid()"), before, "a LOAD that failed keeps nothing");
    run(&mut wire, "begin; load 'plpgsql'; rollback");
    until("the pin to be seen", PATIENCE, || (bed.show("PINS").len() == 1).then_some(()));
    drop(wire);
    assert_ne!(ask(&mut bed.client(), "select pg_backend_pid()"), before, "what is loaded stays loaded");
}

#[test]
fn a_refused_construct_names_itself_and_the_way_out() {
    let _machine = place::machine(false);
    let bed = start(1, "session_state = \"refuse\"");
    let mut wire = bed.client();
    for make in [
        "listen news",
        "create temp table t (n int)",
        "select pg_advisory_lock(1)",
        "prepare p as select 1",
        "select 1; listen news",
    ] {
        let told = wire.told(&Say::new().query(make).query("select 2"), 2);
        assert_eq!(
            told,
            "E(0A000) ZI D(2) C(SELECT 1) ZI"
                .replace("D(2)", if told.contains("T(") { "T(?column?) D(2)" } else { "D(2)" }),
            "{make}"
        );
        let told = wire.told(&Say::new().query("begin").query(make).query("select 1").query("rollback"), 4);
        assert!(told.contains("E(0A000) ZE") && told.contains("E(25P02) ZE"), "{make}: {told}");
        if !make.contains(';') {
            let told = wire.told(&Say::new().once("select 1").once(make).once("select 3").sync().query("select 4"), 2);
            assert!(told.contains("D(1)") && told.contains("E(0A000) ZI") && !told.contains("D(3)"), "{make}: {told}");
        }
    }
    let refused = wire.query("listen news").expect_err("refused").to_string();
    assert!(refused.contains("LISTEN") && refused.contains("0A000"), "{refused}");
    run(&mut wire, "set search_path = still_carried");
    assert_eq!(ask(&mut wire, "show search_path"), "still_carried");
    assert_eq!(ask(&mut wire, "select count(*) from pg_listening_channels()"), "0");
}

#[test]
fn reset_always_takes_away_what_functions_set() {
    let _machine = place::machine(false);
    let bed = start(1, "reset = \"always\"");
    bed.postgres.sql("create function hide(t text) returns void language plpgsql as $$ begin perform set_config('app.hidden', t, false); perform pg_advisory_lock(3); end $$");
    let (mut one, mut two) = (bed.client(), bed.client());
    run(&mut one, "select hide('mine')");
    assert_eq!(ask(&mut two, "select coalesce(current_setting('app.hidden', true), '')"), "");
    assert_eq!(ask(&mut two, "select count(*) from pg_locks where locktype = 'advisory'"), "0");
    let prepared = Say::new().parse("a", "select 4").run("a", &[]).sync();
    assert!(one.told(&prepared, 1).contains("D(4)"));
    assert!(two.told(&Say::new().parse("a", "select 4").run("a", &[]).sync(), 1).contains("D(4)"));
    assert!(one.told(&Say::new().run("a", &[]).sync(), 1).contains("D(4)"), "its statements are prepared again");
}

#[test]
fn deallocate_and_execute_in_sql_mean_the_clients_own_statements() {
    let _machine = place::machine(false);
    let bed = start(1, "");
    let mut direct =
        Wire::connect(&poolwarden_testbed::wire::Address::Tcp(bed.postgres.address()), &login()).expect("connect");
    let mut pooled = bed.client();
    let s = Say::new;
    let steps = [
        (s().parse("pdo_stmt_1", "select 1").sync(), 1),
        (s().query("DEALLOCATE pdo_stmt_1"), 1),
        (s().query("DEALLOCATE pdo_stmt_1"), 1),
        (s().parse("pdo_stmt_1", "select 2").run("pdo_stmt_1", &[]).sync(), 1),
        (s().once("DEALLOCATE pdo_stmt_1").sync(), 1),
        (s().run("pdo_stmt_1", &[]).sync(), 1),
        (s().parse("a1", "select 3").parse("a2", "select 4").sync(), 1),
        (s().query("begin").query("select 1/0").query("deallocate a1").query("rollback"), 4),
        (s().query("select 0; deallocate a1; deallocate a2; select 9"), 1),
        (s().run("a2", &[]).sync(), 1),
        (s().parse("e", "select 5").sync(), 1),
        (s().query("execute e").once("execute e").sync().query("explain (costs off) execute e"), 3),
        (s().query("prepare own as select 6").query("execute own").query("deallocate own").query("execute own"), 4),
        (s().query("deallocate all").run("e", &[]).sync(), 2),
    ];
    for (say, readies) in steps {
        assert_eq!(pooled.told(&say, readies), direct.told(&say, readies));
    }
    assert!(bed.show("PINS").is_empty());
}

#[test]
fn a_setting_that_cannot_be_restored_is_named_to_its_client() {
    let _machine = place::machine(false);
    let bed = start(1, "");
    let (mut one, mut two) = (bed.client(), bed.client());
    run(&mut one, "set role anna");
    run(&mut two, "select 1");
    bed.postgres.sql("drop role anna");
    let refused = one.query("select 1").expect_err("the role is gone").to_string();
    assert!(refused.contains("anna") && refused.contains("role"), "{refused}");
    assert_eq!(ask(&mut two, "select current_user"), "app");
}

/// Twelve clients over two connections for a few seconds, with clients that vanish and servers that are killed.
#[test]
fn nobody_finds_anothers_settings_under_disconnects_rollbacks_and_kills() {
    let _machine = place::machine(false);
    let bed = start(2, "");
    let until_then = Instant::now() + Duration::from_secs(6);
    let rounds: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..12)
            .map(|number| {
                scope.spawn({
                    let bed = &bed;
                    move || torment(bed, number, until_then)
                })
            })
            .collect();
        while Instant::now() < until_then {
            std::thread::sleep(Duration::from_millis(700)); // the pace of the kills
            bed.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app' limit 1");
        }
        workers.into_iter().map(|worker| worker.join().expect("nobody finds another's")).sum()
    });
    assert!(rounds > 100, "{rounds} rounds");
    bed.at_rest();
}

/// Sets, looks, rolls back and vanishes until `end`; returns how often it looked.
fn torment(bed: &Bed, number: usize, end: Instant) -> usize {
    let (mut looked, mut round) = (0, number);
    while Instant::now() < end {
        let mut wire = bed.client();
        let mine = format!("t{number}");
        let set = format!(
            "select set_config('app.tenant', '{mine}', false); set search_path = {mine}; set role {}",
            ["anna", "berta"][number % 2]
        );
        if wire.query(&set).is_err() {
            continue; // its connection was killed
        }
        for turn in 0..8 {
            let found = match wire.query("select current_setting('app.tenant', true) || current_setting('search_path')")
            {
                Ok(answer) => answer.value(),
                Err(_) => break,
            };
            assert_eq!(found, format!("{mine}{mine}"));
            looked += 1;
            let turned = if turn % 3 == 0 {
                wire.query("begin; set app.tenant = 'never'; rollback")
            } else {
                wire.query("begin; insert into seen values (1); rollback")
            };
            if turned.is_err() {
                break;
            }
        }
        round += 1;
        match round % 3 {
            0 => wire.reset(),
            1 => drop(wire.send(&Say::new().query("begin; set app.tenant = 'left'; listen x").bytes)),
            _ => {}
        }
    }
    looked
}
