//! Doubly linked lists whose links live in the elements' own table: O(1) everywhere, no allocation.

/// No element.
pub(crate) const NONE: u32 = u32::MAX;

/// An element's neighbours in the one list it stands in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    /// Towards the head.
    pub(crate) prev: u32,
    /// Towards the tail.
    pub(crate) next: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self { prev: NONE, next: NONE }
    }
}

/// A table whose elements have links.
pub(crate) trait Linked {
    /// The links of element `index`.
    fn links(&mut self, index: u32) -> &mut Links;
}

/// Head, tail and length; the rest is in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    /// First element, or `NONE`.
    pub(crate) head: u32,
    /// Last element, or `NONE`.
    pub(crate) tail: u32,
    /// How many.
    pub(crate) len: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0 }
    }
}

impl List {
    /// Puts `index` first.
    pub(crate) fn push_front(&mut self, table: &mut impl Linked, index: u32) {
        *table.links(index) = Links { prev: NONE, next: self.head };
        match self.head {
            NONE => self.tail = index,
            head => table.links(head).prev = index,
        }
        self.head = index;
        self.len += 1;
    }

    /// Puts `index` last.
    pub(crate) fn push_back(&mut self, table: &mut impl Linked, index: u32) {
        *table.links(index) = Links { prev: self.tail, next: NONE };
        match self.tail {
            NONE => self.head = index,
            tail => table.links(tail).next = index,
        }
        self.tail = index;
        self.len += 1;
    }

    /// Takes `index` out; it must stand in this list.
    pub(crate) fn remove(&mut self, table: &mut impl Linked, index: u32) {
        let Links { prev, next } = std::mem::take(table.links(index));
        match prev {
            NONE => self.head = next,
            prev => table.links(prev).next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => table.links(next).prev = prev,
        }
        self.len -= 1;
    }
}
