//! The directory of recordings: names, rotation, what is deleted, and which files tell of a time.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use poolwarden_store::recording::{Anchor, Block, Bounds, Gap, Recording, Settings, Shelf, Tape, Wanted, find, tapes};

/// 2023-11-14T22:13:20Z.
const BEGUN_MS: u64 = 1_700_000_000_000;

fn at(seconds: u64) -> Anchor {
    Anchor { wall_ms: BEGUN_MS + seconds * 1_000, clock_us: seconds * 1_000_000 }
}

fn bounds() -> Bounds {
    Bounds { max_size: 80_000, max_file: 20_000, max_age_ms: 3_600_000 }
}

/// A block that nothing packs: of a kilobyte, about.
fn block(seed: u64) -> Block {
    let mut number = seed.wrapping_add(1);
    let mut digit = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + ((number >> 33) % 94) as u8)
    };
    let text = (0..1_200).map(|_| digit()).collect();
    Block::Settings(Settings { from_us: 0, version: None, hash: String::new(), text })
}

fn names(dir: &Path) -> Vec<String> {
    tapes(dir).unwrap().into_iter().map(|tape| tape.name).collect()
}

fn blocks(tape: &Tape) -> Vec<Block> {
    let bytes = fs::read(&tape.path).unwrap();
    Recording::open(&bytes).unwrap().map(|block| block.unwrap()).collect()
}

#[test]
fn recordings_are_named_by_the_second_they_begin_in_and_are_nobody_elses_to_read() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("recordings");
    assert_eq!(tapes(&dir).unwrap(), []);
    let mut shelf = Shelf::new(dir.clone(), bounds());
    for _ in 0..3 {
        shelf.begin(at(0)).unwrap();
        shelf.write(&block(1)).unwrap();
    }
    fs::write(dir.join("20231114T221320Z-x.pwrc"), "mine").unwrap();
    fs::write(dir.join("notes.txt"), "mine").unwrap();
    let expected = ["20231114T221320Z-0.pwrc", "20231114T221320Z-1.pwrc", "20231114T221320Z-2.pwrc"];
    assert_eq!(names(&dir), expected);
    for path in [dir.clone(), dir.join(expected[0])] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
    assert_eq!(shelf.size(), tapes(&dir).unwrap().iter().map(|tape| tape.size).sum::<u64>());
}

#[test]
fn more_than_nine_of_one_second_stay_in_order() {
    let home = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(home.path().to_owned(), bounds());
    for _ in 0..12 {
        shelf.begin(at(0)).unwrap();
    }
    assert_eq!(
        names(home.path())[9..],
        ["20231114T221320Z-9.pwrc", "20231114T221320Z-10.pwrc", "20231114T221320Z-11.pwrc"]
    );
}

#[test]
fn one_is_full_when_it_is_long_or_old_or_taken_away() {
    let home = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(home.path().to_owned(), bounds());
    assert!(!shelf.is_full(at(9_999)), "none is under way");
    shelf.begin(at(0)).unwrap();
    assert!(!shelf.is_full(at(3_599)) && shelf.is_full(at(3_600)));
    for n in 0..20 {
        assert_eq!(shelf.is_full(at(1)), shelf.size() >= 10_000, "an eighth of all, after {n}");
        shelf.write(&block(n)).unwrap();
    }
    assert!(shelf.is_full(at(1)));
    shelf.begin(at(1)).unwrap();
    assert!(!shelf.is_full(at(2)));
    fs::remove_file(&tapes(home.path()).unwrap()[1].path).unwrap();
    assert!(shelf.is_full(at(2)));
}

#[test]
fn all_of_them_never_take_more_than_they_may_and_the_oldest_go_first() {
    let home = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(home.path().to_owned(), bounds());
    let foreign = home.path().join("20231114T221320Z.pwrc.bak");
    fs::write(&foreign, vec![0; 100_000]).unwrap();
    let size = || tapes(home.path()).unwrap().iter().map(|tape| tape.size).sum::<u64>();
    let mut most = 0;
    for n in 0..400 {
        if n == 0 || shelf.is_full(at(n)) {
            shelf.begin(at(n)).unwrap();
        }
        shelf.write(&block(n)).unwrap();
        assert!(size() <= 80_000 && size() == shelf.size(), "{n}: {} {}", size(), shelf.size());
        most = most.max(size());
    }
    assert!(most > 70_000, "it uses what it may: {most}");
    let left = tapes(home.path()).unwrap();
    assert_eq!(blocks(left.last().unwrap()).last(), Some(&block(399)));
    let told: Vec<Block> = left.iter().flat_map(blocks).collect();
    let newest: Vec<Block> = (400 - told.len() as u64..400).map(block).collect();
    assert!(told == newest, "the newest are left, without a hole");
    assert!(foreign.exists(), "what is none of ours stays");
    shelf.bound(30_000);
    shelf.write(&block(400)).unwrap();
    assert!(size() <= 30_000, "at once: {}", size());
}

#[test]
fn a_recording_of_an_earlier_process_is_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(home.path().to_owned(), bounds());
    shelf.begin(at(0)).unwrap();
    shelf.write(&block(1)).unwrap();
    drop(shelf);
    let first = &tapes(home.path()).unwrap()[0];
    let torn = fs::OpenOptions::new().write(true).open(&first.path).unwrap();
    torn.set_len(first.size - 7).unwrap();
    let mut shelf = Shelf::new(home.path().to_owned(), bounds());
    assert!(!shelf.is_open());
    assert!(shelf.write(&block(2)).is_err(), "nothing was begun");
    shelf.begin(at(0)).unwrap();
    shelf.write(&block(2)).unwrap();
    let all = tapes(home.path()).unwrap();
    assert_eq!((all.len(), all[0].size), (2, first.size - 7));
    let bytes = fs::read(&all[0].path).unwrap();
    let fault = Recording::open(&bytes).unwrap().next().unwrap().unwrap_err();
    assert_eq!((fault.at, fault.why), (32, "the file ends within a block"));
    assert_eq!(blocks(&all[1]), [block(2)]);
}

#[test]
fn where_no_file_can_be_made_it_says_so_and_begins_when_one_can() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("recordings");
    fs::write(&dir, "in the way").unwrap();
    let mut shelf = Shelf::new(dir.clone(), bounds());
    assert!(shelf.begin(at(0)).is_err() && !shelf.is_open());
    fs::remove_file(&dir).unwrap();
    shelf.begin(at(1)).unwrap();
    assert!(shelf.is_open());
}

#[test]
fn those_are_found_that_tell_of_a_time_and_those_that_cannot_be_read() {
    let home = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(home.path().to_owned(), bounds());
    for begin in [0, 100, 200] {
        shelf.begin(at(begin)).unwrap();
        let gap = Gap { from_us: at(begin).clock_us, until_us: at(begin + 90).clock_us, lost: 0 };
        shelf.write(&Block::Gap(gap)).unwrap();
    }
    fs::write(home.path().join("20231114T221320Z-1.pwrc"), "broken").unwrap();
    let found = |from: u64, until: u64| {
        let wanted = Wanted { from_ms: at(from).wall_ms, until_ms: at(until).wall_ms };
        let found = find(tapes(home.path()).unwrap(), &wanted).unwrap();
        found.into_iter().map(|tape| tape.name[9..].to_owned()).collect::<Vec<_>>()
    };
    let broken = "221320Z-1.pwrc";
    assert_eq!(found(0, 10), ["221320Z-0.pwrc", broken]);
    assert_eq!(found(92, 98), [broken]);
    assert_eq!(found(90, 150), ["221320Z-0.pwrc", broken, "221500Z-0.pwrc"]);
    assert_eq!(found(300, 400), [broken]);
}
