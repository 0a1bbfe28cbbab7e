//! Session state over leases: what a client sets it finds again, what it makes stays with it, and nobody finds another's.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

mod support;

use poolwarden_relay::{Keep, Pin, SessionState, Terms};
use proptest::prelude::*;
use support::script::{Script, tell};
use support::wire::{Cut, Wire, same, same_under};

fn s() -> Script {
    Script::new()
}

#[test]
fn settings_are_restored_whatever_connection_is_lent() {
    let of = |value: &str| {
        let set = format!("set search_path {value}");
        let tenant = format!("SELECT pg_catalog.set_config(E'app.tenant',E'{value}',false)");
        s().query(&set).wait().query(&tenant).wait().query("show search_path").wait().query("show app.tenant")
    };
    same(&[of("one"), of("two"), of("drei und dreißig"), s().query("show search_path").query("show app.tenant")]);
}

#[test]
fn what_was_rolled_back_or_local_was_never_set() {
    let rolled = s().query("begin").query("set search_path x").query("rollback").wait().query("show search_path");
    let local = s().query("begin").query("set local search_path x").query("commit").wait().query("show search_path");
    let failed =
        s().query("begin").query("set app.tenant 1").query("error").query("commit").wait().query("show app.tenant");
    same(&[rolled, local, failed, s().query("show search_path")]);
}

#[test]
fn a_role_is_the_clients_own() {
    let of = |role: &str| {
        s().query(&format!("set role {role}"))
            .wait()
            .query("set app.tenant 1")
            .wait()
            .query("show role")
            .wait()
            .query("reset role")
            .wait()
            .query("show role")
    };
    same(&[of("anna"), of("berta"), s().query("show role")]);
}

#[test]
fn a_text_is_shared_by_those_to_whom_it_means_the_same() {
    let ask = |script: Script| script.parse("a", "select zone").sync().wait().run("a").sync().wait().run("a").sync();
    let (tokyo, paris) = ([("timezone", "Asia/Tokyo")], [("timezone", "Europe/Paris"), ("search_path", "x")]);
    same(&[ask(s()), ask(Script::with(&tokyo)), ask(Script::with(&paris)), ask(s()), ask(Script::with(&tokyo))]);
}

#[test]
fn a_notification_behind_a_question_of_ours_reaches_who_listens() {
    let mut wire = Wire::new(1, Terms::default(), Cut::Whole, 7);
    let at = wire.join(&s().query("listen x"));
    while !wire.seats[0].to_server.windows(12).any(|bytes| bytes == b"pg_listening") {
        wire.steps(1);
    }
    let notification = b"A\0\0\0\x0b\0\0\0\x07x\0\0";
    wire.seats[0].to_relay.extend_from_slice(notification);
    let heard = wire.peers[at].replies.len();
    wire.settle();
    assert_eq!(&wire.peers[at].replies[heard..], notification, "and nothing else of what we ask");
}

#[test]
fn settings_that_cannot_be_taken_back_harm_nobody() {
    let next = || {
        s().parse("a", "select 1")
            .sync()
            .wait()
            .query("set app.tenant 1")
            .wait()
            .query("show log_statement")
            .wait()
            .run("a")
            .sync()
    };
    let momentary = s().query("begin").query("set transaction_read_only on").query("commit").wait().query("select 1");
    same(&[momentary.clone(), next(), momentary, next()]);
    let lent =
        |end: &str| s().query("begin").query("set role su").query("set log_statement all").query(end).query("commit");
    same(&[next(), lent("reset role"), next(), lent("reset role"), next()]);
    let kept = lent("select 1").wait().query("show log_statement").wait().query("show role");
    same(&[kept.clone(), next(), kept, next()]);
}

#[test]
fn reset_gives_a_client_what_it_began_with() {
    let began = [("datestyle", "German"), ("search_path", "mine")];
    let all = Script::with(&began)
        .query("set datestyle SQL")
        .wait()
        .query("set search_path x")
        .wait()
        .query("reset all")
        .wait();
    let one = Script::with(&began).query("set search_path x").wait().query("reset search_path").wait();
    let discard = Script::with(&began).query("set search_path x").wait().query("discard all").wait();
    let inside = Script::with(&began)
        .query("begin")
        .wait()
        .query("reset search_path")
        .wait()
        .query("show search_path")
        .wait()
        .query("commit")
        .wait();
    let show = |script: Script| script.query("show search_path").wait().query("show datestyle");
    same(&[show(all), show(one), show(discard), show(inside), show(s())]);
}

#[test]
fn state_that_cannot_be_carried_keeps_the_connection_until_it_ends() {
    let pairs = [
        ("select pg_advisory_lock(1)", "select pg_advisory_unlock_all()"),
        ("create temp table t", "drop table t"),
        ("declare c cursor with hold for select 1", "close c"),
        ("listen x", "unlisten *"),
        ("prepare p as select 1", "deallocate p"),
    ];
    for (make, end) in pairs {
        let script = s().query(make).wait().query("select state").wait().query(end).wait().query("select state");
        same(&[script.clone(), s().query("select state"), script]);
        let mut wire = Wire::new(1, Terms::default(), Cut::Whole, 7);
        let at = wire.join(&s().query(make));
        wire.settle();
        assert_eq!(wire.seat_of(at), Some(0), "{make}");
        let (pins, _) = wire.seats[0].server.pins();
        assert_eq!(pins.iter().count(), 1, "{make}: {pins}");
        wire.say(at, &support::script::message(|out| poolwarden_pgwire::make::query(out, end)));
        wire.settle();
        assert_eq!(wire.seat_of(at), None, "{end}");
    }
}

#[test]
fn state_of_a_client_that_vanishes_is_gone_with_it() {
    for make in
        ["select pg_advisory_lock(1)", "listen x", "set role anna", "set app.tenant 1", "begin; create temp table t"]
    {
        for steps in 0..12 {
            let mut wire = Wire::new(1, Terms::default(), Cut::Whole, 7 + steps as u64);
            let at = wire.join(&s().query(make).query("select 1"));
            wire.steps(steps);
            if !wire.peers[at].ended {
                wire.leave(at);
            }
            wire.peers[at].direct.replies = wire.peers[at].replies.clone();
            wire.join(&s().query("select state").query("show role").query("show app.tenant"));
            wire.run();
            wire.check();
        }
    }
}

#[test]
fn an_ordinary_transaction_asks_nothing() {
    let mut wire = Wire::new(1, Terms::default(), Cut::Whole, 7);
    wire.join(
        &s().query("set search_path x")
            .wait()
            .query("select 1")
            .wait()
            .once("select 2")
            .sync()
            .wait()
            .query("begin; insert")
            .query("commit"),
    );
    wire.run();
    let asked = wire.seats[0].backend.parsed.iter().filter(|text| text.contains("current_setting")).count();
    assert_eq!(asked, 1, "{:?}", wire.seats[0].backend.parsed);
    wire.check();
}

#[test]
fn deallocate_in_sql_frees_the_clients_own_name() {
    let simple =
        s().parse("Pdo_1", "select 1").parse("pdo_1", "select 2").sync().wait().query("deallocate pdo_1").wait();
    let again =
        simple.clone().query("deallocate pdo_1").wait().parse("pdo_1", "select 3").run("pdo_1").run("Pdo_1").sync();
    let batch = s().parse("a", "select 1").sync().wait().once("deallocate a").parse("a", "select 2").run("a").sync();
    let failed = s()
        .parse("a", "select 1")
        .sync()
        .wait()
        .query("begin")
        .query("error")
        .query("deallocate a")
        .query("rollback")
        .wait()
        .run("a")
        .sync();
    let several = s()
        .parse("a", "select 1")
        .parse("b", "select 2")
        .sync()
        .wait()
        .query("select 0; deallocate a; deallocate b; select 9")
        .wait()
        .run("a")
        .sync();
    let skipped = s().parse("a", "select 1").sync().wait().once("error").once("deallocate a").sync().run("a").sync();
    same(&[again, batch, failed, several, skipped]);
}

#[test]
fn a_deallocation_that_was_never_executed_closes_nothing() {
    let held = s().parse("a", "select 1").sync().wait();
    let bound = held.clone().once("select 7").sync().wait().parse("", "deallocate a").bind("", "").sync();
    let next = bound.clone().once("select 2").sync().wait().run("a").sync();
    let failed = held
        .parse("", "deallocate a")
        .bind("", "")
        .bind("", "none")
        .sync()
        .wait()
        .once("select 2")
        .sync()
        .wait()
        .run("a")
        .sync();
    same(&[bound, next, failed]);
}

#[test]
fn statements_made_behind_a_deallocation_of_all_stay() {
    let held = s().parse("a", "select 1").sync().wait();
    let behind = |script: Script| script.parse("b", "select 2").sync().wait().run("b").sync().wait().run("a").sync();
    let batch = behind(held.clone().once("deallocate all"));
    same(&[behind(held.clone().query("deallocate all")), batch, behind(held.clone().query("discard all"))]);
    same(&[held.query("deallocate all").parse("a", "select 2").sync().wait().run("a").sync()]);
}

#[test]
fn a_statement_that_is_not_followed_is_suspected_whenever_it_runs() {
    let terms = Terms { statements: 0, ..Terms::default() };
    let mut wire = Wire::new(1, terms, Cut::Whole, 7);
    for script in [s().parse("a", "set work_mem big").sync(), s().run("a").sync(), s().query("show work_mem")] {
        let at = wire.join(&script);
        wire.run();
        assert!(wire.peers[at].ended);
    }
    assert_eq!(tell(&wire.peers[2].replies), "T D(4MB) C(SELECT 1) ZI");
}

#[test]
fn a_setting_that_nobody_can_name_keeps_the_connection_until_all_is_discarded() {
    let mut wire = Wire::new(1, Terms::default(), Cut::Whole, 7);
    let at = wire.join(&s().query("SELECT pg_catalog.set_config('app.'||'x',E'1',false)"));
    wire.settle();
    assert!(wire.seats[0].server.pins().0.has(Pin::Setting));
    wire.say(at, &support::script::message(|out| poolwarden_pgwire::make::query(out, "discard all")));
    wire.settle();
    assert_eq!(wire.seat_of(at), None);
}

#[test]
fn execute_in_sql_runs_what_was_prepared_by_the_protocol() {
    let script = s()
        .parse("a", "select 1")
        .sync()
        .wait()
        .query("execute a")
        .wait()
        .query("select 0; execute a")
        .wait()
        .run("a")
        .sync();
    let other = s().parse("a", "select 2").sync().wait().query("execute a").wait().query("execute none");
    same(&[script, other]);
}

const SETS: &str = "SELECT pg_catalog.set_config(E'app.tenant',E'7',false)";

#[test]
fn execute_in_sql_is_as_suspect_as_what_it_runs() {
    let show = |script: Script| script.wait().query("show app.tenant").wait().query("select state");
    let simple = s().parse("a", SETS).sync().wait().query("execute a");
    let extended = s().parse("a", SETS).sync().wait().once("execute a").sync();
    let prepared = s().query(&format!("prepare p as {SETS}")).wait().query("execute p").wait().query("deallocate p");
    let locks = s()
        .query("prepare p as select pg_advisory_lock(1)")
        .wait()
        .query("execute p")
        .wait()
        .query("deallocate p")
        .wait()
        .query("select state")
        .wait()
        .query("select pg_advisory_unlock_all()");
    let other = show(s().query("select 1"));
    for script in [simple, extended, prepared, locks] {
        same(&[show(script), other.clone()]);
    }
}

#[test]
fn a_statement_that_lives_here_alone_is_as_suspect_as_its_text() {
    let large = format!("{SETS}{}", " ".repeat(100));
    let script = s().parse("a", &large).sync().wait().run("a").sync().wait().close(b'S', "a").sync();
    let once = s().once(&large).sync();
    let other = s().query("show app.tenant");
    let terms = Terms { large_text: 99, ..Terms::default() };
    same_under(terms, &[script.wait().query("show app.tenant"), once.wait().query("show app.tenant"), other]);
}

#[test]
fn a_search_path_that_makes_tables_temporary_keeps_the_connection() {
    let show = |script: Script| script.wait().query("create table t").wait().query("select state");
    let set = show(s().query("set search_path pg_temp"));
    let inside = s().query("begin").query("set local search_path pg_temp").query("create table t").query("commit");
    let began = show(Script::with(&[("search_path", "pg_temp, public")]).query("select 1"));
    for script in [set.clone(), inside.wait().query("select state"), began] {
        same(&[script.clone(), s().query("select state"), script]);
    }
    for ends in [["set search_path public", "drop table t"], ["drop table t", "set search_path public"]] {
        let mut wire = Wire::new(1, Terms::default(), Cut::Whole, 7);
        let at = wire.join(&set);
        wire.settle();
        for (text, seat) in ends.iter().zip([Some(0), None]) {
            wire.say(at, &support::script::message(|out| poolwarden_pgwire::make::query(out, text)));
            wire.settle();
            assert_eq!(wire.seat_of(at), seat, "{text}");
        }
    }
}

#[test]
fn a_function_called_by_its_number_is_refused_where_its_name_would_be() {
    let terms = Terms { state: SessionState::Refuse, ..Terms::default() };
    for (oid, refused) in [(2078, true), (2880, true), (2889, true), (2884, false), (2892, false), (1, false)] {
        let mut wire = Wire::new(1, terms, Cut::Whole, 7);
        let at = wire.join(&s().parse("", "select 3").sync().wait().function(oid).wait().query("select 1"));
        wire.peers[at].direct.marks = vec![0; 3];
        wire.run();
        let first = if refused { "E(0A000)" } else { "V" };
        let row = format!("1 ZI {first} ZI T D() C(SELECT 1) ZI");
        assert_eq!(tell(&wire.peers[at].replies).replace("D(1)", "D()"), row, "{oid}");
        assert_eq!(wire.seat_of(at), None);
    }
}

/// Clients whose messages come whole, for texts too long to be cut at every byte.
fn same_uncut(scripts: &[Script]) -> Wire {
    let mut wire = Wire::new(1, Terms::default(), Cut::Whole, 7);
    for script in scripts {
        wire.join(script);
    }
    wire.run();
    wire.check();
    wire
}

#[test]
fn a_long_text_is_read_to_its_end() {
    let ends = [
        ("set app.tenant 7", "show app.tenant"),
        ("set role anna", "show role"),
        ("set search_path x", "show search_path"),
        ("listen x", "select state"),
    ];
    for (last, show) in ends {
        let other = s().query(show);
        for length in [70_000, 1_200_000] {
            let text = format!("select {};{last}", "x".repeat(length));
            same_uncut(&[s().query(&text).wait().query(show), other.clone()]);
            // the end comes after the beginning has gone through
            let bytes = support::script::message(|out| poolwarden_pgwire::make::query(out, &text));
            for left in [last.len() + 1, last.len() - 1, 3] {
                let (head, tail) = bytes.split_at(bytes.len() - left);
                same_uncut(&[s().raw(head).wait().raw(tail).wait().query(show), other.clone()]);
            }
        }
    }
}

#[test]
fn data_of_any_length_keeps_no_connection() {
    let text = format!("select {}", "offset".repeat(300_000));
    let bytes = support::script::message(|out| poolwarden_pgwire::make::query(out, &text));
    let (head, tail) = bytes.split_at(1_500_000);
    let wire = same_uncut(&[s().raw(head).wait().raw(tail), s().query("select state")]);
    assert_eq!(wire.seats[0].server.pins().0, poolwarden_relay::Pins::NONE);
}

#[test]
fn a_refused_construct_fails_in_its_place_and_nothing_of_it_happens() {
    let terms = Terms { state: SessionState::Refuse, ..Terms::default() };
    for (make, pin) in [
        ("listen x", Pin::Listen),
        ("create temp table t", Pin::TempTable),
        ("select 1; select pg_advisory_lock(1)", Pin::AdvisoryLock),
    ] {
        let mut wire = Wire::new(1, terms, Cut::Whole, 7);
        let at = wire.join(&s().query(make).wait().query("select state"));
        let inside = wire.join(&s().query("begin").query(make).query("select 1").query("rollback").query("select 2"));
        let batch = wire.join(&s().once("select 1").once(make).once("select 2").sync().query("select 3"));
        wire.peers[at].direct.marks = vec![0; 3]; // it does not wait for what a connection of its own would have said
        wire.run();
        let row = "E(0A000) ZI T D() C(SELECT 1) ZI";
        assert_eq!(tell(&wire.peers[at].replies), row, "{make}");
        assert_eq!(
            tell(&wire.peers[inside].replies),
            "C(BEGIN) ZT E(0A000) ZE E(25P02) ZE C(ROLLBACK) ZI T D(2) C(SELECT 1) ZI"
        );
        if !make.contains(';') {
            assert_eq!(tell(&wire.peers[batch].replies), "1 2 D(1) C(SELECT 1) E(0A000) ZI T D(3) C(SELECT 1) ZI");
        }
        let refused: u64 = wire.seats[0].server.tally().map_or(0, |tally| tally.refused[pin as usize]);
        assert_eq!(refused, 3, "{make}");
    }
    same_under(terms, &[s().query("set search_path x").wait().query("show search_path")]);
}

const TEXTS: [&str; 30] = [
    "select 1",
    "begin",
    "commit",
    "rollback",
    "error",
    "insert",
    "set search_path one",
    "set search_path two",
    "set work_mem big",
    "set app.tenant 1",
    "set app.tenant 2",
    "set local app.tenant 3",
    "set datestyle German",
    "set role anna",
    "set role berta",
    "reset role",
    "reset search_path",
    "reset app.tenant",
    "reset all",
    "SELECT pg_catalog.set_config(E'app.tenant',E'9',false)",
    "select pg_advisory_lock(1)",
    "select pg_advisory_unlock_all()",
    "create temp table t",
    "drop table t",
    "listen x",
    "unlisten *",
    "declare c cursor with hold for select 1",
    "close c",
    "prepare p as select 7",
    "deallocate p",
];
const SHOWS: [&str; 5] = ["show search_path", "show app.tenant", "show role", "show datestyle", "select state"];
const BEGAN: [&[(&str, &str)]; 3] = [&[], &[("datestyle", "SQL")], &[("search_path", "mine"), ("app.tenant", "0")]];

/// Each text waits for its answer, so that every transaction may find another connection.
fn script() -> impl Strategy<Value = Script> {
    let text = prop_oneof![3 => proptest::sample::select(&TEXTS[..]), 2 => proptest::sample::select(&SHOWS[..])];
    let piece = (text, any::<bool>());
    (proptest::sample::select(&BEGAN[..]), proptest::collection::vec(piece, 1..16)).prop_map(|(began, pieces)| {
        let script = pieces.iter().fold(Script::with(began), |script, (text, simple)| {
            if *simple { script.query(text).wait() } else { script.once(text).sync().wait() }
        });
        SHOWS.iter().fold(script.query("rollback").wait(), |script, show| script.query(show).wait())
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    let cut = prop_oneof![2 => Just((64, u64::MAX)), 1 => Just((1, u64::MAX))];
    (cut, 1..4usize).prop_map(|(cut, statements)| Terms {
        keep: Keep::Transaction,
        statements,
        cut,
        ..Terms::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_finds_what_another_set_or_made(
        scripts in proptest::collection::vec(script(), 1..5),
        seats in 1..3usize,
        terms in terms(),
        seed in any::<u64>(),
    ) {
        let mut wire = Wire::new(seats, terms, Cut::Whole, seed);
        for script in &scripts {
            wire.join(script);
        }
        wire.run();
        wire.check();
    }

    #[test]
    fn a_client_that_vanishes_takes_its_state_with_it(
        scripts in proptest::collection::vec(script(), 2..4),
        terms in terms(),
        steps in 0..80usize,
        seed in any::<u64>(),
    ) {
        let mut wire = Wire::new(1, terms, Cut::Whole, seed);
        for script in &scripts {
            wire.join(script);
        }
        wire.steps(steps);
        if !wire.peers[0].ended {
            wire.leave(0);
            wire.peers[0].direct.replies = wire.peers[0].replies.clone(); // it hears no more
        }
        wire.run();
        wire.check();
    }
}
