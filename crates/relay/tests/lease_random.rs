//! Random clients over random pools: each hears what it would hear alone, and no connection comes back dirty.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

mod support;

use poolwarden_relay::{Keep, Terms};
use proptest::prelude::*;
use support::script::Script;
use support::wire::{Cut, Wire};

/// A piece of a script that makes sense by itself, or nearly.
#[derive(Clone, Debug)]
enum Piece {
    Query(&'static str),
    Parse(&'static str, &'static str),
    Bind(&'static str, &'static str),
    DescribeStatement(&'static str),
    DescribePortal(&'static str),
    Execute(&'static str, u32),
    CloseStatement(&'static str),
    ClosePortal(&'static str),
    Once(&'static str),
    Run(&'static str),
    Sync,
    SyncAndWait,
    Flush,
    Function(u32),
    CopyQuery(Ending),
    CopyBatch(bool, Ending),
    Late,
    /// Everything prepared is dropped, with nothing in flight.
    DeallocateAll(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Done,
    Fail,
    Bad,
}

const TEXTS: [&str; 18] = [
    "select 1",
    "select 22",
    "rows 3 10",
    "rows 7 1",
    "begin",
    "commit",
    "rollback",
    "insert",
    "error",
    "syntax",
    "missing",
    "copy out 2",
    "set application_name x",
    "set datestyle German",
    "show application_name",
    "notice",
    "notify",
    "",
];

const QUERIES: [&str; 8] = [
    "select 1; select 2",
    "begin; set timezone Mars",
    "error; select 1",
    "set local datestyle SQL",
    "set client_encoding latin1",
    "begin; insert",
    "insert; error; insert",
    "select poolwarden",
];

/// Statements that return rows, or cannot be: a statement without rows may be described in a failed transaction, if it is prepared
/// there, and prepared anew it cannot; nobody does that.
const DESCRIBED: [(&str, &str); 4] = [("a", "select 1"), ("b", "rows 4 2"), ("c", "show datestyle"), ("d", "syntax")];
const NAMES: [&str; 5] = ["", "a", "b", "x", "y"];
const PORTALS: [&str; 3] = ["", "p", "q"];

fn text() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&TEXTS[..])
}

fn name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&NAMES[..])
}

fn portal() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&PORTALS[..])
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![3 => Just(Ending::Done), 1 => Just(Ending::Fail), 1 => Just(Ending::Bad)]
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        6 => text().prop_map(Piece::Query),
        1 => proptest::sample::select(&QUERIES[..]).prop_map(Piece::Query),
        4 => proptest::sample::select(&DESCRIBED[..]).prop_map(|(name, text)| Piece::Parse(name, text)),
        3 => (proptest::sample::select(&["x", "y", ""][..]), text()).prop_map(|(name, text)| Piece::Parse(name, text)),
        4 => (portal(), name()).prop_map(|(portal, name)| Piece::Bind(portal, name)),
        2 => proptest::sample::select(&["a", "b", "c", "d", "none"][..]).prop_map(Piece::DescribeStatement),
        2 => portal().prop_map(Piece::DescribePortal),
        4 => (portal(), 0..4u32).prop_map(|(portal, limit)| Piece::Execute(portal, limit)),
        2 => name().prop_map(Piece::CloseStatement),
        1 => portal().prop_map(Piece::ClosePortal),
        6 => text().prop_map(Piece::Once),
        6 => name().prop_map(Piece::Run),
        5 => Just(Piece::Sync),
        3 => Just(Piece::SyncAndWait),
        2 => Just(Piece::Flush),
        1 => (0..2u32).prop_map(Piece::Function),
        1 => ending().prop_map(Piece::CopyQuery),
        1 => (any::<bool>(), ending()).prop_map(|(early, ending)| Piece::CopyBatch(early, ending)),
        1 => Just(Piece::Late),
        1 => Just(Piece::DeallocateAll("deallocate all")),
    ]
}

fn copied(script: Script, ending: Ending) -> Script {
    match ending {
        Ending::Done => script.data("one").data("two").done(),
        Ending::Fail => script.data("one").fail(),
        Ending::Bad => script.data("one").data("bad").data("late").done(),
    }
}

fn append(script: Script, piece: &Piece) -> Script {
    match *piece {
        Piece::Query(sql) => script.query(sql),
        Piece::Parse(name, sql) => script.parse(name, sql),
        Piece::Bind(portal, name) => script.bind(portal, name),
        Piece::DescribeStatement(name) => script.describe(b'S', name),
        Piece::DescribePortal(name) => script.describe(b'P', name),
        Piece::Execute(portal, limit) => script.execute(portal, limit),
        Piece::CloseStatement(name) => script.close(b'S', name),
        Piece::ClosePortal(name) => script.close(b'P', name),
        Piece::Once(sql) => script.once(sql),
        Piece::Run(name) => script.run(name),
        Piece::Sync => script.sync(),
        Piece::SyncAndWait => script.sync().wait(),
        Piece::Flush => script.flush(),
        Piece::Function(oid) => script.function(oid),
        Piece::CopyQuery(ending) => copied(script.query("copy in"), ending),
        Piece::CopyBatch(early, ending) => {
            // under a name nothing else uses, so that only this piece is in COPY
            let script = script.close(b'S', "copy").parse("copy", "copy in").run("copy");
            copied(if early { script.sync() } else { script }, ending).sync()
        }
        Piece::Late => script.data("late").done(),
        Piece::DeallocateAll(sql) => script.sync().wait().query(sql).wait(),
    }
}

const SETTINGS: [&[(&str, &str)]; 3] =
    [&[], &[("application_name", "one")], &[("application_name", "two"), ("datestyle", "German")]];

fn script() -> impl Strategy<Value = Script> {
    let settings = proptest::sample::select(&SETTINGS[..]);
    (settings, proptest::collection::vec(piece(), 1..14)).prop_map(|(settings, pieces)| {
        pieces
            .iter()
            .fold(Script::with(settings), append)
            .sync()
            .wait()
            .query("rollback")
            .wait()
            .query("show datestyle")
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    let keep = prop_oneof![4 => Just(Keep::Transaction), 1 => Just(Keep::Session)];
    let large = prop_oneof![4 => Just(1 << 20), 1 => Just(12)];
    let cut = prop_oneof![2 => Just((64, u64::MAX)), 1 => Just((1, u64::MAX)), 1 => Just((2, 5_000))];
    (keep, 1..4usize, large, cut).prop_map(|(keep, statements, large_text, cut)| Terms {
        keep,
        statements,
        large_text,
        cut,
        ..Terms::default()
    })
}

fn cut() -> impl Strategy<Value = Cut> {
    prop_oneof![2 => Just(Cut::Whole), 1 => Just(Cut::EveryByte), 3 => Just(Cut::Random)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(3000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_clients_hear_what_they_would_hear_alone(
        scripts in proptest::collection::vec(script(), 1..4),
        seats in 1..4usize,
        terms in terms(),
        cut in cut(),
        seed in any::<u64>(),
    ) {
        let mut wire = Wire::new(seats, terms, cut, seed);
        for script in &scripts {
            wire.join(script);
        }
        wire.run();
        wire.check();
    }

    #[test]
    fn a_client_that_vanishes_anywhere_leaves_nothing_behind(
        scripts in proptest::collection::vec(script(), 1..3),
        terms in terms(),
        cut in cut(),
        steps in 0..120usize,
        seed in any::<u64>(),
    ) {
        let mut wire = Wire::new(1, terms, cut, seed);
        for script in &scripts {
            wire.join(script);
        }
        wire.steps(steps);
        if !wire.peers[0].ended {
            wire.leave(0);
            wire.peers[0].direct.replies = wire.peers[0].replies.clone(); // it hears no more
        }
        wire.join(&Script::new().once("select 1").sync().wait().parse("a", "select 2").run("a").sync().query("select 3"));
        wire.run();
        wire.check();
    }
}
