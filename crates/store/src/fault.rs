//! What can go wrong, by what follows from it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::version::{Ticket, Which};

/// A write that is not in the file. Whoever asked for it goes on and says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// Not yet: it is kept in memory and written when that is possible again, unless the process ends first.
    Kept {
        /// Names it until it has a number.
        ticket: Ticket,
        /// What keeps it from the file.
        why: String,
    },
    /// It is not written, and will not be.
    Lost {
        /// Why not.
        why: String,
    },
    /// The version meant is not in the file.
    Unknown {
        /// The one meant.
        which: Which,
    },
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unwritten::Kept { why, .. } => write!(f, "the history is not written yet, it is kept in memory: {why}"),
            Unwritten::Lost { why } => write!(f, "the history is not written: {why}"),
            Unwritten::Unknown { which: Which::Number(n) } => write!(f, "the history has no version {n}"),
            Unwritten::Unknown { which: Which::Ticket(_) } => {
                write!(f, "the history has no such version: it was never written")
            }
        }
    }
}

impl Error for Unwritten {}

/// The file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Why not.
    pub why: String,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the history cannot be read: {}", self.why)
    }
}

impl Error for Unread {}

/// What a failure means for the writer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No room: the connection stays, so that readers keep its index; the same is tried again.
    Full(String),
    /// The file or its directory cannot be used: closed, and opened again later.
    Broken(String),
    /// The file is no sound database: put aside.
    Corrupt(String),
    /// The file is of a newer release: left alone.
    Newer(String),
    /// This one record cannot be written, whatever the file's health.
    Record(String),
}

impl Fault {
    /// What the system says of the file or directory at `path`.
    pub(crate) fn of_system(path: &Path, error: &io::Error) -> Self {
        let why = format!("{}: {error}", path.display());
        if error.kind() == io::ErrorKind::StorageFull { Fault::Full(why) } else { Fault::Broken(why) }
    }

    pub(crate) fn why(self) -> String {
        match self {
            Fault::Full(why) | Fault::Broken(why) | Fault::Corrupt(why) | Fault::Newer(why) | Fault::Record(why) => why,
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let why = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Fault::Full(why),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Corrupt(why),
            Some(ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => Fault::Record(why),
            // The rest is SQLite's own list, and all of it is about the file, its locks or the system.
            _ => Fault::Broken(why),
        }
    }
}
