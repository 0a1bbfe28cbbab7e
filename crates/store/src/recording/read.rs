//! A recording read: block by block, and where something is broken from the next sound block on.

use std::error::Error;
use std::fmt;

use super::block::ANCHOR;
use super::write::{RAW, ZSTD, checksum};
use super::{Anchor, BLOCK, Block, HEADER, MAGIC, MAX_RAW, SYNC, VERSION};

/// Nothing of it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is something else.
    Foreign,
    /// It was sent as text: line ends were changed.
    SentAsText,
    /// It ends within its header.
    Short {
        /// Its length in bytes.
        length: usize,
    },
    /// Its header is broken.
    Header,
    /// It is of a newer release.
    Newer {
        /// The version of its format.
        version: u16,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(f, "byte 0: this is no recording of poolwarden"),
            Self::SentAsText => {
                write!(f, "byte 4: its line ends were changed: it was sent as text; send it as a binary file")
            }
            Self::Short { length } => write!(f, "byte {length}: it ends within its header of {HEADER} bytes"),
            Self::Header => write!(f, "byte 8: its header is broken: the checksum differs"),
            Self::Newer { version } => write!(
                f,
                "byte 8: it is of format {version}, and this release reads up to {VERSION}: use the release that wrote it, or a newer one"
            ),
        }
    }
}

impl Error for Unreadable {}

/// A part of a recording that cannot be read; what comes behind it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it begins, in bytes from the start of the file.
    pub at: usize,
    /// How many bytes are left out.
    pub length: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}; {} bytes are left out", self.at, self.why, self.length)
    }
}

impl Error for Fault {}

/// A recording in memory.
#[derive(Clone, Debug)]
pub struct Recording<'a> {
    bytes: &'a [u8],
    at: usize,
    begun: Anchor,
}

impl<'a> Recording<'a> {
    /// Looks at the header; blocks come by iterating.
    ///
    /// # Errors
    /// Nothing of it can be read, and why.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            let is_ours = bytes.starts_with(&MAGIC[..4]);
            return Err(if is_ours { Unreadable::SentAsText } else { Unreadable::Foreign });
        }
        let Some(header) = bytes.get(..HEADER) else { return Err(Unreadable::Short { length: bytes.len() }) };
        if u32_at(header, 28) != checksum(&header[..28], &[]) {
            return Err(Unreadable::Header);
        }
        let version = u16::from_le_bytes([header[8], header[9]]);
        if version > VERSION {
            return Err(Unreadable::Newer { version });
        }
        let begun = Anchor { wall_ms: u64_at(header, 12), clock_us: u64_at(header, 20) };
        Ok(Self { bytes, at: HEADER, begun })
    }

    /// When it begins.
    #[must_use]
    pub fn begun(&self) -> Anchor {
        self.begun
    }

    /// The block at this place and where the next one begins.
    pub(super) fn block_at(&self, at: usize) -> Result<(Block, usize), &'static str> {
        const CUT: &str = "the file ends within a block";
        let rest = &self.bytes[at..];
        if rest[..rest.len().min(SYNC.len())] != SYNC[..rest.len().min(SYNC.len())] {
            return Err("no block begins here");
        }
        let head = rest.get(..BLOCK).ok_or(CUT)?;
        let (stored, raw) = (u32_at(head, 8) as usize, u32_at(head, 12) as usize);
        if stored > MAX_RAW || raw > MAX_RAW {
            return Err("a block is longer than any can be");
        }
        let payload = rest.get(BLOCK..BLOCK + stored).ok_or(CUT)?;
        if u32_at(head, 16) != checksum(&head[4..16], payload) {
            return Err("the checksum of a block differs");
        }
        let unpacked;
        let payload = match head[5] {
            RAW => payload,
            ZSTD => {
                unpacked = zstd::bulk::decompress(payload, raw).map_err(|_| "a block cannot be unpacked")?;
                &unpacked
            }
            _ => return Err("a block is packed in a way this release does not know"),
        };
        if payload.len() != raw {
            return Err("a block is not as long as it says");
        }
        let block = Block::read(head[4], payload).ok_or("a block does not hold what it says")?;
        Ok((block, at + BLOCK + stored))
    }

    /// Where its blocks begin; what is told of their lengths is believed where another block, or the end, follows.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let mut at = HEADER;
        std::iter::from_fn(move || {
            if at >= self.bytes.len() {
                return None;
            }
            let here = at;
            at = match self.stored_until(here).filter(|next| self.begins_at(*next)) {
                Some(next) => next,
                None => self.next_sound(here + 1),
            };
            Some(here)
        })
    }

    fn begins_at(&self, at: usize) -> bool {
        at == self.bytes.len() || self.bytes.get(at..).is_some_and(|rest| rest.starts_with(&SYNC))
    }

    /// Where the block at this place ends, by its own word.
    fn stored_until(&self, at: usize) -> Option<usize> {
        let head = self.bytes.get(at..at + BLOCK).filter(|head| head.starts_with(&SYNC))?;
        Some(at + BLOCK + u32_at(head, 8) as usize)
    }

    /// The anchor at this place, if one is there.
    pub(super) fn anchor_at(&self, at: usize) -> Option<Anchor> {
        if *self.bytes.get(at + 4)? != ANCHOR {
            return None;
        }
        match self.block_at(at).ok()?.0 {
            Block::Anchor(anchor) => Some(anchor),
            Block::Checkouts(_)
            | Block::Names(_)
            | Block::Gap(_)
            | Block::Settings(_)
            | Block::State(_)
            | Block::Unknown(_) => None,
        }
    }

    /// Where the next sound block begins behind this place.
    fn next_sound(&self, behind: usize) -> usize {
        let marks = self.bytes[behind..].windows(SYNC.len()).enumerate().filter(|(_, bytes)| *bytes == SYNC);
        let mut places = marks.map(|(step, _)| behind + step);
        places.find(|place| self.block_at(*place).is_ok()).unwrap_or(self.bytes.len())
    }
}

impl Iterator for Recording<'_> {
    type Item = Result<Block, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        match self.block_at(self.at) {
            Ok((block, next)) => {
                self.at = next;
                Some(Ok(block))
            }
            Err(why) => {
                let at = self.at;
                self.at = self.next_sound(at + 1);
                Some(Err(Fault { at, length: self.at - at, why }))
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at + 4)) << 32 | u64::from(u32_at(bytes, at))
}
