//! Opens the database as the writer: whose it is, whether it is sound, the tables it lacks.
//!
//! It is looked at by a connection that cannot write before one that can touches it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::aside;
use crate::bound::Shares;
use crate::fault::Fault;
use crate::lock::{Lock, beside};
use crate::schema::{self, Kind, STEPS};
use crate::state::wall_ms;

/// Only a person with a tool of SQLite's own could hold the file for that long.
const BUSY: Duration = Duration::from_secs(1);
/// Up to here the whole file is checked when it is opened, in well under a second.
const CHECKED_AT_ONCE: u64 = 64 << 20;

/// The database, open for writing.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    identity: Identity,
}

/// Which file it is, whatever its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Opened {
    /// Closes it without moving its log into it: what is put aside is as it was found.
    pub(crate) fn leave(self) -> Result<(), Fault> {
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(())
    }

    /// Whether the file at `path` is still the one that was opened.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        identity(path).is_ok_and(|identity| identity == self.identity)
    }
}

/// Opens the database at `path`, which `lock` owns.
pub(crate) fn open(path: &Path, lock: &Lock, shares: Shares) -> Result<Opened, Fault> {
    match fs::symlink_metadata(path) {
        Ok(file) => {
            // SQLite would delete the log of an empty database; somebody cut this one off.
            if file.len() == 0 && fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0) {
                return Err(Fault::Corrupt("it is empty, and its log is not".to_owned()));
            }
            look(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            aside::orphans(path, wall_ms())?;
            create(path)?;
        }
        Err(error) => return Err(Fault::of_system(path, &error)),
    }
    let mut connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    settle(&connection, shares)?;
    schema::migrate(&mut connection, &STEPS)?;
    let next = lock.highest() + 1;
    connection.execute("INSERT OR IGNORE INTO ledger VALUES (1, ?1, '')", [next.cast_signed()])?;
    sync_directory(path)?;
    let identity = identity(path).map_err(|error| Fault::of_system(path, &error))?;
    Ok(Opened { connection, identity })
}

/// What SQLite's quick check finds, at most `most` lines; none where the file is sound.
pub(crate) fn faults(connection: &Connection, most: u32) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({most})"))?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    Ok(if lines == ["ok"] { Vec::new() } else { lines })
}

/// Refuses what is not ours to write, and finds what is broken while nothing has touched it.
fn look(path: &Path) -> Result<(), Fault> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    match schema::kind(&connection) {
        Ok(Kind::Empty) => return Ok(()),
        Ok(Kind::Ours(steps)) if steps <= STEPS.len() => {}
        Ok(Kind::Ours(steps)) => return Err(schema::newer(steps, STEPS.len())),
        Ok(Kind::Foreign) => return Err(schema::foreign()),
        // A crash while the file was created left a journal that only a writer may play back; `migrate` looks again.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let is_small = fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_AT_ONCE);
    let found = if is_small { faults(&connection, 1)? } else { Vec::new() };
    found.into_iter().next().map_or(Ok(()), |fault| Err(Fault::Corrupt(fault)))
}

/// An empty file for us alone; SQLite gives its companions the same mode.
fn create(path: &Path) -> Result<(), Fault> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map(drop).map_err(|error| Fault::of_system(path, &error))
}

fn settle(connection: &Connection, shares: Shares) -> Result<(), Fault> {
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // Takes effect in a file without tables, and says that later removals can shrink it.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Broken(format!(
            "the file system of data_dir cannot hold SQLite's log (journal mode {mode}); put data_dir on a local disk"
        )));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    shares.apply(connection)?;
    Ok(())
}

/// A new file's name is on disk before anything in it is acknowledged.
fn sync_directory(path: &Path) -> Result<(), Fault> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let synced = fs::File::open(&directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| Fault::of_system(&directory, &error))
}

fn identity(path: &Path) -> io::Result<Identity> {
    let file = fs::metadata(path)?;
    Ok(Identity { device: file.dev(), inode: file.ino() })
}
