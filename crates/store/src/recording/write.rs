//! Blocks as bytes, and a recording that grows by them.

use std::io::{self, Write};

use super::block::MAX_CHECKOUTS;
use super::checkout::follows;
use super::{Anchor, BLOCK, Block, Checkout, HEADER, MAGIC, MAX_RAW, SYNC, VERSION};

/// As it is.
pub(super) const RAW: u8 = 0;
/// Zstandard (RFC 8878).
pub(super) const ZSTD: u8 = 1;
/// The third level packs these numbers as well as any higher one, for a tenth of the time.
const LEVEL: i32 = 3;
/// Shorter ones do not get shorter.
const WORTH_PACKING: usize = 256;

/// One block, ready to be written. What it holds beyond the bound of a block is left out by the caller ([`Writer::checkouts`]).
///
/// # Errors
/// It is larger than a block may be.
pub fn pack(block: &Block) -> io::Result<Vec<u8>> {
    let raw = block.bytes();
    if raw.len() > MAX_RAW {
        return Err(io::Error::other(format!("a block of {} bytes is larger than {MAX_RAW}", raw.len())));
    }
    let packed = if raw.len() < WORTH_PACKING { None } else { Some(zstd::bulk::compress(&raw, LEVEL)?) };
    let (packing, stored) = match &packed {
        Some(packed) if packed.len() < raw.len() => (ZSTD, packed),
        Some(_) | None => (RAW, &raw),
    };
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut head = vec![block.kind(), packing, 0, 0];
    head.extend(length(stored));
    head.extend(length(&raw));
    let mut out = Vec::with_capacity(BLOCK + stored.len());
    out.extend(SYNC);
    out.extend(&head);
    out.extend(checksum(&head, stored).to_le_bytes());
    out.extend(stored);
    Ok(out)
}

pub(super) fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(head);
    sum.update(payload);
    sum.finalize()
}

/// The first bytes of a recording.
pub(super) fn header(begun: Anchor) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(&MAGIC);
    out[8..10].copy_from_slice(&VERSION.to_le_bytes());
    out[12..20].copy_from_slice(&begun.wall_ms.to_le_bytes());
    out[20..28].copy_from_slice(&begun.clock_us.to_le_bytes());
    let sum = checksum(&out[..28], &[]);
    out[28..].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Checkouts in as many blocks as they need: none holds too many, or two that are too far apart to be told from one another.
pub fn blocks(all: &[Checkout]) -> impl Iterator<Item = Block> {
    let near = all.chunk_by(|before, next| follows(before.arrived_us, next.arrived_us));
    near.flat_map(|some| some.chunks(MAX_CHECKOUTS)).map(|some| Block::Checkouts(some.to_vec()))
}

/// A recording under way.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    /// Bytes written.
    length: u64,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(mut to: W, begun: Anchor) -> io::Result<Self> {
        to.write_all(&header(begun))?;
        Ok(Self { to, length: HEADER as u64 })
    }

    /// Bytes it takes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds a block, in one write: after a crash it is there whole, or told as cut short.
    ///
    /// # Errors
    /// It cannot be written, or is too large.
    pub fn block(&mut self, block: &Block) -> io::Result<()> {
        self.packed(&pack(block)?)
    }

    /// Adds a block that is [`pack`]ed already.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn packed(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Adds checkouts, in as many blocks as they need.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn checkouts(&mut self, all: &[Checkout]) -> io::Result<()> {
        blocks(all).try_for_each(|block| self.block(&block))
    }

    /// What it is written to.
    pub fn get_ref(&self) -> &W {
        &self.to
    }

    /// The same, when it is done.
    pub fn into_inner(self) -> W {
        self.to
    }
}
