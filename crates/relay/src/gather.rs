//! What goes to one peer out of one batch of input: a range of the input where nothing was changed, own bytes where something was.
//!
//! The common case (everything is forwarded as it came) copies nothing; the first change copies what stood before it.

use std::ops::Range;

/// Output towards one peer. `bytes` gives it as one slice.
#[derive(Debug, Default)]
pub struct Gather {
    range: Range<usize>,
    own: Vec<u8>,
}

/// Output towards both peers of a lease.
#[derive(Debug, Default)]
pub struct Out {
    /// Towards the client.
    pub client: Gather,
    /// Towards the server.
    pub server: Gather,
}

/// An own buffer that grew beyond this by one large message is given back.
const KEEP: usize = 256 * 1024;

impl Gather {
    /// Forwards `input[range]`.
    #[inline]
    pub fn forward(&mut self, input: &[u8], range: Range<usize>) {
        if !self.own.is_empty() {
            self.own.extend_from_slice(&input[range]);
        } else if self.range.is_empty() {
            self.range = range;
        } else if self.range.end == range.start {
            self.range.end = range.end;
        } else {
            self.spill(input);
            self.own.extend_from_slice(&input[range]);
        }
    }

    /// The place to append own bytes to; what was forwarded so far is copied in front of them.
    pub fn own(&mut self, input: &[u8]) -> &mut Vec<u8> {
        self.spill(input);
        &mut self.own
    }

    fn spill(&mut self, input: &[u8]) {
        self.own.extend_from_slice(&input[self.range.clone()]);
        self.range = 0..0;
    }

    /// All of it, in order.
    #[must_use]
    pub fn bytes<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        if self.own.is_empty() { &input[self.range.clone()] } else { &self.own }
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.range.is_empty()
    }

    /// Empties it for the next batch.
    pub fn clear(&mut self) {
        self.range = 0..0;
        self.own.clear();
        if self.own.capacity() > KEEP {
            self.own = Vec::new();
        }
    }
}

impl Out {
    /// Empties both sides.
    pub fn clear(&mut self) {
        self.client.clear();
        self.server.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_ranges_stay_one_range_and_own_bytes_keep_the_order() {
        let input = b"abcdefgh";
        let mut gather = Gather::default();
        gather.forward(input, 0..2);
        gather.forward(input, 2..4);
        assert_eq!(gather.bytes(input), b"abcd");
        gather.own(input).extend_from_slice(b"XY");
        gather.forward(input, 5..7);
        assert_eq!(gather.bytes(input), b"abcdXYfg");
        gather.clear();
        gather.forward(input, 1..2);
        gather.forward(input, 3..4);
        assert_eq!(gather.bytes(input), b"bd");
    }
}
