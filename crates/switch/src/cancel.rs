//! Cancel requests: from a client's key to the query it runs, never through a slot, never at anybody else's query.
//!
//! The server connection is fenced from the moment a cancel request is sent until its socket has reached its end,
//! so that a late one meets nobody. What hangs is given up with its connection.

use poolwarden_pool::{ConnId, EndCause, HostId, Input, Time};
use poolwarden_relay::pgwire::make;

use crate::client::Stage;
use crate::io::Io;
use crate::mail::Errand;
use crate::refusal;
use crate::server::Standing;
use crate::switch::Switch;

/// Bits of a cancel key's number that say which client of a loop is meant; the bits above say which loop.
const CLIENT_BITS: u32 = 24;

impl<L> Switch<L> {
    /// The number a client is told for its cancel requests: loop and place, from 1.
    pub(crate) fn cancel_pid(&self, key: u32) -> u32 {
        (u32::from(self.me.0) << CLIENT_BITS) | ((key + 1) & ((1 << CLIENT_BITS) - 1))
    }

    /// The loop to which a cancel request with this number belongs.
    #[must_use]
    pub fn loop_of(pid: u32) -> poolwarden_pool::LoopId {
        poolwarden_pool::LoopId(u16::try_from(pid >> CLIENT_BITS).unwrap_or(u16::MAX)) // 8 bits are left
    }

    /// A cancel request came in. One with a wrong key is ignored, as PostgreSQL does.
    pub(crate) fn cancel<I: Io<Link = L>>(&mut self, now: Time, pid: u32, secret: u32, io: &mut I) {
        let key = (pid & ((1 << CLIENT_BITS) - 1)).wrapping_sub(1);
        let client = self.clients.at(key).filter(|client| client.secret ^ secret == 0 && self.cancel_pid(key) == pid);
        let Some(client) = client else {
            self.cancels.1 += 1;
            return;
        };
        self.cancels.0 += 1;
        match client.stage {
            Stage::Idle => {}
            Stage::Waiting { ticket } => {
                let pool = client.pool.clone();
                self.tickets[usize::from(pool.host.0)].clear(ticket.index, ticket.generation);
                self.drive(now, &pool, Input::Cancel(ticket)); // a grant on its way finds nobody and goes back
                self.tell_refused(now, key, &refusal::CANCELLED, io);
            }
            Stage::Leased { server } => self.send_cancel(now, server),
        }
    }

    /// Has a cancel request sent for what runs on a server connection, unless one is in the air or nothing of the client runs.
    pub(crate) fn send_cancel(&mut self, now: Time, server: u32) {
        let Some(slot) = self.servers.at_mut(server) else { return };
        let Some(pid) = slot.relay.pid.filter(|_| !slot.fenced && slot.relay.runs_client_query()) else { return };
        slot.fenced = true;
        let (pool, conn) = (slot.pool.clone(), slot.conn);
        let errand = Errand::Cancel { host: pool.host, conn, pid, secret: slot.relay.secret.clone(), from: self.me };
        self.drive(now, &pool, Input::Fence(conn));
        self.shared.errand(errand, &mut self.desk);
    }

    /// A cancel request of ours reached its end, or hung.
    pub(crate) fn cancelled<I: Io<Link = L>>(
        &mut self,
        now: Time,
        host: HostId,
        conn: ConnId,
        ended: bool,
        io: &mut I,
    ) {
        let Some(key) = self.conn_key(host, conn) else { return };
        let Some(slot) = self.servers.at_mut(key).filter(|slot| slot.fenced) else { return };
        slot.fenced = false;
        slot.doomed |= !ended;
        let (pool, standing) = (slot.pool.clone(), slot.standing);
        if ended {
            self.drive(now, &pool, Input::Unfence(conn));
            return;
        }
        match standing {
            Standing::Idle => {
                let mut goodbye = Vec::new();
                make::terminate(&mut goodbye);
                self.send_server(key, &goodbye, io);
                self.drop_server(key, io);
                self.drive(now, &pool, Input::Closed(conn, EndCause::Failed));
            }
            Standing::Leased { .. } | Standing::Farewell | Standing::Resetting | Standing::Ending => {
                self.drive(now, &pool, Input::Unfence(conn)); // doomed: it is broken when it comes back
            }
        }
    }
}
