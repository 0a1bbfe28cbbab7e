//! Puts a broken database aside: another name with its time, its log and index with it. Deletes and overwrites nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::fault::Fault;
use crate::lock::beside;

/// What SQLite keeps beside a database: its log, the log's index, and the journal of one that has no log yet.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Names tried for one second's files.
const TRIES: u32 = 100;

/// Moves the database and what belongs to it, and says where it is now.
///
/// The database goes first: what a crash leaves behind of the rest is moved by [`orphans`].
pub(crate) fn put(database: &Path, now_ms: u64) -> Result<PathBuf, Fault> {
    let to = free_name(database, now_ms)?;
    rename(database, &to)?;
    companions(database, &to)?;
    Ok(to)
}

/// Moves what a database that is gone left behind, so that a new one does not take it for its own.
pub(crate) fn orphans(database: &Path, now_ms: u64) -> Result<(), Fault> {
    if COMPANIONS.iter().all(|ending| !exists(&beside(database, ending))) {
        return Ok(());
    }
    companions(database, &free_name(database, now_ms)?)
}

fn companions(database: &Path, to: &Path) -> Result<(), Fault> {
    for ending in COMPANIONS {
        let from = beside(database, ending);
        if exists(&from) {
            rename(&from, &beside(to, ending))?;
        }
    }
    Ok(())
}

fn free_name(database: &Path, now_ms: u64) -> Result<PathBuf, Fault> {
    let stamp = stamp(now_ms);
    let names = (0..TRIES).map(|at| match at {
        0 => beside(database, &format!(".corrupt-{stamp}")),
        _ => beside(database, &format!(".corrupt-{stamp}-{at}")),
    });
    let is_free = |name: &PathBuf| !exists(name) && COMPANIONS.iter().all(|ending| !exists(&beside(name, ending)));
    let mut free = names.filter(is_free);
    free.next().ok_or_else(|| {
        Fault::Broken(format!("{}: no free name to put it aside under; move it away by hand", database.display()))
    })
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn rename(from: &Path, to: &Path) -> Result<(), Fault> {
    let told =
        |error: io::Error| Fault::Broken(format!("{} is broken and cannot be put aside: {error}", from.display()));
    fs::rename(from, to).map_err(told)
}

/// `20261123T033652Z`: sorts as time does, and no shell minds it.
pub(crate) fn stamp(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Year, month and day of a day counted from 1970 in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // 400 years have 146,097 days; skipping them bounds the loop whatever the clock says.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_time_in_utc() {
        assert_eq!(stamp(0), "19700101T000000Z");
        assert_eq!(stamp(951_782_399_999), "20000228T235959Z");
        assert_eq!(stamp(951_782_400_000), "20000229T000000Z");
        assert_eq!(stamp(1_735_689_599_000), "20241231T235959Z");
        assert_eq!(stamp(1_735_689_600_000), "20250101T000000Z");
        assert_eq!(stamp(4_107_542_400_000), "21000301T000000Z"); // 2100 is no leap year
    }

    #[test]
    fn a_second_file_of_one_second_gets_a_name_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("history.db");
        for text in ["first", "second"] {
            fs::write(&database, text).unwrap();
            fs::write(beside(&database, "-wal"), text).unwrap();
            put(&database, 0).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("history.db.corrupt-19700101T000000Z"), "first");
        assert_eq!(read("history.db.corrupt-19700101T000000Z-wal"), "first");
        assert_eq!(read("history.db.corrupt-19700101T000000Z-1"), "second");
        assert_eq!(read("history.db.corrupt-19700101T000000Z-1-wal"), "second");
    }
}
