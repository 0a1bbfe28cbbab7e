//! A full disk, a file that may not grow, a directory that cannot be written: said, survived, and made up for.
//!
//! A file system of a mebibyte is mounted by a child in a mount namespace of its own, so that nothing is left behind
//! however it ends. Where the kernel gives this user no such namespace, that test holds what the limit on a file's size
//! holds anyway, which needs no privilege and is tested everywhere. A directory that is closed by its mode closes
//! nothing to root, so root gets a read-only mount, and everybody else the mode.
#![allow(clippy::unwrap_used)]

mod scene;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use poolwarden_store::{Limits, News, State, Store, Ticket, Unwritten};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use scene::{PATIENCE, assert_works, close, entry, limits, open, place, version, why};

/// Tries again when somebody waits, and not by itself: the tests say when.
fn patient() -> Limits {
    Limits { retry_first: PATIENCE, ..limits() }
}

/// A program that mounts a small file system at `place`, in a namespace of its own, and becomes what follows.
fn mounting(place: &Path) -> [&str; 6] {
    let namespace = if geteuid().is_root() { "-m" } else { "-rm" };
    let mount = "mount -t tmpfs -o size=1m tmpfs \"$0\" && exec \"$@\"";
    ["unshare", namespace, "sh", "-c", mount, place.to_str().unwrap()]
}

fn can_mount(place: &Path) -> bool {
    let wrapper = mounting(place);
    let tried = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Records until two in a row find no room: how many there are with those two, and the ticket of the last.
///
/// One alone may find room again by itself, where closing the file moves its log into it.
fn fill(store: &Store) -> (u64, Ticket) {
    let mut refused = 0;
    for n in 1..10_000 {
        match store.record(version(n, 20_000)) {
            Ok(number) => assert_eq!(number, n),
            Err(Unwritten::Kept { ticket, .. }) if refused + 1 == n && n > 1 => return (n, ticket),
            Err(Unwritten::Kept { .. }) => refused = n,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("there is room without end");
}

/// All that was acknowledged, and all that was kept meanwhile, is there in its order.
fn assert_whole(store: &Store, count: u64) {
    let kept = store.versions(1_000, None).unwrap();
    assert_eq!(kept.len() as u64, count);
    for (kept, n) in kept.iter().zip((1..=count).rev()) {
        assert_eq!((kept.n, &kept.text), (n, &version(n, 20_000).text));
    }
    assert_eq!(store.integrity().unwrap(), Vec::<String>::new());
}

/// What each way of having no room is held to. `make_room` ends it.
fn without_room(path: &Path, make_room: impl FnOnce()) {
    let store = Store::open(path, patient());
    assert_works(&store);
    let (count, ticket) = fill(&store);
    assert!(count > 5, "only {} found room", count - 2);
    assert!(matches!(store.state(), State::Failing { dropped: 0, .. }), "{:?}", store.state());
    eprintln!("{} versions, then: {}", count - 2, why(&store));
    // What is there can be read, and what comes is kept.
    assert_eq!((store.versions(1_000, None).unwrap().len() as u64, store.queued()), (count - 2, 2));
    store.audit(entry(1));

    make_room();
    assert_eq!(store.record(version(count + 1, 20_000)), Ok(count + 1));
    assert_works(&store);
    assert_eq!(store.number(ticket), Some(count));
    let news = store.news();
    assert!(matches!(news.first(), Some(News::Failing { .. })), "{news:?}");
    assert!(matches!(news.last(), Some(News::Recovered { dropped: 0, .. })), "{news:?}");
    assert_whole(&store, count + 1);
    close(&store);
    let store = open(path);
    assert_whole(&store, count + 1);
    assert_eq!(store.audits(10).unwrap(), [entry(1)]);
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged_and_with_room_again_all_is_written() {
    let name = "a_full_disk_loses_nothing_that_was_acknowledged_and_with_room_again_all_is_written";
    if let Some(place) = place() {
        // A filler leaves some of the mebibyte; without it there is room.
        let filler = place.join("filler");
        fs::write(&filler, vec![0; 500 << 10]).unwrap();
        return without_room(&place.join("history.db"), || fs::remove_file(&filler).unwrap());
    }
    let dir = tempfile::tempdir().unwrap();
    if can_mount(dir.path()) {
        let status = scene::child(&mounting(dir.path()), name, dir.path()).status().unwrap();
        assert!(status.success());
    } else {
        eprintln!("no namespace to mount in: held by a limit on the file's size instead");
        limited(dir.path());
    }
}

#[test]
fn a_file_that_may_not_grow_loses_nothing_that_was_acknowledged() {
    if let Some(place) = place() {
        return in_limits(&place);
    }
    let dir = tempfile::tempdir().unwrap();
    limited(dir.path());
}

/// In a process of its own, since the limit is the whole process's. The signal that tells of it is ignored, so that the
/// write fails as one to a disk does.
fn limited(place: &Path) {
    let wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let name = "a_file_that_may_not_grow_loses_nothing_that_was_acknowledged";
    let status = scene::child(&wrapper, name, place).status().unwrap();
    assert!(status.success());
}

fn in_limits(place: &Path) {
    let before = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(400 << 10), maximum: before.maximum }).unwrap();
    without_room(&place.join("history.db"), || setrlimit(Resource::Fsize, before).unwrap());
}

#[test]
fn a_directory_that_cannot_be_written_is_said_and_its_history_can_be_read() {
    let name = "a_directory_that_cannot_be_written_is_said_and_its_history_can_be_read";
    if let Some(place) = place() {
        return read_only(&place, |is_closed| {
            let options = if is_closed { "remount,ro" } else { "remount,rw" };
            let status = Command::new("mount").args(["-o", options]).arg(&place).status().unwrap();
            assert!(status.success());
        });
    }
    let dir = tempfile::tempdir().unwrap();
    if geteuid().is_root() {
        assert!(can_mount(dir.path()), "root may not mount here, and no mode of a directory stops root");
        let status = scene::child(&mounting(dir.path()), name, dir.path()).status().unwrap();
        assert!(status.success());
    } else {
        read_only(dir.path(), |is_closed| {
            let mode = if is_closed { 0o500 } else { 0o700 };
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            for file in fs::read_dir(dir.path()).unwrap() {
                let mode = if is_closed { 0o400 } else { 0o600 };
                fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(mode)).unwrap();
            }
        });
    }
}

fn read_only(place: &Path, close_it: impl Fn(bool)) {
    let path = place.join("history.db");
    let store = open(&path);
    assert_eq!(store.record(version(1, 20_000)), Ok(1));
    close(&store);
    close_it(true);

    let store = Store::open(&path, patient());
    assert!(matches!(store.state(), State::Failing { .. }), "{:?}", store.state());
    eprintln!("it says: {}", why(&store));
    assert_eq!(store.last_confirmed().unwrap().unwrap().n, 1);
    let Err(Unwritten::Kept { .. }) = store.record(version(2, 20_000)) else { panic!("it is written") };
    close_it(false);
    assert_eq!(store.record(version(3, 20_000)), Ok(3));
    assert_whole(&store, 3);
    close(&store);
}

#[test]
fn a_deadline_that_passes_while_closing_says_what_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("missing").join("history.db"), patient());
    assert!(store.record(version(1, 10)).is_err());
    store.audit(entry(1));
    let left = store.close(Duration::from_secs(30)).unwrap_err();
    assert_eq!(left.unwritten, 2);
    assert_eq!(left.to_string(), "the history was closed with 2 writes that are not in it");
}
