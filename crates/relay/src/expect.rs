//! What a lent server connection still owes its client, in order: one entry per message that was forwarded or answered here.
//!
//! Replies are matched by position. An error skips every entry up to the next Sync, as the server skips the messages.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::probe::Findings;
use crate::session::Pin;
use crate::statement::{Named, Unnamed};

/// A message on its way through the server, by what will answer it.
#[derive(Debug)]
pub(crate) enum Expect {
    /// Simple query: anything, then ReadyForQuery.
    Query,
    /// Function call: FunctionCallResponse, then ReadyForQuery.
    Function,
    /// Sync: ReadyForQuery.
    Sync,
    /// Parse of statement `id` (0 in session mode): ParseComplete.
    Parse { id: u64, name: Box<[u8]>, hidden: bool },
    /// A Parse that must fail, because the client's name is taken (the error is told in the client's words).
    Duplicate { name: Box<[u8]> },
    /// A Parse that must fail, because the statement's result is not what the client was told.
    Poison,
    /// Bind of statement `id` (0: unnamed, pinned or unknown): BindComplete. `name`: what the client calls it, where the server is
    /// told another name.
    Bind { id: u64, name: Option<Arc<[u8]>> },
    /// Describe of a portal: RowDescription or NoData.
    DescribePortal,
    /// Describe of statement `id`: ParameterDescription, then RowDescription or NoData; hashed for later comparison.
    DescribeStatement { id: u64, name: Box<[u8]>, hidden: bool, hash: u64 },
    /// Execute: rows, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// Close: CloseComplete. `pinned`: the statement that lives here alone; kept for the case that it is skipped.
    Close { pinned: Option<Box<(Arc<[u8]>, Named)>> },
    /// A Close of ours of statement number `number`: CloseComplete, hidden.
    Evict { number: u32 },
    /// A Close of ours of an unnamed statement that is not the client's: CloseComplete, hidden.
    DropUnnamed,
    /// Nothing; the message behind it replaces the unnamed statement, and this is the one before, for the case that it is skipped.
    /// `pinned`: it lives on this connection alone.
    Unnamed { before: Option<Box<Unnamed>>, pinned: bool },
    /// Nothing; a Sync that COPY swallowed.
    Swallowed,
    /// Nothing; the end of a COPY from the client stands here in the stream.
    CopyEnd,
    /// Answered here: ParseComplete for a statement the server already has.
    LocalParse { name: Box<[u8]> },
    /// Answered here: CloseComplete for a statement that stays on the server; kept for the case that it is skipped.
    LocalClose { closed: Box<(Arc<[u8]>, Named)> },
    /// A simple query of which parts were put in other words: like `Query`, but some of its completions are not the client's.
    Spliced(Box<Splice>),
    /// What the client asked for is refused: a simple query, or a Parse, of ours in its place, which must fail.
    Denied { pin: Pin, simple: bool },
    /// Execute of a DEALLOCATE of a statement of the client's; kept for the case that it is skipped.
    Deallocate { closed: Box<(Arc<[u8]>, Named)> },
    /// PostgreSQL is asked what a transaction left behind: hidden up to ReadyForQuery.
    Probe(Box<Findings>),
    /// Settings are being changed by a query of ours: hidden up to ReadyForQuery.
    Setup,
    /// A transaction is being rolled back by a query of ours: hidden up to ReadyForQuery.
    Rollback,
    /// The reset query: hidden up to ReadyForQuery.
    Reset,
}

/// How a simple query was put in other words.
#[derive(Debug, Default)]
pub(crate) struct Splice {
    /// How many of its completions have come.
    pub(crate) done: u32,
    /// Those the client does not see, by their number from 0.
    pub(crate) hidden: Vec<u32>,
    /// The client's statements that are gone with a completion.
    pub(crate) closes: Vec<(u32, Box<[u8]>)>,
}

/// The queue, with a running number for each place in it.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<Expect>,
    /// The number of the entry at the front.
    first: u64,
    /// How many of them close a statement of the client's.
    closes: usize,
    /// How many of them are answered here, or by nobody.
    locals: usize,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn front(&self) -> Option<&Expect> {
        self.entries.front()
    }

    pub(crate) fn front_mut(&mut self) -> Option<&mut Expect> {
        self.entries.front_mut()
    }

    /// The number the next entry will have.
    pub(crate) fn next_place(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The number of the front entry (of the next one, if there is none).
    pub(crate) fn place(&self) -> u64 {
        self.first
    }

    #[inline]
    pub(crate) fn push(&mut self, entry: Expect) {
        if entry.is_counted() {
            self.closes += usize::from(entry.closed().is_some());
            self.locals += usize::from(entry.is_local());
        }
        self.entries.push_back(entry);
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Expect> {
        let entry = self.entries.pop_front()?;
        self.first += 1;
        if entry.is_counted() {
            self.closes -= usize::from(entry.closed().is_some());
            self.locals -= usize::from(entry.is_local());
        }
        Some(entry)
    }

    /// Whether the front is answered here, or by nobody.
    #[inline]
    pub(crate) fn has_local_front(&self) -> bool {
        self.locals > 0 && self.front().is_some_and(Expect::is_local)
    }

    /// Whether a ReadyForQuery is owed.
    pub(crate) fn has_round(&self) -> bool {
        self.entries.iter().any(Expect::is_round)
    }

    /// Whether a Close of the client's statement `name` is outstanding.
    pub(crate) fn closes(&self, name: &[u8]) -> bool {
        self.closes > 0 && self.entries.iter().any(|entry| entry.closed().is_some_and(|closed| closed == name))
    }

    /// Whether a Parse of the client's statement `name` is outstanding.
    pub(crate) fn parses(&self, name: &[u8]) -> bool {
        let is_it = |entry: &Expect| matches!(entry, Expect::Parse { name: other, hidden: false, .. } | Expect::LocalParse { name: other } if **other == *name);
        self.entries.iter().any(is_it)
    }

    /// Marks the Syncs that a COPY from the client, now at the front, has swallowed: those sent before its end.
    /// Returns whether there were any.
    pub(crate) fn swallow_syncs(&mut self) -> bool {
        let syncs = self.entries.iter_mut().skip(1).take_while(|entry| matches!(entry, Expect::Sync));
        let swallowed = syncs.map(|sync| *sync = Expect::Swallowed).count();
        self.locals += swallowed;
        swallowed > 0
    }

    /// Whether the COPY at the front swallowed a Sync.
    pub(crate) fn has_swallowed(&self) -> bool {
        matches!(self.entries.get(1), Some(Expect::Swallowed))
    }

    /// Whether the end of a COPY from the client is among what is outstanding.
    pub(crate) fn has_copy_end(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Expect::CopyEnd))
    }

    /// Forgets everything, as for a new lease; large buffers are given back.
    pub(crate) fn reset(&mut self) {
        self.first += self.entries.len() as u64;
        self.entries.clear();
        self.closes = 0;
        self.locals = 0;
        self.entries.shrink_to(64);
    }
}

impl Expect {
    /// Whether a ReadyForQuery ends it.
    pub(crate) fn is_round(&self) -> bool {
        match self {
            Self::Query | Self::Function | Self::Sync | Self::Setup | Self::Rollback | Self::Reset => true,
            Self::Spliced(_) | Self::Probe(_) => true,
            Self::Denied { simple, .. } => *simple,
            Self::Deallocate { .. } => false,
            Self::Parse { .. }
            | Self::Duplicate { .. }
            | Self::Poison
            | Self::Bind { .. }
            | Self::DescribePortal
            | Self::DescribeStatement { .. }
            | Self::Execute
            | Self::Close { .. }
            | Self::Evict { .. }
            | Self::DropUnnamed
            | Self::Unnamed { .. }
            | Self::Swallowed
            | Self::CopyEnd
            | Self::LocalParse { .. }
            | Self::LocalClose { .. } => false,
        }
    }

    /// Whether it is among those of which the queue knows how many there are.
    #[inline]
    fn is_counted(&self) -> bool {
        self.is_local() || matches!(self, Self::Close { .. } | Self::Deallocate { .. })
    }

    /// Whether it is answered here, or by nobody.
    #[inline]
    pub(crate) fn is_local(&self) -> bool {
        matches!(
            self,
            Self::LocalParse { .. } | Self::LocalClose { .. } | Self::CopyEnd | Self::Swallowed | Self::Unnamed { .. }
        )
    }

    /// The statement that it uses, and what the client calls it, where the server may be told another name.
    pub(crate) fn uses(&self) -> Option<(u64, Option<&[u8]>)> {
        if let Self::Bind { id, name } = self {
            Some((*id, name.as_deref()))
        } else if let Self::DescribeStatement { id, name, .. } = self {
            Some((*id, Some(name)))
        } else {
            None
        }
    }

    /// The client's statement that it closes.
    fn closed(&self) -> Option<&[u8]> {
        if let Self::LocalClose { closed } | Self::Close { pinned: Some(closed) } | Self::Deallocate { closed } = self {
            Some(&closed.0)
        } else {
            None
        }
    }

    /// Whether it is a query of ours, of which the client sees nothing.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Setup | Self::Rollback | Self::Reset | Self::Probe(_))
    }
}
