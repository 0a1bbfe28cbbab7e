//! What is given to the store is in it, as it was given, also for the next process.
#![allow(clippy::unwrap_used)]

mod scene;

use std::thread;

use poolwarden_store::{
    Effect, KeyChange, Limits, Measures, NewVersion, PoolEffect, Store, Unwritten, Version, VersionState, Which,
};
use scene::{PATIENCE, assert_works, close, entry, limits, open, version};

fn measures(seed: u64) -> Measures {
    Measures {
        window_ms: 60_000 + seed,
        arrivals_per_ks: u64::MAX - seed, // all 64 bits are kept
        waiting_milli: seed,
        refused: 0,
        wait_p99_us: Some(u64::MAX),
        binding: Some("host_budget".to_owned()),
    }
}

/// Two pools, whose four measures differ.
fn effect(seed: u64) -> Effect {
    let pool = |at: u64| PoolEffect {
        server: format!("server {at}"),
        database: format!("database {at}"),
        user: format!("user {at}"),
        before: measures(at),
        after: measures(at + 1),
    };
    Effect { sentence: format!("no effect {seed}"), pools: vec![pool(seed + 7), pool(seed)] }
}

fn kept(n: u64, new: NewVersion, effect: Option<Effect>) -> Version {
    let NewVersion { at_ms, by, reason, changes, text, hash, state, earlier: _ } = new;
    Version { n, at_ms, by, reason, changes, text, hash, state, effect }
}

#[test]
fn every_field_comes_back_as_it_was_given_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let store = open(&path);
    assert_works(&store);
    let states = [
        VersionState::Confirmed,
        VersionState::Tentative { until_ms: 1_700_000_300_000 },
        VersionState::Undone { why: "it \"bound\" – at 2\n".to_owned() },
        VersionState::RolledBack { to: 1 },
        VersionState::Superseded,
        VersionState::Refused { why: String::new() },
        VersionState::Interrupted,
    ];
    let mut expected = Vec::new();
    for (n, state) in (1..).zip(states) {
        let new = NewVersion { state, ..version(n, 3_000) };
        assert_eq!(store.record(new.clone()), Ok(n));
        expected.push(kept(n, new, None));
    }
    let bare = NewVersion {
        at_ms: 0,
        by: String::new(),
        reason: None,
        changes: vec![
            KeyChange { key: "z".to_owned(), from: None, to: Some(String::new()) },
            KeyChange { key: "a".to_owned(), from: Some("it's; -- \0".to_owned()), to: None },
        ],
        text: String::new(),
        hash: String::new(),
        state: VersionState::Confirmed,
        earlier: Vec::new(),
    };
    assert_eq!(store.record(bare.clone()), Ok(8));
    let nothing =
        Measures { window_ms: 0, arrivals_per_ks: 0, waiting_milli: 0, refused: 0, wait_p99_us: None, binding: None };
    let mut effect = effect(1);
    effect.pools[0].after = nothing;
    assert_eq!(store.effect(8, effect.clone()), Ok(8));
    expected.push(kept(8, bare, Some(effect)));
    expected.reverse();
    assert_eq!(store.versions(100, None).unwrap(), expected);
    close(&store);

    let store = open(&path);
    assert_eq!(store.versions(100, None).unwrap(), expected);
    assert_eq!(store.versions(2, Some(7)).unwrap(), expected[2..4]);
    assert_eq!(store.versions(5, Some(1)).unwrap(), []);
    assert_eq!(store.version(3).unwrap().as_ref(), expected.get(5));
    assert_eq!(store.version(99).unwrap(), None);
    assert_eq!(store.integrity().unwrap(), Vec::<String>::new());
    assert_eq!(store.news(), []);
}

#[test]
fn what_became_of_a_version_replaces_what_was_said_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("history.db"));
    assert_eq!(store.last_confirmed().unwrap(), None);
    let tentative = NewVersion { state: VersionState::Tentative { until_ms: 5 }, ..version(1, 10) };
    assert_eq!(store.record(tentative), Ok(1));
    assert_eq!(store.last_confirmed().unwrap(), None);
    assert_eq!(store.mark(1, VersionState::Confirmed), Ok(1));
    assert_eq!(store.last_confirmed().unwrap().unwrap().n, 1);
    assert_eq!(store.effect(1, effect(1)), Ok(1));
    let bare = Effect { pools: Vec::new(), ..effect(3) };
    for newer in [effect(2), bare] {
        assert_eq!(store.effect(1, newer.clone()), Ok(1));
        assert_eq!(store.version(1).unwrap().unwrap().effect, Some(newer));
    }
    let unknown = Unwritten::Unknown { which: Which::Number(7) };
    assert_eq!(store.mark(7, VersionState::Superseded), Err(unknown.clone()));
    assert_eq!(store.effect(7, effect(1)), Err(unknown));
    assert_works(&store);
}

#[test]
fn earlier_versions_change_with_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("history.db"));
    for n in 1..=2 {
        store.record(version(n, 10)).unwrap();
    }
    let back = NewVersion {
        earlier: vec![
            (2.into(), VersionState::RolledBack { to: 1 }),
            (1.into(), VersionState::Superseded),
            (99.into(), VersionState::Superseded),
        ],
        ..version(3, 10)
    };
    assert_eq!(store.record(back), Ok(3));
    let states: Vec<_> = store.versions(10, None).unwrap().into_iter().map(|version| version.state).collect();
    assert_eq!(states, [VersionState::Confirmed, VersionState::RolledBack { to: 1 }, VersionState::Superseded]);
}

#[test]
fn the_audit_trail_is_kept_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let store = open(&path);
    for seed in 0..1_000 {
        store.audit(entry(seed));
    }
    close(&store);
    let store = open(&path);
    let newest: Vec<_> = (990..1_000).rev().map(entry).collect();
    assert_eq!(store.audits(10).unwrap(), newest);
    assert_eq!(store.audits(5_000).unwrap().len(), 1_000);
    assert_eq!(store.dropped_total(), 0);
}

#[test]
fn writers_on_many_threads_get_numbers_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("history.db"));
    let store = &store;
    let mut numbers: Vec<u64> = thread::scope(|scope| {
        let writer = |thread: u64| {
            move || -> Vec<u64> { (0..20).map(|at| store.record(version(thread * 100 + at, 500)).unwrap()).collect() }
        };
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(writer(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=160).collect::<Vec<_>>());
}

#[test]
fn a_closed_store_takes_nothing_and_can_still_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let store = open(&path);
    store.record(version(1, 10)).unwrap();
    close(&store);
    assert!(matches!(store.record(version(2, 10)), Err(Unwritten::Lost { .. })));
    store.audit(entry(1));
    assert_eq!(store.dropped_total(), 1);
    assert_eq!(store.versions(10, None).unwrap().len(), 1);
    let next = open(&path);
    assert_eq!(next.record(version(2, 10)), Ok(2));
}

#[test]
fn a_store_that_is_dropped_writes_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let store = open(&path);
    store.audit(entry(1));
    drop(store);
    // Its lock is given back last, so whoever gets it finds all of it. Nobody says when: it is tried until it is so.
    let store = Store::open(&path, Limits { retry_first: std::time::Duration::from_millis(1), ..limits() });
    store.record(version(1, 10)).or_else(|_| wait_for_number(&store)).unwrap();
    assert_eq!(store.audits(10).unwrap(), [entry(1)]);
}

/// Records until the lock is free.
fn wait_for_number(store: &Store) -> Result<u64, Unwritten> {
    let begun = std::time::Instant::now();
    loop {
        match store.record(version(2, 10)) {
            Err(error) if begun.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::yield_now(),
            Ok(n) => return Ok(n),
        }
    }
}
