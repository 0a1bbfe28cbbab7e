//! What a lent server connection is doing now, and since when: what time limits are held against.

use crate::server::Server;

/// What goes on between a client and the server connection it holds; times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Nothing, outside a transaction, since then.
    Nothing {
        /// When the last answer came, or the lease began.
        since: u64,
    },
    /// A request runs.
    Request {
        /// When it went out; of a pipeline, when the answer before it came.
        since: u64,
        /// When its transaction began.
        transaction: u64,
    },
    /// A transaction is open and the server waits for the client.
    IdleInTransaction {
        /// When the last answer came.
        since: u64,
        /// When the transaction began.
        transaction: u64,
    },
}

impl Server {
    /// What goes on now.
    #[must_use]
    pub fn doing(&self) -> Doing {
        let (since, transaction) = (self.clock.turned, self.clock.began);
        if !self.queue.is_empty() {
            Doing::Request { since, transaction }
        } else if self.status == b'I' {
            Doing::Nothing { since }
        } else {
            Doing::IdleInTransaction { since, transaction }
        }
    }
}
