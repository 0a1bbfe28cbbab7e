//! The client is gone: what it left on the server connection is finished and rolled back, or the connection is given up.

use poolwarden_pgwire::make;

use crate::client::{Body, Client};
use crate::expect::Expect;
use crate::from_server::Turn;
use crate::gather::Out;
use crate::server::{Fault, Gate, Keep, Server};
use crate::session::{Held, Pin};
use crate::statement::What;

/// What a client's going leaves of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Nothing: the connection is clean now.
    Clean,
    /// It will be clean when what is outstanding has been answered; `cancel` says whether a query of the client is running.
    Draining {
        /// Whether to cancel what runs.
        cancel: bool,
    },
    /// Half a request has gone out: the connection cannot be mended.
    Broken,
}

/// What takes everything of a session away that PostgreSQL can take away.
pub(crate) const RESET: &str = "DISCARD ALL";

impl Server {
    /// The client is gone (or must go) at `now`.
    pub fn client_gone(&mut self, now: u64, client: &Client, out: &mut Out) -> Farewell {
        self.tick(now);
        let broken = self.fatal || self.uncertain || self.tunnel.is_some() || self.held.pins.has(Pin::Load);
        if broken || matches!(client.body, Body::Forward(_)) {
            return Farewell::Broken;
        }
        self.doom_pinned(client);
        self.body.1 = false; // the rest of a message it was being sent goes nowhere
        let running = self.queue.front().is_some_and(|front| !front.is_own());
        self.gate = Gate::Farewell;
        self.end_requests(out);
        if !self.queue.is_empty() {
            return Farewell::Draining { cancel: running };
        }
        if self.status != b'I' {
            self.own_query("ROLLBACK", Expect::Rollback, out);
            return Farewell::Draining { cancel: false };
        }
        if self.is_stained() {
            self.own_query(RESET, Expect::Reset, out);
            return Farewell::Draining { cancel: false };
        }
        if self.body.0 == 0 { Farewell::Clean } else { Farewell::Draining { cancel: false } }
    }

    /// Ends what the client has begun and will not end itself: rows, and a batch without its Sync.
    pub(crate) fn end_requests(&mut self, out: &mut Out) {
        if self.reads_rows() {
            make::copy_fail(out.server.own(&[]), "the client is gone");
            self.expect(Expect::CopyEnd);
        }
        if self.unsynced && !self.skipping {
            self.fail_abandoned(&mut out.server); // a Sync alone would commit what the client never did
        }
        if self.unsynced || self.skipping {
            make::sync(out.server.own(&[]));
            self.expect(Expect::Sync);
            self.unsynced = false;
            self.skipping = false;
        }
    }

    /// A round ended and no client is there.
    pub(crate) fn after_farewell_round(&mut self, out: &mut Out) -> Result<Turn, Fault> {
        if !self.queue.is_empty() {
            return Ok(Turn::More);
        }
        if self.failure.take().is_some() {
            return Err(Fault::Server("a query that cleans the session failed".into()));
        }
        if self.status != b'I' {
            self.own_query("ROLLBACK", Expect::Rollback, out);
            return Ok(Turn::More);
        }
        if self.is_stained() {
            self.own_query(RESET, Expect::Reset, out);
            return Ok(Turn::More);
        }
        Ok(if self.is_releasable() { Turn::Released } else { Turn::More })
    }

    /// Whether the client may have left session state behind.
    fn is_stained(&self) -> bool {
        self.terms.keep != Keep::Session && (self.doubts.is_some() || !self.held.pins.is_empty())
    }

    /// The connection was reset to what it was born with.
    pub fn was_reset(&mut self) {
        self.settings = crate::settings::Settings::default();
        self.doubts = None;
        self.held = Held::default();
        self.book.clear();
    }

    /// Statements that live here alone have nobody any more: they are closed with the next Sync that passes.
    fn doom_pinned(&mut self, client: &Client) {
        self.pins = 0;
        if !self.terms.follows() {
            return;
        }
        if let Some(book) = client.book.as_ref() {
            self.book.doomed.extend(book.named.values().filter_map(|named| match named.what {
                What::Pinned(number) => Some(number),
                What::Shared(_) => None,
            }));
        }
    }
}
