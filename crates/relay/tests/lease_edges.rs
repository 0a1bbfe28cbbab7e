//! The edges of a lease: clients that go, settings that cannot be made, pipelines that are cut, names that must not meet.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

mod support;

use poolwarden_relay::{Farewell, Fault, Keep, Out, Refused, Terms, Turn};
use support::reply::{put, report};
use support::script::{Script, bind, message, tell};
use support::wire::{Cut, Wire, same_under};

fn s() -> Script {
    Script::new()
}

fn wire(seats: usize, terms: Terms) -> Wire {
    Wire::new(seats, terms, Cut::Whole, 5)
}

/// Joins a client and lets it say all it has.
fn join(wire: &mut Wire, script: &Script) -> usize {
    let at = wire.join(script);
    wire.settle();
    at
}

#[test]
fn a_batch_without_sync_before_a_simple_query_does_not_keep_the_connection() {
    let mut wire = wire(1, Terms::default());
    let first = join(&mut wire, &s().once("select 1").query("select 2"));
    assert_eq!(wire.seat_of(first), None);
    assert_eq!(wire.released, 1);
}

#[test]
fn a_changed_result_is_told_on_every_connection_and_a_new_parse_mends_it() {
    for seats in 1..=2 {
        let mut wire = wire(seats, Terms::default());
        let a = join(&mut wire, &s().parse("a", "table").describe(b'S', "a").sync());
        let b = join(&mut wire, &s().parse("b", "table").describe(b'S', "b").sync());
        let other = join(&mut wire, &s().query("alter"));
        for peer in [a, b] {
            let before = wire.peers[peer].replies.len();
            wire.say(peer, &s().run("a").run("b").sync().parts[0]);
            wire.settle();
            let told = tell(&wire.peers[peer].replies[before..]);
            assert!(told == "E(0A000) ZI" || told == "E(26000) ZI", "{told}");
        }
        for (peer, name) in [(a, "a"), (b, "b"), (a, "a"), (other, "c"), (b, "b")] {
            let before = wire.peers[peer].replies.len();
            let again = s().close(b'S', name).parse(name, "table").describe(b'S', name).run(name).sync();
            wire.say(peer, &again.parts[0]);
            wire.settle();
            assert_eq!(
                tell(&wire.peers[peer].replies[before..]),
                "3 1 t T 2 D(cell) D(cell) C(SELECT 2) ZI",
                "{seats} {name}"
            );
        }
    }
}

#[test]
fn a_result_that_changed_before_it_is_prepared_elsewhere_is_told_as_by_the_server() {
    let mut wire = wire(2, Terms::default());
    let keeper = join(&mut wire, &s().query("begin"));
    let a = join(&mut wire, &s().parse("a", "table").describe(b'S', "a").sync());
    let blocker = join(&mut wire, &s().query("begin; alter"));
    wire.say(keeper, &s().query("commit").parts[0]);
    wire.settle(); // the only free connection has never seen the statement
    for _ in 0..2 {
        wire.say(a, &s().run("a").sync().parts[0]);
        wire.settle();
    }
    assert_eq!(tell(&wire.peers[a].replies), "1 t T ZI E(0A000) ZI E(0A000) ZI");
    wire.say(blocker, &s().query("commit").parts[0]);
    wire.settle();
    assert_eq!(wire.released, 5);
}

#[test]
fn another_clients_unnamed_statement_is_never_met() {
    let mut wire = wire(1, Terms::default());
    join(&mut wire, &s().once("select secret").sync());
    let other = join(&mut wire, &s().run("").sync().describe(b'S', "").sync());
    assert_eq!(tell(&wire.peers[other].replies), "E(26000) ZI E(26000) ZI");
}

#[test]
fn the_names_on_the_server_are_not_the_clients_to_use() {
    let mut wire = wire(1, Terms::default());
    let owner = join(&mut wire, &s().parse("a", "select secret").sync());
    let thief = s().run("poolwarden_1").sync().describe(b'S', "poolwarden_1").sync().close(b'S', "poolwarden_1").sync();
    let thief = join(&mut wire, &thief);
    assert_eq!(tell(&wire.peers[thief].replies), "E(26000) ZI E(26000) ZI 3 ZI");
    wire.say(owner, &s().run("a").sync().parts[0]);
    wire.settle();
    assert_eq!(tell(&wire.peers[owner].replies), "1 ZI 2 D(secret) C(SELECT 1) ZI");
}

#[test]
fn statements_beyond_the_bound_are_closed_on_the_server() {
    let mut wire = wire(1, Terms { statements: 2, ..Terms::default() });
    let mut script = s();
    for name in ["a", "b", "c", "d", "e"] {
        script = script.parse(name, &format!("select {name}")).run(name).sync().wait();
    }
    let at = join(&mut wire, &script.run("e").sync());
    assert!(wire.seats[0].backend.statements() <= 3, "{:?}", wire.seats[0].backend);
    assert_eq!(wire.seats[0].server.statements(), 2);
    wire.leave(at);
}

#[test]
fn a_taken_name_is_refused_for_its_reason_where_its_statement_is_elsewhere() {
    let script = |open: &str, end: &str| {
        let script = s().parse("a", "select 1").sync().parse("b", "select 2").run("b").sync().wait().query(open).wait();
        let script = script.parse("a", "syntax").sync().parse("a", "select 3").sync().parse("a", "rollback").sync();
        script.parse("a", "").sync().wait().query(end).wait().run("a").run("b").sync()
    };
    for statements in 1..=2 {
        let terms = Terms { statements, ..Terms::default() };
        same_under(terms, &[script("begin; error", "rollback"), script("select 0", "select 9")]);
    }
}

#[test]
fn no_close_of_ours_falls_into_a_copy() {
    let terms = Terms { statements: 1, ..Terms::default() };
    let script = s().parse("a", "select 1").run("a").sync().parse("b", "copy in").run("b").sync().wait();
    same_under(terms, &[script.data("row").done().sync().run("a").sync()]);
}

#[test]
fn a_text_that_is_not_shared_keeps_the_connection_until_it_is_closed() {
    let terms = Terms { large_text: 10, ..Terms::default() };
    let mut wire = wire(2, terms);
    let at = join(&mut wire, &s().parse("big", "select abcdefghijkl").run("big").sync());
    assert!(wire.seat_of(at).is_some());
    wire.say(at, &s().run("big").sync().close(b'S', "big").sync().parts[0]);
    wire.settle();
    assert_eq!(wire.seat_of(at), None);
    assert_eq!(
        tell(&wire.peers[at].replies),
        "1 2 D(abcdefghijkl) C(SELECT 1) ZI 2 D(abcdefghijkl) C(SELECT 1) ZI 3 ZI"
    );
    let failed = join(&mut wire, &s().parse("bad", "syntax aaaaaaaaaaaaaaaa").sync());
    assert_eq!(wire.seat_of(failed), None, "a large text that failed keeps nothing");
    same_under(
        terms,
        &[s().parse("big", "select abcdefghijkl").sync().run("big").sync().once("select abcdefghijkl").sync()],
    );
}

#[test]
fn texts_beyond_the_bound_live_on_one_connection_and_give_their_bytes_back() {
    let mut wire = wire(1, Terms::default());
    wire.texts.rebound(250);
    let at = join(&mut wire, &s().parse("a", "select 1").sync());
    assert_eq!(wire.seat_of(at), None);
    wire.say(at, &s().parse("b", "select 2").run("b").sync().parts[0]);
    wire.settle();
    assert!(wire.seat_of(at).is_some());
    assert_eq!(tell(&wire.peers[at].replies), "1 ZI 1 2 D(2) C(SELECT 1) ZI");
    assert_eq!(wire.leave(at), Some(Farewell::Clean));
    assert!(wire.texts.bytes() <= 250);
}

#[test]
fn a_client_that_goes_leaves_a_clean_connection() {
    let goings: [(Script, &str); 8] = [
        (s().query("begin"), "idle in transaction"),
        (s().query("begin").query("error"), "in a failed transaction"),
        (s().query("copy in").data("row"), "in COPY"),
        (s().query("begin").once("copy in").data("row"), "in COPY of a batch"),
        (s().once("copy in").sync(), "in COPY with an early Sync"),
        (s().once("select 1"), "before its Sync"),
        (s().once("error"), "before the Sync of a failed batch"),
        (s().parse("a", "rows 9 9").bind("p", "a").execute("p", 2).flush(), "with a portal open"),
    ];
    for (script, what) in goings {
        for seed in 1..20 {
            let mut wire = Wire::new(1, Terms::default(), Cut::Random, seed * 77);
            let at = join(&mut wire, &script);
            assert!(wire.seat_of(at).is_some(), "{what}");
            assert!(matches!(wire.leave(at), Some(Farewell::Draining { .. })), "{what}");
            wire.settle();
            // a cancel may meet COPY before the Sync that was sent long before: then the connection is given up
            let given_up = usize::from(what == "in COPY with an early Sync" && wire.dropped == 1);
            assert_eq!((wire.released, wire.dropped), (1 - given_up, given_up), "{what}");
            let next = join(&mut wire, &s().query("select 1").once("select 2").sync());
            assert_eq!(wire.peers[next].replies, wire.peers[next].direct.replies, "{what}");
        }
    }
}

#[test]
fn a_batch_whose_client_left_before_its_sync_is_not_committed() {
    for early in [false, true] {
        let mut wire = wire(1, Terms::default());
        let set = s().once("set timezone Mars").flush();
        let at = wire.join(&set);
        if !early {
            wire.settle();
            assert_eq!(wire.seats[0].backend.setting("timezone"), "Mars");
        }
        wire.leave(at);
        wire.settle();
        assert_ne!(wire.seats[0].backend.setting("timezone"), "Mars");
        let next = join(&mut wire, &s().query("show timezone"));
        assert_eq!(wire.peers[next].replies, wire.peers[next].direct.replies);
    }
}

#[test]
fn a_client_that_goes_with_everything_in_flight_leaves_a_clean_connection() {
    let scripts = [
        s().query("begin").query("rows 3 3").query("error").query("rollback"),
        s().once("begin").once("error").query("select 1").once("commit").sync().once("select 2"),
        s().once("copy in").data("bad").done().sync().query("copy in"),
        s().parse("a", "select 1").run("a").sync().run("a").query("select 1").run("none"),
    ];
    for script in scripts {
        for after in 0..60 {
            let mut wire = Wire::new(1, Terms::default(), Cut::Random, 991 + after);
            let at = wire.join(&script);
            wire.steps(after as usize);
            wire.leave(at);
            wire.settle();
            assert!(wire.seats[0].is_free(), "{after}: {:?}", wire.seats[0]);
            let next = join(&mut wire, &s().query("select 1").parse("a", "select 2").run("a").sync());
            assert_eq!(tell(&wire.peers[next].replies), tell(&wire.peers[next].direct.replies));
        }
    }
}

#[test]
fn a_client_that_goes_within_a_message_breaks_its_connection() {
    let mut wire = wire(1, Terms::default());
    let at = wire.join(&s());
    let query = message(|out| put(out, b'Q', &[b"select 1\0"]));
    wire.say(at, &query[..8]);
    wire.settle();
    assert_eq!(wire.leave(at), Some(Farewell::Clean), "a query is read before it goes out");
    let at = wire.join(&s());
    let bind = message(|out| bind(out, "", ""));
    wire.say(at, &bind[..bind.len() - 1]);
    wire.settle();
    assert_eq!(wire.leave(at), Some(Farewell::Broken));
    let next = join(&mut wire, &s().query("select 1"));
    assert_eq!(wire.peers[next].replies, wire.peers[next].direct.replies);
}

#[test]
fn half_a_late_copy_message_does_not_stay_on_the_connection() {
    let mut wire = wire(1, Terms::default());
    let at = wire.join(&s());
    let late = message(|out| put(out, b'd', &[&[b'x'; 900]]));
    let all = [&s().query("copy in").data("bad").parts[0], &late[..300]].concat();
    wire.say(at, &all);
    wire.settle();
    assert_eq!((wire.seat_of(at), wire.released), (None, 1));
    let next = join(&mut wire, &s().query("select 2"));
    assert_eq!(wire.peers[next].replies, wire.peers[next].direct.replies);
    wire.say(at, &[&late[300..], &s().done().query("select 3").parts[0]].concat());
    wire.settle();
    assert_eq!(tell(&wire.peers[at].replies), "G E(22P04) ZI T D(3) C(SELECT 1) ZI");
}

#[test]
fn settings_that_cannot_be_made_are_the_clients_fault_and_cost_one_connection() {
    let mut wire = wire(1, Terms::default());
    let script = Script::with(&[("application_name", "invalid")]).query("select 1");
    let at = join(&mut wire, &script);
    assert_eq!(tell(&wire.peers[at].unset.clone().unwrap()), "E(22023)");
    assert_eq!((wire.dropped, wire.peers[at].replies.len()), (1, 0));
    let next = join(&mut wire, &s().query("show application_name"));
    assert_eq!(wire.peers[next].replies, wire.peers[next].direct.replies);
}

#[test]
fn an_answer_of_ours_that_cannot_be_read_costs_the_connection_and_who_has_state_on_it() {
    let answer = [&b"D\0\0\0\x06\0\0"[..], b"C\0\0\0\x0dSELECT 1\0", b"Z\0\0\0\x05I"].concat();
    for has_state in [false, true] {
        let mut wire = wire(1, Terms::default());
        let at = if has_state { join(&mut wire, &s().query("listen x")) } else { wire.join(&s()) };
        assert_eq!(wire.seat_of(at).is_some(), has_state);
        wire.say(at, &s().query("unlisten x").query("listen x").parts[0]);
        while !wire.seats[0].to_server.windows(12).any(|bytes| bytes == b"pg_listening") {
            wire.steps(1);
        }
        let client = Some((&mut wire.peers[at].client, &mut wire.texts));
        let heard = wire.seats[0].server.from_server(0, client, &answer, &mut Out::default());
        match has_state {
            false => assert_eq!(heard, Ok((answer.len(), Turn::Spoiled))),
            true => assert!(matches!(&heard, Err(Fault::Server(what)) if what.contains("left behind")), "{heard:?}"),
        }
    }
}

#[test]
fn a_value_the_server_spells_otherwise_is_told_and_not_set_again() {
    let mut wire = wire(1, Terms::default());
    let at = wire.join(&Script::with(&[("client_encoding", "latin1")]).query("select 1").wait().query("select 2"));
    wire.peers[at].direct.marks = vec![0, 0];
    wire.settle();
    let told = "S(client_encoding=LATIN1) T D(1) C(SELECT 1) ZI T D(2) C(SELECT 1) ZI";
    assert_eq!(tell(&wire.peers[at].replies), told);
    let configured = |wire: &Wire| wire.seats[0].backend.parsed.iter().filter(|sql| sql.contains("set_config")).count();
    assert_eq!(configured(&wire), 1);
    join(&mut wire, &s().query("select 3"));
    assert_eq!(configured(&wire), 2, "the default is restored for a client without settings");
}

#[test]
fn an_endless_pipeline_is_cut_at_a_round_while_others_wait() {
    let mut wire = wire(1, Terms { cut: (4, u64::MAX), ..Terms::default() });
    let mut long = s();
    for at in 0..40 {
        long = if at % 3 == 0 { long.once("select 1").sync() } else { long.query("select 2") };
    }
    let copied =
        long.query("copy in").data("row").done().once("copy in").sync().data("row").done().sync().query("select 9");
    wire.grants = false;
    join(&mut wire, &copied);
    join(&mut wire, &s().query("select 3"));
    wire.grants = true; // both wait before either is served
    wire.run();
    wire.check();
    let parsed = &wire.seats[0].backend.parsed;
    assert_eq!(parsed.iter().position(|sql| sql == "select 3"), Some(4), "{parsed:?}");
}

#[test]
fn nobody_is_cut_inside_a_transaction() {
    let mut wire = wire(1, Terms { cut: (2, u64::MAX), ..Terms::default() });
    let mut long = s().query("begin");
    for _ in 0..20 {
        long = long.query("insert");
    }
    wire.grants = false;
    join(&mut wire, &long.query("commit"));
    join(&mut wire, &s().query("select 3"));
    wire.grants = true;
    wire.run();
    wire.check();
    let parsed = &wire.seats[0].backend.parsed;
    let begin = parsed.iter().position(|sql| sql == "begin").unwrap();
    assert_eq!(parsed[begin + 21], "commit", "{parsed:?}");
}

#[test]
fn large_rows_stream_without_being_kept() {
    let mut most = 0;
    let mut row = Vec::new();
    put(&mut row, b'T', &[&[0, 0]]);
    put(&mut row, b'D', &[&vec![b'x'; 8 << 20]]);
    put(&mut row, b'C', &[b"SELECT 1\0"]);
    put(&mut row, b'Z', &[b"I"]);
    let wire = wire_of_one_query(&mut most, &row);
    assert!(wire.peers[0].replies == row);
    assert!(most <= 64, "kept {most} bytes of a row of 8 MiB");
}

/// A client that has asked one thing, and hears `reply` in pieces of 16 kB; `most` is the most that was kept back.
fn wire_of_one_query(most: &mut usize, reply: &[u8]) -> Wire {
    let mut wire = wire(1, Terms::default());
    wire.join(&s());
    wire.say(0, &s().query("select 1").parts[0]);
    wire.grant(0);
    wire.seats[0].to_server.clear(); // what it would say is given here
    for piece in reply.chunks(16 * 1024) {
        wire.hear(0, piece);
        *most = (*most).max(wire.seats[0].server.pending.len());
    }
    wire
}

#[test]
fn large_parameters_stream_without_being_kept() {
    let mut wire = wire(1, Terms::default());
    let at = join(&mut wire, &s().query("begin").parse("a", "select 1").sync());
    let mut bind = Vec::new();
    put(&mut bind, b'B', &[b"\0a\0", &[0, 0, 0, 1], &(8u32 << 20).to_be_bytes(), &vec![b'v'; 8 << 20], &[0, 0]]);
    let mut sent = 0;
    for piece in bind.chunks(16 * 1024) {
        wire.say(at, piece);
        assert!(wire.peers[at].client.pending.len() < 64);
        sent += wire.seats[0].to_server.len();
        let bytes = std::mem::take(&mut wire.seats[0].to_server);
        wire.seats[0].backend.receive(&bytes);
    }
    assert_eq!(sent, bind.len() + "poolwarden_1".len() - 1);
    wire.say(at, &s().execute("", 0).sync().query("rollback").parts[0]);
    wire.settle();
    assert_eq!(tell(&wire.peers[at].replies), "C(BEGIN) ZT 1 ZT 2 D(1) C(SELECT 1) ZT C(ROLLBACK) ZI");
}

#[test]
fn impossible_frames_are_the_clients_fault() {
    for bytes in [&b"Q\0\0\0\x03"[..], b"Q\x7f\xff\xff\xff", b"?\0\0\0\x04"] {
        for begun in [false, true] {
            let mut wire = wire(1, Terms::default());
            let at = join(&mut wire, &if begun { s().query("begin") } else { s() });
            wire.say(at, bytes);
            wire.settle();
            assert!(matches!(wire.peers[at].fault, Some(Fault::Client(_))), "{bytes:?}");
            assert_eq!(wire.released, usize::from(begun), "its transaction was rolled back");
        }
    }
}

#[test]
fn a_server_that_dies_idle_in_a_lease_is_told_once() {
    let mut wire = wire(1, Terms::default());
    let at = join(&mut wire, &s().query("begin"));
    wire.seats[0].backend.die("57P01", "terminating connection due to administrator command");
    let said = wire.seats[0].backend.output();
    wire.hear(0, &said);
    assert_eq!(tell(&wire.peers[at].replies), "C(BEGIN) ZT E(57P01)");
    assert!(wire.peers[at].ended);
}

#[test]
fn asynchronous_messages_to_an_idle_connection_reach_nobody() {
    let mut wire = wire(1, Terms::default());
    let at = join(&mut wire, &s().query("select 1"));
    let before = wire.peers[at].replies.clone();
    let mut said = Vec::new();
    put(&mut said, b'A', &[&[0, 0, 0, 1], b"channel\0\0"]);
    put(&mut said, b'N', &[b"SNOTICE\0C00000\0Mx\0\0"]);
    put(&mut said, b'S', &[b"application_name\0reloaded\0"]);
    for byte in &said {
        wire.hear(0, &[*byte]);
    }
    assert_eq!(wire.peers[at].replies, before);
    assert_eq!(wire.seats[0].server.settings().value("application_name"), Some("reloaded"));
}

#[test]
fn a_refused_client_hears_an_error_and_a_ready_for_each_request_and_goes_on() {
    let mut wire = wire(0, Terms::default());
    let at = join(&mut wire, &s().query("select 1").once("select 2").sync());
    assert_eq!(wire.waiting.len(), 1);
    let mut error = Vec::new();
    report(&mut error, b'E', "ERROR", "53300", "no connection");
    let peer = &mut wire.peers[at];
    assert_eq!(peer.client.refuse(&error, &mut peer.replies).unwrap(), Refused::Answered);
    assert_eq!(tell(&peer.replies), "E(53300) ZI E(53300) ZI");
}

#[test]
fn session_mode_changes_nothing_and_is_reset_for_the_next_client() {
    let terms = Terms { keep: Keep::Session, ..Terms::default() };
    let script = s().parse("a", "select 1").describe(b'S', "a").run("a").sync().wait().run("a").close(b'S', "a").sync();
    let script = script.query("set application_name mine").parse("b", "select 2").sync();
    same_under(terms, &[script.clone(), script, s().query("show application_name").run("b").sync()]);
}
