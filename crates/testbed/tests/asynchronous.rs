//! What nobody asked for (notices, parameters, notifications), and settings that go with their client.

use std::time::Duration;

use poolwarden_testbed::{Bed, Plan, Say, Target, Wire, bed, place, until};

fn s() -> Say {
    Say::new()
}

fn one() -> Bed {
    Bed::start_as(Target::Poolwarden, Plan { size: 1, ..Plan::default() })
}

#[test]
fn notices_come_where_they_belong() {
    let _machine = place::machine(false);
    let bed = one();
    let mut wire = bed.client();
    let told = wire.told(&s().query("do $$ begin raise notice 'one'; raise warning 'two'; end $$; select 3"), 1);
    assert_eq!(told, "N(one) N(two) C(DO) T(?column?) D(3) C(SELECT 1) ZI");
    let told = wire.told(&s().once("do $$ begin raise notice 'four'; end $$").once("select 5").sync(), 1);
    assert_eq!(told, "1 2 N(four) C(DO) 1 2 D(5) C(SELECT 1) ZI");
}

#[test]
fn a_setting_goes_with_its_client_and_the_next_one_meets_the_servers_own() {
    let _machine = place::machine(false);
    let bed = one();
    let (mut abroad, mut home) = (bed.client(), bed.client());
    let usual = home.query("show timezone").expect("served").value();
    let told = abroad.told(&s().query("set time zone 'Asia/Tokyo'; set datestyle to 'German'"), 1);
    assert!(told.contains("S(TimeZone=Asia/Tokyo)") && told.contains("S(DateStyle=German, DMY)"), "{told}");
    for _ in 0..5 {
        assert_eq!(home.query("show timezone").expect("served").value(), usual);
        assert_eq!(home.query("select date '2024-08-15'").expect("served").value(), "2024-08-15");
        assert_eq!(abroad.query("show timezone").expect("served").value(), "Asia/Tokyo");
        assert_eq!(abroad.query("select date '2024-08-15'").expect("served").value(), "15.08.2024");
    }
    // One more client meets nothing of it, nor does one that asks for a setting of its own in its start-up.
    assert_eq!(bed.client().query("show timezone").expect("served").value(), usual);
    let mut own = Wire::connect_with(&bed.address(), &bed::login(), &[("TimeZone", "Europe/Berlin")]).expect("connect");
    assert_eq!(own.query("show timezone").expect("served").value(), "Europe/Berlin");
    assert!(own.parameters.iter().any(|(name, value)| name == "TimeZone" && value == "Europe/Berlin"));
    // A setting that is rolled back is none.
    let told = home.told(&s().query("begin; set time zone 'Asia/Tokyo'").query("rollback").query("show timezone"), 3);
    assert!(told.ends_with(&format!("D({usual}) C(SHOW) ZI")), "{told}");
}

#[test]
fn the_application_name_in_pg_stat_activity_is_that_of_the_client_at_work() {
    let _machine = place::machine(false);
    let bed = one();
    let named =
        |name| Wire::connect_with(&bed.address(), &bed::login(), &[("application_name", name)]).expect("connect");
    let (mut red, mut blue) = (named("red"), named("blue"));
    let ask = "select application_name from pg_stat_activity where pid = pg_backend_pid()";
    for _ in 0..3 {
        assert_eq!(red.query(ask).expect("served").value(), "red");
        assert_eq!(blue.query(ask).expect("served").value(), "blue");
    }
    blue.query("set application_name to 'green'").expect("set");
    assert_eq!(red.query(ask).expect("served").value(), "red");
    assert_eq!(blue.query(ask).expect("served").value(), "green");
}

#[test]
fn a_setting_that_cannot_be_made_is_told_and_harms_nobody_else() {
    let _machine = place::machine(false);
    let bed = one();
    let mut good = bed.client();
    good.query("select 1").expect("served");
    let bad = Wire::connect_with(&bed.address(), &bed::login(), &[("TimeZone", "Nowhere/Land")])
        .and_then(|mut wire| wire.query("select 1").map(|_| wire));
    let told = bad.expect_err("a time zone that is none").to_string();
    assert!(told.contains("22023") && told.to_lowercase().contains("timezone"), "{told}");
    assert_eq!(good.query("select 2").expect("served").value(), "2");
    bed.at_rest();
}

#[test]
fn notifications_to_an_idle_connection_disturb_nobody() {
    let _machine = place::machine(false);
    let bed = one();
    let mut listener = bed.client();
    // inside a function, where nobody sees it, so that the connection goes back to the pool with it
    bed.postgres
        .direct("app")
        .query("create function hear() returns void language plpgsql as $f$ begin execute 'listen news'; end $f$")
        .expect("a function");
    listener.query("select hear()").expect("listens");
    let mut other = bed.client();
    for number in 0..5 {
        bed.postgres.sql(&format!("notify news, '{number}'"));
        assert_eq!(other.query(&format!("select {number}")).expect("in step").value(), number.to_string());
        let told = other.told(&s().once("select 7").sync(), 1);
        let own = told.split(' ').filter(|word| !word.starts_with("A(")).collect::<Vec<_>>().join(" ");
        assert_eq!(own, "1 2 D(7) C(SELECT 1) ZI");
    }
    bed.at_rest();
}

#[test]
fn a_parameter_that_changes_on_the_server_is_told_to_new_clients_of_new_connections() {
    let _machine = place::machine(false);
    let bed = one();
    let mut wire = bed.client();
    wire.query("select 1").expect("served");
    bed.postgres.sql("alter system set datestyle = 'SQL, DMY'");
    bed.postgres.sql("select pg_reload_conf()");
    // Its backend meets the change before the next statement or after it, and tells the client at once.
    let answer = wire.query("select date '2024-08-15'").expect("served").value();
    let told = wire.parameters.contains(&("DateStyle".to_string(), "SQL, DMY".to_string()));
    assert!(answer == "2024-08-15" || told, "{answer} without a word");
    bed.console().query("RECONNECT app").expect("reconnects");
    let mut new = until("new clients to be told of the new style", Duration::from_secs(10), || {
        wire.query("select 1").expect("served, on a new connection");
        Some(bed.client()).filter(|new| new.parameters.contains(&("DateStyle".to_string(), "SQL, DMY".to_string())))
    });
    assert_eq!(new.query("select date '2024-08-15'").expect("served").value(), "15/08/2024");
}

#[test]
fn session_mode_leaves_nothing_of_a_client_to_the_next() {
    let _machine = place::machine(false);
    let bed =
        Bed::start_as(Target::Poolwarden, Plan { size: 1, mode: poolwarden_testbed::Mode::Session, ..Plan::default() });
    let mut first = bed.client();
    let pid = first.query("select pg_backend_pid()").expect("served").value();
    for sql in [
        "set search_path to pg_catalog",
        "set work_mem to '1MB'",
        "create temp table left_behind (n int)",
        "prepare left_behind as select 1",
        "listen left_behind",
        "select pg_advisory_lock(7)",
    ] {
        first.query(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    assert_eq!(first.query("select pg_backend_pid()").expect("served").value(), pid, "a session keeps its connection");
    drop(first);
    let mut next = bed.client();
    assert_eq!(next.query("select pg_backend_pid()").expect("served").value(), pid, "the connection is used again");
    assert_eq!(next.query("show search_path").expect("served").value(), "\"$user\", public");
    assert_eq!(next.query("show work_mem").expect("served").value(), "4MB");
    assert_eq!(next.query("select to_regclass('left_behind') is null").expect("served").value(), "t");
    assert_eq!(next.query("select count(*) from pg_prepared_statements").expect("served").value(), "0");
    assert_eq!(next.query("select count(*) from pg_listening_channels()").expect("served").value(), "0");
    assert_eq!(next.query("select count(*) from pg_locks where locktype = 'advisory'").expect("served").value(), "0");
}

#[test]
fn the_reset_query_is_the_files_own_and_one_that_fails_gives_the_connection_up() {
    let _machine = place::machine(false);
    let plan = Plan { size: 1, mode: poolwarden_testbed::Mode::Session, ..Plan::default() };
    let bed = Bed::start_as(Target::Poolwarden, plan.pool("server_reset_query = \"select reset_of_mine()\""));
    bed.postgres.sql("create sequence resets; grant all on sequence resets to app");
    bed.postgres.sql("create function reset_of_mine() returns bigint language sql as $$ select nextval('resets') $$");
    let mut first = bed.client();
    let pid = first.query("select pg_backend_pid()").expect("served").value();
    drop(first);
    let mut second = bed.client();
    assert_eq!(second.query("select pg_backend_pid()").expect("served").value(), pid);
    assert_eq!(second.query("select last_value from resets").expect("served").value(), "1");
    bed.postgres.sql("drop function reset_of_mine()");
    drop(second);
    let mut third = bed.client();
    assert_ne!(third.query("select pg_backend_pid()").expect("served").value(), pid, "a connection nobody could reset");
}

#[test]
fn statement_mode_refuses_a_transaction_block() {
    let _machine = place::machine(false);
    let plan = Plan { size: 1, mode: poolwarden_testbed::Mode::Statement, ..Plan::default() };
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let mut wire = bed.client();
    assert_eq!(wire.query("select 1").expect("served").value(), "1");
    assert_eq!(wire.told(&s().once("select 2").sync(), 1), "1 2 D(2) C(SELECT 1) ZI");
    wire.send(&s().query("begin").query("insert into nowhere values (1)").bytes).expect("sent");
    let told = wire.last_words();
    assert!(told.ends_with("E(FATAL 0A000)"), "{told}");
    assert_eq!(bed.client().query("select 3").expect("served").value(), "3");
    bed.at_rest();
}
