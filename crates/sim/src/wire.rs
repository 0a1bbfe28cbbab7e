//! Connections as pairs of bounded pipes. *Inside* is the pooler's end, *outside* a client's or PostgreSQL's.
//!
//! Whoever must look at a connection because of something done to it is noted in `inside` and `outside`, as a readiness engine would be told.

use std::collections::VecDeque;

use poolwarden_switch::pool::EndCause;
use poolwarden_switch::{Peer, Sent};

/// A connection as a value.
pub(crate) type LinkId = usize;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outside {
    Client(usize),
    Backend(u32),
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    bytes: VecDeque<u8>,
    room: usize,
    /// Its writer has closed it.
    end: Option<EndCause>,
}

impl Pipe {
    fn new(room: usize) -> Self {
        Self { bytes: VecDeque::new(), room, end: None }
    }

    /// Takes as much of `bytes` as fits; returns how many.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room.saturating_sub(self.bytes.len()));
        self.bytes.extend(&bytes[..taken]);
        taken
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let taken = most.min(self.bytes.len());
        self.bytes.drain(..taken).collect()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    up: Pipe,
    down: Pipe,
    pub(crate) outside: Outside,
    /// On which loop it lives, under which name.
    pub(crate) place: Option<(usize, Peer)>,
    unsent: Vec<u8>,
    /// Bytes towards outside were lost when the pooler closed it.
    pub(crate) lost: bool,
    pub(crate) inside_due: bool,
    pub(crate) outside_due: bool,
}

/// What the pooler's end of a connection has to tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readable {
    pub(crate) bytes: usize,
    pub(crate) end: Option<EndCause>,
}

/// All connections there ever were.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    list: Vec<Wire>,
    /// Connections whose inner end has something new.
    pub(crate) inside: Vec<LinkId>,
    /// Connections whose outer end has something new.
    pub(crate) outside: Vec<LinkId>,
    /// The most bytes that were ever unsent on one connection.
    pub(crate) most_unsent: usize,
}

impl Wires {
    pub(crate) fn make(&mut self, outside: Outside, room: usize) -> LinkId {
        self.list.push(Wire {
            up: Pipe::new(room),
            down: Pipe::new(room),
            outside,
            place: None,
            unsent: Vec::new(),
            lost: false,
            inside_due: false,
            outside_due: false,
        });
        self.list.len() - 1
    }

    pub(crate) fn at(&mut self, link: LinkId) -> &mut Wire {
        &mut self.list[link]
    }

    /// The outer end sends; returns how many bytes fit.
    pub(crate) fn outside_send(&mut self, link: LinkId, bytes: &[u8]) -> usize {
        let wire = &mut self.list[link];
        if wire.down.end.is_some() || wire.up.end.is_some() {
            return bytes.len(); // nobody will read it
        }
        let taken = wire.up.fill(bytes);
        if taken > 0 {
            self.inside.push(link);
        }
        taken
    }

    /// The outer end reads at most so many bytes.
    pub(crate) fn outside_take(&mut self, link: LinkId, most: usize) -> Vec<u8> {
        let wire = &mut self.list[link];
        let bytes = wire.down.take(most);
        if !bytes.is_empty() && !wire.unsent.is_empty() {
            self.inside.push(link);
        }
        bytes
    }

    /// How many bytes wait for the outer end, and whether the pooler has closed the connection.
    pub(crate) fn outside_has(&self, link: LinkId) -> (usize, bool) {
        let down = &self.list[link].down;
        (down.bytes.len(), down.end.is_some())
    }

    /// The outer end is gone. A reset loses what is under way.
    pub(crate) fn outside_close(&mut self, link: LinkId, cause: EndCause) {
        let wire = &mut self.list[link];
        if wire.up.end.is_some() {
            return;
        }
        wire.up.end = Some(cause);
        wire.down.bytes.clear();
        if cause == EndCause::Failed {
            wire.up.bytes.clear();
        }
        self.inside.push(link);
    }

    /// The pooler sends.
    pub(crate) fn inside_send(&mut self, link: LinkId, bytes: &[u8]) -> Sent {
        let wire = &mut self.list[link];
        if wire.up.end.is_some() {
            return Sent::All; // broken: told by `closed`
        }
        wire.unsent.extend_from_slice(bytes);
        self.most_unsent = self.most_unsent.max(wire.unsent.len());
        if self.flush(link) { Sent::All } else { Sent::Blocked }
    }

    /// Sends what is unsent as far as it fits; whether nothing is left.
    pub(crate) fn flush(&mut self, link: LinkId) -> bool {
        let wire = &mut self.list[link];
        if wire.up.end.is_some() {
            wire.unsent.clear();
        }
        let taken = wire.down.fill(&wire.unsent);
        wire.unsent.drain(..taken);
        if taken > 0 {
            self.outside.push(link);
        }
        self.list[link].unsent.is_empty()
    }

    pub(crate) fn is_blocked(&self, link: LinkId) -> bool {
        !self.list[link].unsent.is_empty()
    }

    pub(crate) fn inside_has(&self, link: LinkId) -> Readable {
        let up = &self.list[link].up;
        Readable { bytes: up.bytes.len(), end: up.end }
    }

    /// The pooler reads at most so many bytes.
    pub(crate) fn inside_take(&mut self, link: LinkId, most: usize) -> Vec<u8> {
        let wire = &mut self.list[link];
        let bytes = wire.up.take(most);
        if !bytes.is_empty() {
            self.outside.push(link); // it may have waited for room
        }
        bytes
    }

    /// The pooler sends no more. What is unsent is tried once more.
    pub(crate) fn inside_finish(&mut self, link: LinkId) {
        self.flush(link);
        let wire = &mut self.list[link];
        wire.lost |= !wire.unsent.is_empty();
        wire.unsent.clear();
        wire.down.end = Some(EndCause::Eof);
        self.outside.push(link);
    }

    /// The pooler closes. What is unsent is tried once more.
    pub(crate) fn inside_close(&mut self, link: LinkId) {
        self.inside_finish(link);
        self.list[link].place = None;
    }
}
