//! The store as its owner sees it: writes that are waited for a while, reads, and how it is.
//!
//! Every call may touch a disk and so belongs on a thread that may wait; [`Store::audit`], [`Store::state`] and
//! [`Store::news`] never do.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use crate::audit::Entry;
use crate::fault::{Fault, Unread, Unwritten};
use crate::limits::Limits;
use crate::queue::Work;
use crate::shared::{Progress, Shared};
use crate::state::{News, State};
use crate::version::{Effect, NewVersion, Ticket, Version, VersionState, Which};
use crate::writer::Writer;
use crate::{opening, reader, record};

/// The most that one read returns: a version carries a whole configuration.
const ROWS_MOST: u32 = 1_000;
/// Faults that tell enough of a broken file.
const FAULTS_MOST: u32 = 20;

/// The history of one data directory. Dropped without [`Store::close`], it writes what it has and nobody waits for that.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

/// A store that was closed before all was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Writes that are not in the file.
    pub unwritten: u64,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the history was closed with {} writes that are not in it", self.unwritten)
    }
}

impl Error for Left {}

impl Store {
    /// Opens or begins the database at `path`, whose directory must be there. It does not fail: what is wrong is in
    /// [`Store::state`]. Waits for the first attempt, at most [`Limits::patience`].
    pub fn open(path: &Path, limits: Limits) -> Store {
        let patience = limits.patience;
        let shared = Arc::new(Shared::new(path.to_owned(), limits));
        let writer = Writer::new(Arc::clone(&shared));
        match thread::Builder::new().name("history".to_owned()).spawn(move || writer.run()) {
            Ok(_) => {
                shared.reached(Progress::Tried, patience);
            }
            Err(error) => {
                shared.condition().fails(format!("no thread to write it: {error}"));
                shared.queue().closing = true;
                shared.progress(Progress::Ended);
            }
        }
        Store { shared }
    }

    /// How it is now.
    pub fn state(&self) -> State {
        self.shared.condition().state()
    }

    /// What happened since the last call, oldest first: each is to be said once.
    pub fn news(&self) -> Vec<News> {
        self.shared.condition().take_news()
    }

    /// Writes that will never be in the file, since it was opened.
    pub fn dropped_total(&self) -> u64 {
        self.shared.condition().dropped_total()
    }

    /// Writes that are in memory and not in the file yet.
    pub fn queued(&self) -> usize {
        self.shared.queue().unwritten()
    }

    /// Bounds the bytes of the files anew. The next write obeys it.
    pub fn bound(&self, max_size: u64) {
        self.shared.bound(max_size);
    }

    /// Records a version. Its number is returned when it is safe on disk.
    ///
    /// # Errors
    /// It is not in the file, or not yet; the caller goes on and says so.
    pub fn record(&self, version: NewVersion) -> Result<u64, Unwritten> {
        self.write(Work::Record(version))
    }

    /// The number of a version that was not in the file yet when it was recorded; none while it is not.
    pub fn number(&self, ticket: Ticket) -> Option<u64> {
        self.shared.queue().number(ticket)
    }

    /// Says what became of a version; safe on disk when it returns its number.
    ///
    /// # Errors
    /// It is not in the file, or not yet, or there is no such version.
    pub fn mark(&self, which: impl Into<Which>, state: VersionState) -> Result<u64, Unwritten> {
        self.write(Work::Mark(which.into(), state))
    }

    /// Says what was measured around a version; what was said before is replaced.
    ///
    /// # Errors
    /// As [`Store::mark`].
    pub fn effect(&self, which: impl Into<Which>, effect: Effect) -> Result<u64, Unwritten> {
        self.write(Work::Effect(which.into(), effect))
    }

    /// Adds to the audit trail, without waiting. What finds no place in memory is counted in the state.
    pub fn audit(&self, entry: Entry) {
        let mut queue = self.shared.queue();
        let dropped = if queue.closing { 1 } else { queue.push_audit(entry, &self.shared.limits) };
        drop(queue);
        self.shared.call();
        self.shared.condition().drops(dropped);
    }

    /// The newest `limit` versions (at most 1,000), below number `before` if one is given; newest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn versions(&self, limit: u32, before: Option<u64>) -> Result<Vec<Version>, Unread> {
        self.read(|connection| record::versions(connection, limit.min(ROWS_MOST), before))
    }

    /// One version; none where there is none of that number (any more).
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn version(&self, n: u64) -> Result<Option<Version>, Unread> {
        self.read(|connection| record::version(connection, n))
    }

    /// The newest version whose state is [`VersionState::Confirmed`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last_confirmed(&self) -> Result<Option<Version>, Unread> {
        self.read(record::last_confirmed)
    }

    /// The newest `limit` entries of the audit trail (at most 1,000), newest first. The last ones may not be there yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn audits(&self, limit: u32) -> Result<Vec<Entry>, Unread> {
        self.read(|connection| record::audits(connection, limit.min(ROWS_MOST)))
    }

    /// What SQLite's quick check finds, in its words; nothing where the file is sound. Reads the whole file.
    ///
    /// # Errors
    /// The file cannot be read at all.
    pub fn integrity(&self) -> Result<Vec<String>, Unread> {
        self.read(|connection| opening::faults(connection, FAULTS_MOST))
    }

    /// Takes nothing more, writes what is in memory and gives the file back, all within `deadline`.
    ///
    /// # Errors
    /// Some of it is not in the file.
    pub fn close(&self, deadline: Duration) -> Result<(), Left> {
        let dropped_before = self.dropped_total();
        self.shared.queue().closing = true;
        self.shared.call();
        let has_ended = self.shared.reached(Progress::Ended, deadline);
        let unwritten = self.dropped_total() - dropped_before + self.queued() as u64;
        if has_ended && unwritten == 0 { Ok(()) } else { Err(Left { unwritten }) }
    }

    fn write(&self, work: Work) -> Result<u64, Unwritten> {
        let (sender, receiver) = sync_channel(1);
        let (ticket, dropped) = {
            let mut queue = self.shared.queue();
            if queue.closing {
                let why = self.shared.condition().why().unwrap_or("it is closed").to_owned();
                return Err(Unwritten::Lost { why });
            }
            queue.push(work, sender, &self.shared.limits)
        };
        self.shared.call();
        self.shared.condition().drops(dropped);
        receiver.recv_timeout(self.shared.limits.patience).unwrap_or_else(|_| {
            let patience = self.shared.limits.patience;
            Err(Unwritten::Kept { ticket, why: format!("the disk has not answered within {patience:?}") })
        })
    }

    /// Reads in one transaction, so that what belongs together is of one moment.
    fn read<T>(&self, look: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Unread> {
        let _reading = self.shared.read();
        let read = || -> rusqlite::Result<T> {
            let mut connection = reader::open(&self.shared.path)?;
            let transaction = connection.transaction()?;
            look(&transaction)
        };
        read().map_err(|error| {
            let fault = Fault::from(error);
            if matches!(fault, Fault::Corrupt(_)) {
                self.shared.queue().suspect = true;
                self.shared.call();
            }
            Unread { why: format!("{}: {}", self.shared.path.display(), fault.why()) }
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.queue().closing = true;
        self.shared.call();
    }
}
