//! The end of a connection: counted until it is really gone.

use std::time::Duration;

use crate::checkout::LeaseEnd;
use crate::host::Host;
use crate::slot::State;
use crate::{Action, CloseReason, ConnId, ConnectFailure, EndCause, Event, Failure, Handled};

impl Host {
    /// Tells a living connection to go; it is counted until its end is seen.
    pub(crate) fn close(&mut self, index: u32, reason: CloseReason) {
        let slot = &self.slots.table[index as usize];
        let (id, home) = (slot.pool, slot.home);
        self.turn.actions.push_back(Action::Close { conn: self.slots.id(index), home, reason });
        self.pools[id].account.closed(Some(reason));
        self.shift(index, State::Ending { reason });
        self.rearm(index);
    }

    /// A connection's socket has reached its end or failed.
    pub(crate) fn closed(&mut self, conn: ConnId, cause: EndCause) -> Handled {
        let Some(index) = self.slots.find(conn) else { return Handled::Stale };
        let slot = &self.slots.table[index as usize];
        let (id, pid) = (slot.pool, slot.pid);
        match (slot.state, cause) {
            (State::Vacant, _) => return Handled::Stale,
            (State::Opening { .. }, _) => {
                return self.connect_failed(conn, lost());
            }
            (State::Ending { reason }, EndCause::Eof) => self.gone(index, Some(reason)),
            (State::Ending { reason }, EndCause::Failed) => self.haunt(index, Some(reason), true),
            (State::Ghost { reason, .. }, EndCause::Eof) => self.gone(index, reason),
            (State::Ghost { reason, closed: _ }, EndCause::Failed) => self.mark_closed(index, reason),
            (State::Idle | State::Lent { .. } | State::Resetting | State::Fenced { .. }, _) => {
                self.pools[id].account.closed(None);
                self.record_lease(index, LeaseEnd::Lost, Duration::ZERO);
                // Without a process id nobody could ever tell that it is gone.
                match (cause, pid) {
                    (EndCause::Failed, Some(_)) => self.haunt(index, None, true),
                    (EndCause::Failed, None) | (EndCause::Eof, _) => self.gone(index, None),
                }
            }
        }
        Handled::Done
    }

    /// No end was seen: it may live on in PostgreSQL.
    pub(crate) fn haunt(&mut self, index: u32, reason: Option<CloseReason>, closed: bool) {
        let (id, conn) = (self.slots.table[index as usize].pool, self.slots.id(index));
        self.shift(index, State::Ghost { reason, closed });
        self.turn.events.push_back(Event::Ghost(id, conn));
        self.rearm(index);
    }

    fn mark_closed(&mut self, index: u32, reason: Option<CloseReason>) {
        let since = self.slots.table[index as usize].since;
        self.shift(index, State::Ghost { reason, closed: true });
        self.slots.table[index as usize].since = since;
    }

    /// It is really gone: its place is free.
    pub(crate) fn gone(&mut self, index: u32, reason: Option<CloseReason>) {
        let (id, conn) = (self.slots.table[index as usize].pool, self.slots.id(index));
        self.shift(index, State::Vacant);
        self.slot_alarms.clear(index);
        self.turn.events.push_back(Event::Gone(id, conn, reason));
    }

    /// A ghost is not counted any more.
    pub(crate) fn lay(&mut self, index: u32, reason: Option<CloseReason>, closed: bool) {
        if !closed {
            let (conn, home) = (self.slots.id(index), self.slots.table[index as usize].home);
            self.turn.actions.push_back(Action::Forget { conn, home });
        }
        self.gone(index, reason);
    }
}

/// A socket that ended during the login, without a word from the server.
fn lost() -> ConnectFailure {
    ConnectFailure { kind: Failure::Down, sqlstate: *b"08006", message: "connection ended during login".into() }
}
