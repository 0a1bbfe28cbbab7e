//! The files stay within their bytes, and what is needed for the truth stays in them.
#![allow(clippy::unwrap_used)]

mod scene;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use poolwarden_store::{Limits, NewVersion, Store, VersionState};
use scene::{assert_works, close, entry, limits, version};

const MIB: u64 = 1 << 20;
const VERSIONS: u64 = 10_000;

fn bytes(path: &Path) -> u64 {
    let length = |ending: &str| {
        let name = format!("{}{ending}", path.display());
        fs::metadata(name).map_or(0, |file| file.len())
    };
    ["", "-wal", "-shm", ".lock"].map(length).iter().sum()
}

#[test]
fn ten_thousand_versions_stay_within_a_mebibyte_and_the_last_confirmed_survives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let store = Store::open(&path, Limits { max_size: MIB, ..limits() });
    let first = NewVersion { state: VersionState::Confirmed, ..version(0, 2_000) };
    assert_eq!(store.record(first.clone()), Ok(1));
    let written = AtomicU64::new(1);
    let most = AtomicU64::new(0);
    thread::scope(|scope| {
        // Many write at once, so that a sync of the disk serves several.
        for _ in 0..32 {
            scope.spawn(|| {
                while written.fetch_add(1, Ordering::Relaxed) < VERSIONS {
                    let refused = VersionState::Refused { why: "findings of level error".to_owned() };
                    let n = store.record(NewVersion { state: refused, ..version(7, 2_000) }).unwrap();
                    store.audit(entry(n));
                    if n.is_multiple_of(50) {
                        most.fetch_max(bytes(&path), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_works(&store);
    let most = most.into_inner();
    assert!(most <= MIB, "the files took {most} bytes");
    let newest = store.versions(1_000, None).unwrap();
    assert_eq!(newest.first().map(|version| version.n), Some(VERSIONS));
    assert!(newest.len() >= 100, "{} versions are left", newest.len());
    assert!(newest.len() < 900, "{} versions are left: nothing was removed", newest.len());
    let last = store.last_confirmed().unwrap().unwrap();
    assert_eq!((last.n, last.text), (1, first.text));
    close(&store);
    assert!(bytes(&path) <= MIB, "{} bytes after closing", bytes(&path));

    let store = Store::open(&path, Limits { max_size: MIB, ..limits() });
    assert_eq!(store.integrity().unwrap(), Vec::<String>::new());
    assert_eq!(store.record(version(8, 10)), Ok(VERSIONS + 1));
}

#[test]
fn the_newest_hundred_stay_where_they_alone_exceed_the_bound_and_their_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let store = Store::open(&path, Limits { max_size: 1, ..limits() });
    for n in 1..=150 {
        assert_eq!(store.record(version(n, 20_000)), Ok(n));
    }
    let numbers = |store: &Store| store.versions(1_000, None).unwrap().iter().map(|kept| kept.n).collect::<Vec<_>>();
    // What is too much goes after the answer; closing waits for it.
    close(&store);
    let store = Store::open(&path, Limits { max_size: 100 * MIB, ..limits() });
    assert_eq!(numbers(&store), (51..=150).rev().collect::<Vec<_>>());
    assert_eq!(store.version(50).unwrap(), None);
    // With room again nothing more goes.
    for n in 151..=160 {
        assert_eq!(store.record(version(n, 20_000)), Ok(n));
    }
    assert_eq!(numbers(&store), (51..=160).rev().collect::<Vec<_>>());
    // A bound that is lowered is obeyed from the next write on.
    store.bound(1);
    assert_eq!(store.record(version(161, 20_000)), Ok(161));
    close(&store);
    assert_eq!(numbers(&scene::open(&path)), (62..=161).rev().collect::<Vec<_>>());
}
