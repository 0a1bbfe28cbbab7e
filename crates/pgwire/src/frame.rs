//! The frame every message but the first packet travels in: a tag byte, then a big-endian length
//! that counts itself but not the tag, then the body.
//!
//! It knows no message's meaning. Nothing is allocated on the strength of a length: callers stream.

use core::fmt;

/// Bytes of a frame before its body: the tag and the length word.
pub const HEADER: usize = 5;

/// The largest body that is believed. PostgreSQL builds and reads messages in one allocation, and
/// `MaxAllocSize` bounds that at 1 GiB - 1 (`PQ_LARGE_MESSAGE_LIMIT` is one less), so that a longer
/// frame comes from no PostgreSQL and no client it would listen to: it is junk, or an attack.
pub const MAX_BODY: u32 = 0x3fff_ffff;

/// What a frame's first five bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message's type; see [`crate::tag`].
    pub tag: u8,
    /// Bytes of the body: the length word minus its own four.
    pub body: u32,
}

impl Header {
    /// Bytes of the whole frame, header and body.
    #[inline]
    #[must_use]
    pub fn total(&self) -> usize {
        HEADER + self.body as usize
    }
}

/// A length word that no frame can have: below its own four bytes, or above [`MAX_BODY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// The tag that stood before the length.
    pub tag: u8,
    /// The length word as it came.
    pub length: u32,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid message length {} (type 0x{:02x}; allowed 4 to {})", self.length, self.tag, MAX_BODY + 4)
    }
}

impl core::error::Error for FrameError {}

/// Reads the header at the start of `bytes`; `None` while fewer than [`HEADER`] bytes are there.
///
/// # Errors
/// [`FrameError`] when the length is below 4 or the body above [`MAX_BODY`].
#[inline]
pub fn header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let &[tag, a, b, c, d, ..] = bytes else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    let body = length.wrapping_sub(4); // below 4 wraps to far above the bound: one comparison
    if body > MAX_BODY {
        return Err(FrameError { tag, length });
    }
    Ok(Some(Header { tag, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(length: u32) -> [u8; 5] {
        let [a, b, c, d] = length.to_be_bytes();
        [b'Q', a, b, c, d]
    }

    #[test]
    fn a_header_needs_five_bytes() {
        for n in 0..5 {
            assert_eq!(header(&raw(9)[..n]), Ok(None));
        }
        let header = header(&raw(9)).unwrap().unwrap();
        assert_eq!((header.tag, header.body, header.total()), (b'Q', 5, 10));
    }

    #[test]
    fn impossible_lengths_are_refused_and_the_largest_possible_is_not() {
        for length in [0, 3, MAX_BODY + 5, 0x7fff_ffff, u32::MAX] {
            let refused = FrameError { tag: b'Q', length };
            assert_eq!(header(&raw(length)), Err(refused));
        }
        assert_eq!(header(&raw(4)).unwrap().unwrap().total(), HEADER);
        let largest = header(&raw(MAX_BODY + 4)).unwrap().unwrap();
        assert_eq!(largest.body, MAX_BODY);
    }
}
