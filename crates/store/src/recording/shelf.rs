//! The directory of recordings: one file after another, the oldest deleted where they take too much room.
//!
//! Files are named by the second they begin in, UTC, and sort as they came. What has no such name is nobody's business and stays.
//! A file is never written again once it was left: after a crash another one begins.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::write::pack;
use super::{Anchor, Block, Recording, Wanted, Writer};
use crate::aside::stamp;

/// What recordings are called.
const SUFFIX: &str = ".pwrc";
/// Digits of a second in a name: `20261123T084112Z`.
const STAMP: usize = 16;

/// What recordings may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all of them together.
    pub max_size: u64,
    /// Bytes after which another one begins; where all of them may take little, an eighth of that.
    pub max_file: u64,
    /// Milliseconds after which another one begins.
    pub max_age_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { max_size: 1 << 30, max_file: 64 << 20, max_age_ms: 3_600_000 }
    }
}

/// One recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tape {
    /// Where it is.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
}

impl Tape {
    /// Its first and its last moment in milliseconds since 1970 UTC. One of which nothing can be read tells of no time that is known.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn span(&self) -> io::Result<Option<(u64, u64)>> {
        let bytes = fs::read(&self.path)?;
        Ok(Recording::open(&bytes).ok().map(|recording| recording.span()))
    }
}

/// The recordings of a directory, the oldest first; none where there is no such directory.
///
/// # Errors
/// It cannot be read.
pub fn tapes(dir: &Path) -> io::Result<Vec<Tape>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if key(&name).is_none() {
            continue;
        }
        match entry.metadata() {
            Ok(found) if found.is_file() => all.push(Tape { path: entry.path(), name, size: found.len() }),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {} // deleted this moment
            Err(error) => return Err(error),
        }
    }
    all.sort_by(|a: &Tape, b| key(&a.name).cmp(&key(&b.name)));
    Ok(all)
}

/// Those of them that tell of the time that is wanted, the oldest first; one that cannot be read is among them, so that it is told.
///
/// # Errors
/// One of them cannot be opened.
pub fn find(all: Vec<Tape>, wanted: &Wanted) -> io::Result<Vec<Tape>> {
    let mut found = Vec::new();
    for tape in all {
        if tape.span()?.is_none_or(|span| wanted.meets(span)) {
            found.push(tape);
        }
    }
    Ok(found)
}

/// By what recordings sort: the second, and which of it. `None`: this is no recording's name.
fn key(name: &str) -> Option<(&str, u64)> {
    let (second, number) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let is_digit = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    let fits = second.len() == STAMP && second.bytes().enumerate().all(is_digit);
    let number = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    fits.then_some((second, number))
}

/// Where recordings are written.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    bounds: Bounds,
    open: Option<Open>,
    /// The others, the oldest first, as they were found when the one under way was begun.
    others: Vec<Tape>,
}

/// The recording under way.
#[derive(Debug)]
struct Open {
    writer: Writer<File>,
    path: PathBuf,
    begun: Anchor,
}

impl Shelf {
    /// A directory, which need not be there yet. Nothing is touched before something is begun.
    #[must_use]
    pub fn new(dir: PathBuf, bounds: Bounds) -> Self {
        Self { dir, bounds, open: None, others: Vec::new() }
    }

    /// What all of them may take from now on; what is too much goes with the next block.
    pub fn bound(&mut self, max_size: u64) {
        self.bounds.max_size = max_size;
    }

    /// Whether a recording is under way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the one under way is long or old enough to be followed by another, or was taken away.
    #[must_use]
    pub fn is_full(&self, now: Anchor) -> bool {
        let longest = self.bounds.max_file.min(self.bounds.max_size / 8);
        self.open.as_ref().is_some_and(|open| {
            let age_ms = now.clock_us.saturating_sub(open.begun.clock_us) / 1_000;
            open.writer.length() >= longest || age_ms >= self.bounds.max_age_ms || !open.path.exists()
        })
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.others_size() + self.open.as_ref().map_or(0, |open| open.writer.length())
    }

    fn others_size(&self) -> u64 {
        self.others.iter().map(|tape| tape.size).sum()
    }

    /// Leaves the one under way and begins another.
    ///
    /// # Errors
    /// It cannot be made; nothing is under way then.
    pub fn begin(&mut self, now: Anchor) -> io::Result<()> {
        self.leave();
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        self.others = tapes(&self.dir)?;
        let (file, path) = self.create(now.wall_ms)?;
        match Writer::begin(file, now) {
            Ok(writer) => {
                self.open = Some(Open { writer, path, begun: now });
                Ok(())
            }
            Err(error) => {
                // an empty one would tell nothing, and be in the way of nobody
                let _left = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// A file that was not there.
    fn create(&self, wall_ms: u64) -> io::Result<(File, PathBuf)> {
        let second = stamp(wall_ms);
        for number in 0..u64::MAX {
            let path = self.dir.join(format!("{second}-{number}{SUFFIX}"));
            match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                opened => return opened.map(|file| (file, path)),
            }
        }
        Err(io::Error::other("no name is left"))
    }

    /// Adds a block; the oldest recordings go where it would take too much room.
    ///
    /// # Errors
    /// It cannot be written. What was written before is whole; where that cannot be had, nothing is under way any more.
    pub fn write(&mut self, block: &Block) -> io::Result<()> {
        let bytes = pack(block)?;
        self.make_room(bytes.len() as u64)?; // what is under way stays so
        let Some(open) = &mut self.open else { return Err(io::Error::other("no recording is under way")) };
        let length = open.writer.length();
        let Err(error) = open.writer.packed(&bytes) else { return Ok(()) };
        if open.writer.get_ref().set_len(length).is_err() {
            self.open = None; // a part of a block stays, and is told by whoever reads it
        }
        Err(error)
    }

    /// Deletes the oldest until there is room for so many bytes more.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        while self.size() + bytes > self.bounds.max_size && !self.others.is_empty() {
            match fs::remove_file(&self.others[0].path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            self.others.remove(0);
        }
        Ok(())
    }

    /// Leaves the one under way.
    pub fn leave(&mut self) {
        self.open = None;
    }
}
