//! What a client waits for: one round per ReadyForQuery, with the replies that must come before it, in order.

use std::collections::VecDeque;

use crate::sql::Token;

/// One reply, or a run of equal ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Want {
    /// A message of this type.
    Is(u8),
    /// ParseComplete of this name.
    Parsed(String),
    /// CloseComplete of this name.
    Closed(String),
    /// So many more rows that echo this token.
    Rows { token: Token, left: u32 },
    /// So many more COPY rows.
    CopyRows { token: Token, left: u32 },
    /// CopyInResponse; then these bytes go out.
    CopyBegin(Vec<u8>),
    /// CommandComplete with this tag.
    Complete(String),
}

/// What errors a round may end with beside those that a pooler may give at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Good,
    /// It divides by zero.
    Fails,
    /// It prepares a name that is taken.
    Duplicate,
    /// It gives up its COPY.
    GivesUp,
}

/// Everything up to one ReadyForQuery.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) want: VecDeque<Want>,
    pub(crate) fate: Fate,
    pub(crate) errored: bool,
    /// It begins a transaction, or was sent at once with what begins it.
    pub(crate) begins: bool,
    pub(crate) inside: bool,
    /// It changes application_name to this.
    pub(crate) name: Option<String>,
    /// Where its statements ran: process and transaction.
    pub(crate) ran: Option<(u32, u32)>,
    /// Its tokens are these numbers.
    pub(crate) numbers: (u32, u32),
}

impl Round {
    pub(crate) fn new(numbers: (u32, u32), want: impl IntoIterator<Item = Want>) -> Self {
        Self {
            want: want.into_iter().collect(),
            fate: Fate::Good,
            errored: false,
            begins: false,
            inside: false,
            name: None,
            ran: None,
            numbers,
        }
    }

    pub(crate) fn with(mut self, fate: Fate) -> Self {
        self.fate = fate;
        self
    }

    /// The name it is about to prepare.
    pub(crate) fn prepares(&self) -> Option<&String> {
        match self.want.front()? {
            Want::Parsed(name) => Some(name),
            Want::Is(_)
            | Want::Closed(_)
            | Want::Rows { .. }
            | Want::CopyRows { .. }
            | Want::CopyBegin(_)
            | Want::Complete(_) => None,
        }
    }
}
