//! Recorded traffic as bytes: one file of blocks, each with its own checksum, so that what is broken costs itself and no more.
//!
//! ```text
//! file   = header block*
//! header = magic 8 | version u16 | 0 u16 | wall clock ms u64 | process clock ns u64 | crc32 u32
//! block  = sync 4 | kind u8 | packing u8 | 0 u16 | stored length u32 | raw length u32 | crc32 u32 | payload
//! ```
//!
//! Numbers are little endian; the checksum of a block is over everything between it and the sync mark, and the payload. A kind
//! this release does not know is passed over and told. Times are microseconds of the process's own clock, which never goes
//! back; [`Anchor`]s tell the wall clock's time of one of its moments.

mod block;
mod checkout;
mod moment;
mod number;
mod read;
mod shelf;
mod span;
mod write;

pub use block::{Block, Gap, Name, NameKind, PoolState, Settings, State};
pub use checkout::{Barred, Checkout, Outcome};
pub use moment::Wanted;
pub use read::{Fault, Recording, Unreadable};
pub use shelf::{Bounds, Shelf, Tape, find, tapes};
pub use write::{Writer, blocks, pack};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Milliseconds since 1970, UTC.
    pub wall_ms: u64,
    /// Microseconds of the process's clock.
    pub clock_us: u64,
}

/// What a recording begins with; the last four bytes tell a file that was sent as text.
const MAGIC: [u8; 8] = *b"PWRC\r\n\x1a\n";
/// The format this release writes, and the newest it reads.
const VERSION: u16 = 1;
const HEADER: usize = 32;
/// What each block begins with.
const SYNC: [u8; 4] = [0xd1, b'P', b'W', b'B'];
/// Bytes of a block before its payload.
const BLOCK: usize = 20;
/// The most a block holds when it is unpacked: a reader needs no more room than this at once.
const MAX_RAW: usize = 1 << 20;
