//! How recording goes, for metrics and for whoever asks why.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use poolwarden_console::standing::Recording;
use poolwarden_store::recording::{Tape, tapes};

use super::super::running::held;

/// Told by the recorder, looked at by everybody.
#[derive(Debug, Default)]
pub(in crate::app) struct Told {
    checkouts: AtomicU64,
    lost: AtomicU64,
    bytes: AtomicU64,
    trouble: Mutex<Option<String>>,
    dir: OnceLock<PathBuf>,
}

impl Told {
    /// Where recordings are. Called once.
    pub(super) fn live_in(&self, dir: PathBuf) {
        self.dir.get_or_init(|| dir);
    }

    /// Where they are; `None`: nobody records.
    pub(in crate::app) fn dir(&self) -> Option<&Path> {
        self.dir.get().map(PathBuf::as_path)
    }

    /// The recordings there are, the oldest first. Looks at the disk.
    pub(in crate::app) fn tapes(&self) -> io::Result<Vec<Tape>> {
        self.dir.get().map_or_else(|| Ok(Vec::new()), |dir| tapes(dir))
    }

    /// So many checkouts are in a recording.
    pub(super) fn record(&self, count: u64) {
        self.checkouts.fetch_add(count, Ordering::Relaxed);
    }

    /// So many never will be.
    pub(super) fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// What all recordings take.
    pub(super) fn take_up(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Why nothing is written; `None`: it is.
    pub(super) fn fail(&self, why: Option<String>) {
        *held(&self.trouble) = why;
    }

    pub(in crate::app) fn standing(&self) -> Recording {
        Recording {
            trouble: held(&self.trouble).clone(),
            checkouts: self.checkouts.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
