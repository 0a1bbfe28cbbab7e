//! An input read as choices: what is not there reads as zero, so that every input means something.

/// What is left of an input.
pub(crate) struct Input<'a> {
    left: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(left: &'a [u8]) -> Self {
        Self { left }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.left.split_first() else { return 0 };
        self.left = rest;
        first
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `bound`, which is at most 256.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// One of these.
    pub(crate) fn choice<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// So many bytes, or as many as there are.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.left.split_at(count.min(self.left.len()));
        self.left = rest;
        taken
    }

    /// Bytes behind their own count of one byte.
    pub(crate) fn chunk(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte());
        self.take(count)
    }

    /// Changes one byte of `message` or cuts it off there, or leaves it: three bytes of input say which.
    pub(crate) fn spoil(&mut self, message: &mut Vec<u8>) {
        let (how, at, by) = (self.byte(), usize::from(self.byte()), self.byte());
        match how % 4 {
            0 => {}
            1 if at < message.len() => message[at] ^= by,
            2 => message.truncate(at),
            _ => message.insert(at.min(message.len()), by),
        }
    }
}
