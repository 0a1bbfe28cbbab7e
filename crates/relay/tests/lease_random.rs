//! Random clients over random pools: each hears what it would hear alone, and no connection comes back dirty.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

mod support;

use poolwarden_relay::{Keep, Terms};
use proptest::prelude::*;
use support::piece::{self, DESCRIBED, Ending, NAMES, PORTALS, Piece, QUERIES, SETTINGS, TEXTS};
use support::script::Script;
use support::wire::{Cut, Wire};

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

fn script() -> impl Strategy<Value = Script> {
    let settings = proptest::sample::select(&SETTINGS[..]);
    (settings, proptest::collection::vec(piece(), 1..14))
        .prop_map(|(settings, pieces)| piece::script(settings, &pieces))
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
