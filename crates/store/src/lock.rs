//! One owner: the lock beside the database, held for as long as the process lives, and the highest number ever given.
//!
//! It is a file of its own, since closing any descriptor of the database itself would drop SQLite's locks on it.
//! Its text has a fixed length and is written in place, which a full disk allows.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::fault::Fault;

/// The lock, held.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
    highest: u64,
}

impl Lock {
    /// Takes the lock beside `database`, or says who has it.
    pub(crate) fn take(database: &Path) -> Result<Self, Fault> {
        let path = beside(database, ".lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Fault::of_system(&path, &error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let holder = read(&file).0.map_or_else(String::new, |pid| format!(" (pid {pid})"));
                let shown = database.display();
                return Err(Fault::Broken(format!(
                    "{shown} belongs to another poolwarden{holder}; give each its own data_dir, or end that one"
                )));
            }
            Err(errno) => return Err(Fault::of_system(&path, &errno.into())),
        }
        let highest = read(&file).1;
        let lock = Self { file, path, highest };
        lock.write(highest)?;
        Ok(lock)
    }

    /// The highest number any database here ever gave to a version; 0 before the first.
    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// Notes that numbers up to `n` are given, before they are: a database begun anew goes on after them.
    pub(crate) fn note(&mut self, n: u64) -> Result<(), Fault> {
        if n > self.highest {
            self.write(n)?;
            self.highest = n;
        }
        Ok(())
    }

    fn write(&self, highest: u64) -> Result<(), Fault> {
        let text = format!("pid {:>10}\nversions {highest:>20}\n", process::id());
        self.file.write_all_at(text.as_bytes(), 0).map_err(|error| Fault::of_system(&self.path, &error))
    }
}

/// `history.db` and `.lock` make `history.db.lock`.
pub(crate) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The holder's pid and the highest number; text we cannot read says nothing.
fn read(file: &File) -> (Option<u32>, u64) {
    let mut bytes = [0_u8; 64];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&bytes[..length]);
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let pid = value("pid").and_then(|pid| pid.parse().ok());
    (pid, value("versions").and_then(|n| n.parse().ok()).unwrap_or(0))
}
