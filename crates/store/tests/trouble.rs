//! What goes wrong around the file stops nobody, is said, and loses nothing that was acknowledged.
#![allow(clippy::unwrap_used)]

mod scene;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use poolwarden_store::{Effect, Limits, News, State, Store, Unwritten, VersionState, Which};
use rusqlite::Connection;
use scene::{PATIENCE, assert_works, close, entry, limits, open, version, why};

/// Tries again so soon that a test need not ask.
fn eager() -> Limits {
    Limits { retry_first: Duration::from_millis(1), retry_most: Duration::from_millis(20), ..limits() }
}

/// Until the store has found out by itself; the test fails where it does not.
fn until(store: &Store, holds: impl Fn(&Store) -> bool) {
    let begun = Instant::now();
    while !holds(store) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", store.state());
        thread::yield_now();
    }
}

fn begin(path: &Path, versions: u64) {
    let store = open(path);
    for n in 1..=versions {
        assert_eq!(store.record(version(n, 3_000)), Ok(n));
    }
    close(&store);
}

fn aside(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains(".corrupt-")).collect()
}

#[test]
fn a_missing_directory_is_said_and_what_was_given_meanwhile_is_written_when_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("data");
    let store = Store::open(&missing.join("history.db"), eager());
    assert!(why(&store).contains("No such file"), "{}", why(&store));
    let Err(Unwritten::Kept { ticket, .. }) = store.record(version(1, 10)) else { panic!("it is not kept") };
    assert!(matches!(store.mark(ticket, VersionState::Superseded), Err(Unwritten::Kept { .. })));
    let effect = Effect { sentence: "no effect".to_owned(), pools: Vec::new() };
    assert!(matches!(store.effect(ticket, effect.clone()), Err(Unwritten::Kept { .. })));
    store.audit(entry(1));
    assert!(store.versions(10, None).is_err());
    assert_eq!((store.number(ticket), store.queued()), (None, 4));

    fs::create_dir(&missing).unwrap();
    until(&store, |store| store.number(ticket).is_some() && store.state() == State::Working);
    assert_eq!((store.number(ticket), store.queued(), store.dropped_total()), (Some(1), 0, 0));
    let kept = store.version(1).unwrap().unwrap();
    assert_eq!((kept.state, kept.effect), (VersionState::Superseded, Some(effect)));
    assert_eq!(store.audits(10).unwrap(), [entry(1)]);
    let news = store.news();
    assert!(matches!(news[..], [News::Failing { .. }, News::Recovered { dropped: 0, .. }]), "{news:?}");
}

#[test]
fn a_directory_in_the_place_of_the_file_is_said_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    fs::create_dir(&path).unwrap();
    let store = open(&path);
    assert!(matches!(store.state(), State::Failing { .. }));
    assert!(matches!(store.record(version(1, 10)), Err(Unwritten::Kept { .. })));
    assert_eq!(store.close(PATIENCE).unwrap_err().unwritten, 1);
    assert!(path.is_dir());
}

#[test]
fn what_finds_no_place_in_memory_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data").join("history.db");
    let limits = Limits { queued_writes: 2, queued_audits: 5, retry_first: PATIENCE, ..limits() };
    let store = Store::open(&path, limits);
    // What the writer has taken counts apart from what waits behind it.
    let tickets: Vec<_> = (1..=6).map(|n| store.record(version(n, 10)).unwrap_err()).collect();
    assert!(tickets.iter().all(|error| matches!(error, Unwritten::Kept { .. })), "{tickets:?}");
    for seed in 0..9 {
        store.audit(entry(seed));
    }
    let State::Failing { dropped, .. } = store.state() else { panic!("it works") };
    assert_eq!(dropped + store.queued() as u64, 6 + 9);
    assert_eq!((dropped, store.dropped_total()), (4 + 4, 4 + 4));
    assert_eq!(store.close(PATIENCE).unwrap_err().unwritten, 7);
}

#[test]
fn a_corrupt_file_is_put_aside_whole_and_numbers_go_on_in_the_new_one() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        ("no database", |bytes| bytes.fill(b'x')),
        ("cut short", |bytes| bytes.truncate(bytes.len() / 2)),
        ("a few bytes", |bytes| bytes.truncate(700)),
        ("an inner page", |bytes| bytes[4_096..].fill(0xff)),
        ("the tables' page", |bytes| bytes[100..4_096].fill(0x5a)),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.db");
        begin(&path, 7);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, &bytes).unwrap();

        let store = open(&path);
        assert_works(&store);
        let news = store.news();
        let [News::PutAside { to, .. }] = &news[..] else { panic!("{name}: {news:?}") };
        assert!(fs::read(to).unwrap() == bytes, "{name}: it was altered");
        assert_eq!(store.versions(10, None).unwrap(), [], "{name}");
        assert_eq!(store.record(version(8, 10)), Ok(8), "{name}");
        assert_eq!(store.integrity().unwrap(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_file_that_breaks_while_it_is_open_is_put_aside_and_the_write_goes_to_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    begin(&path, 60);
    let store = open(&path);
    // In place, so that it stays the file that is open; the log is empty, so nothing covers the damage.
    let length = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xff; usize::try_from(length).unwrap()], 0).unwrap();
    // A reader meets it first, and has the writer look.
    assert!(store.versions(100, None).is_err());
    until(&store, |_| !aside(dir.path()).is_empty());
    assert_eq!(store.record(version(61, 10)), Ok(61));
    assert_works(&store);
    assert!(store.news().iter().any(|news| matches!(news, News::PutAside { .. })));
    assert_eq!(store.versions(100, None).unwrap().len(), 1);
}

#[test]
fn an_empty_file_whose_log_is_not_is_put_aside_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    fs::write(&path, "").unwrap();
    fs::write(dir.path().join("history.db-wal"), "what was written last").unwrap();
    let store = open(&path);
    assert_works(&store);
    assert_eq!(aside(dir.path()).len(), 2);
}

#[test]
fn a_log_whose_file_is_gone_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    fs::write(dir.path().join("history.db-wal"), "what was written last").unwrap();
    let store = open(&path);
    assert_eq!(store.record(version(1, 10)), Ok(1));
    let aside = aside(dir.path());
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read_to_string(&aside[0]).unwrap(), "what was written last");
}

#[test]
fn a_file_that_is_taken_away_is_noticed_before_anything_more_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let store = open(&path);
    assert_eq!(store.record(version(1, 10)), Ok(1));
    fs::rename(&path, dir.path().join("elsewhere.db")).unwrap();
    assert_eq!(store.record(version(2, 10)), Ok(2));
    assert_eq!(store.versions(10, None).unwrap().len(), 1);
    assert!(matches!(store.news()[..], [News::Vanished { .. }]));
    assert_works(&store);
}

#[test]
fn a_file_of_a_newer_release_is_read_and_not_altered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    begin(&path, 3);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("ALTER TABLE version ADD COLUMN mood TEXT; PRAGMA user_version = 2;").unwrap();
    drop(connection);
    let bytes = fs::read(&path).unwrap();

    let store = open(&path);
    let State::ReadOnly { why, .. } = store.state() else { panic!("{:?}", store.state()) };
    assert!(why.contains("newer release (schema 2, this one knows 1)"), "{why}");
    assert!(matches!(store.record(version(4, 10)), Err(Unwritten::Lost { .. })));
    assert!(matches!(store.mark(1, VersionState::Superseded), Err(Unwritten::Lost { .. })));
    store.audit(entry(1));
    assert_eq!(store.versions(10, None).unwrap().len(), 3);
    assert_eq!(store.last_confirmed().unwrap().unwrap().n, 3);
    until(&store, |store| matches!(store.state(), State::ReadOnly { dropped: 3, .. }));
    assert!(matches!(store.news()[..], [News::ReadOnly { .. }]));
    store.close(PATIENCE).unwrap();
    assert!(fs::read(&path).unwrap() == bytes, "it was altered");
}

#[test]
fn a_newer_releases_log_stays_in_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    begin(&path, 3);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA user_version = 2; UPDATE version SET by = 'newer';").unwrap();
    let log = dir.path().join("history.db-wal");
    let (bytes, logged) = (fs::read(&path).unwrap(), fs::read(&log).unwrap());
    assert!(!logged.is_empty());
    let store = open(&path);
    assert!(matches!(store.state(), State::ReadOnly { .. }));
    assert_eq!(store.versions(1, None).unwrap()[0].by, "newer");
    close(&store);
    assert!(fs::read(&path).unwrap() == bytes && fs::read(&log).unwrap() == logged, "it was altered");
    drop(connection);
}

#[test]
fn another_programs_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1);").unwrap();
    let bytes = fs::read(&path).unwrap();
    let store = open(&path);
    assert!(why(&store).contains("another program"), "{}", why(&store));
    assert!(store.record(version(1, 10)).is_err());
    store.close(PATIENCE).unwrap_err();
    assert!(fs::read(&path).unwrap() == bytes, "it was altered");
}

#[test]
fn a_second_process_is_told_whose_the_file_is_and_gets_it_when_the_first_ends() {
    if let Some(place) = scene::place() {
        // The second process: it says what it was told, waits for its turn, and writes.
        let store = Store::open(&place, eager());
        println!("\ntold: {}", why(&store));
        assert_eq!(store.versions(10, None).unwrap().len(), 1);
        until(&store, |store| store.state() == State::Working);
        println!("number: {}", store.record(version(2, 10)).unwrap());
        return close(&store);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let store = open(&path);
    assert_eq!(store.record(version(1, 10)), Ok(1));
    let name = "a_second_process_is_told_whose_the_file_is_and_gets_it_when_the_first_ends";
    let mut child = scene::child(&[], name, &path).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap())).map(Result::unwrap);
    let told = lines.find(|line| line.starts_with("told: ")).unwrap();
    let pid = format!("belongs to another poolwarden (pid {})", std::process::id());
    assert!(told.contains(&pid), "{told}");
    assert_eq!(store.mark(1, VersionState::Superseded), Ok(1));
    close(&store);
    assert_eq!(lines.find(|line| line.starts_with("number: ")).as_deref(), Some("number: 2"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn two_stores_of_one_process_do_not_share_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.db");
    let first = open(&path);
    let second = open(&path);
    assert!(why(&second).contains("belongs to another poolwarden"));
    assert!(matches!(second.record(version(1, 10)), Err(Unwritten::Kept { .. })));
    assert_eq!(first.record(version(1, 10)), Ok(1));
}

#[test]
fn a_ticket_of_a_version_that_was_dropped_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let limits = Limits { queued_writes: 1, ..eager() };
    let limits = Limits { retry_first: PATIENCE, ..limits };
    let store = Store::open(&data.join("history.db"), limits);
    let tickets: Vec<_> = (1..=3)
        .map(|n| match store.record(version(n, 10)) {
            Err(Unwritten::Kept { ticket, .. }) => ticket,
            other => panic!("{other:?}"),
        })
        .collect();
    fs::create_dir(&data).unwrap();
    // Somebody who waits has it tried at once, whatever the backoff says.
    let dropped = Unwritten::Unknown { which: Which::Ticket(tickets[0]) };
    assert!(store.record(version(4, 10)).is_ok());
    assert_eq!(store.mark(tickets[0], VersionState::Superseded), Err(dropped));
}
