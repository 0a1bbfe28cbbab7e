//! What the tests of the store share: made-up versions, and this test again as a process of its own.
#![allow(dead_code)] // each test program uses its part

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use poolwarden_store::{Entry, KeyChange, Limits, NewVersion, State, Store, VersionState};

/// Longer than any disk of a test machine takes, so that only a real fault ends it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// In a child: where it works.
const PLACE: &str = "POOLWARDEN_STORE_TEST_PLACE";

pub(crate) fn limits() -> Limits {
    Limits { patience: PATIENCE, ..Limits::default() }
}

pub(crate) fn open(path: &Path) -> Store {
    Store::open(path, limits())
}

/// A version whose every text tells `seed`, with `bytes` of configuration.
pub(crate) fn version(seed: u64, bytes: usize) -> NewVersion {
    let line = format!("[pools.app]\nsize = {seed}\n");
    NewVersion {
        at_ms: 1_700_000_000_000 + seed,
        by: format!("operator {seed}"),
        reason: Some(format!("because of {seed}")),
        changes: vec![KeyChange {
            key: "pools.app.size".to_owned(),
            from: Some(seed.to_string()),
            to: Some((seed + 1).to_string()),
        }],
        text: line.chars().cycle().take(bytes).collect(),
        hash: format!("{seed:016x}"),
        state: VersionState::Confirmed,
        earlier: Vec::new(),
    }
}

pub(crate) fn entry(seed: u64) -> Entry {
    Entry {
        at_ms: 1_700_000_000_000 + seed,
        by: format!("operator {seed}"),
        verb: "pause".to_owned(),
        target: format!("pool {seed}"),
        outcome: "done".to_owned(),
    }
}

pub(crate) fn assert_works(store: &Store) {
    assert_eq!(store.state(), State::Working, "{:?}", store.news());
}

pub(crate) fn why(store: &Store) -> String {
    match store.state() {
        State::Working => panic!("it works"),
        State::ReadOnly { why, .. } | State::Failing { why, .. } => why,
    }
}

pub(crate) fn close(store: &Store) {
    store.close(PATIENCE).unwrap();
}

/// The place a child was given; none in the test itself.
pub(crate) fn place() -> Option<std::path::PathBuf> {
    env::var_os(PLACE).map(Into::into)
}

/// The test `name` again, as a process of its own that finds `place`; behind `wrapper`, if any.
pub(crate) fn child(wrapper: &[&str], name: &str, place: &Path) -> Command {
    let own = env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(own),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(own);
            command
        }
    };
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(PLACE, place);
    command.stdin(Stdio::null());
    command
}
