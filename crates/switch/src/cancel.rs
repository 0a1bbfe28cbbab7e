//! Cancel requests: from a client's key to the query it runs, never through a slot, never at anybody else's query.
//!
//! The server connection is fenced from the moment a cancel request is sent until its socket has reached its end,
//! so that a late one meets nobody. What hangs is given up with its connection. Who asked waits until then, too.
//! PostgreSQL drops a request that comes before it has read the query it is for: then another follows.

use std::time::Duration;

use poolwarden_pool::{ConnId, EndCause, HostId, Input, LoopId, Time};
use poolwarden_relay::pgwire::make;
use poolwarden_relay::{Doing, Server};

use crate::client::Stage;
use crate::io::Io;
use crate::mail::{Asker, Errand};
use crate::refusal;
use crate::secret::Secret;
use crate::server::Standing;
use crate::switch::Switch;

/// Bits of a cancel key's number that say which client of a loop is meant; the bits above say which loop.
const CLIENT_BITS: u32 = 24;

/// Who waits for one cancel request at most: a client sends one and waits. Others are let go at once.
const MOST_ASKERS: usize = 16;

/// A query that has just gone out may not have been read when its cancel request comes: while it is younger than this it is looked
/// at again. A client waits for its grant longer than that at times, and cannot know how lately its query went out.
const YOUNG: Duration = Duration::from_millis(100);
/// How much later.
const AGAIN: Duration = Duration::from_millis(50);

/// A query that was to be cancelled, looked at again. All come after the same time, so they stand in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recall {
    pub(crate) at: Time,
    host: HostId,
    conn: ConnId,
    since: u64,
}

/// The loop and the place there that a number made by `Switch::cancel_pid` names.
pub(crate) fn place_of(pid: u32) -> (LoopId, u32) {
    let home = LoopId(u16::try_from(pid >> CLIENT_BITS).unwrap_or(u16::MAX)); // 8 bits are left
    (home, (pid & ((1 << CLIENT_BITS) - 1)).wrapping_sub(1))
}

impl<L> Switch<L> {
    /// The number a client is told for its cancel requests where it has no server connection of its own: loop and place, from 1.
    pub(crate) fn cancel_pid(&self, key: u32) -> u32 {
        (u32::from(self.me.0) << CLIENT_BITS) | ((key + 1) & ((1 << CLIENT_BITS) - 1))
    }

    /// A cancel request came in. One with a wrong key is ignored, as PostgreSQL does.
    pub(crate) fn cancel<I: Io<Link = L>>(
        &mut self,
        now: Time,
        place: u32,
        secret: &Secret,
        asker: Option<Box<Asker<L>>>,
        io: &mut I,
    ) {
        let Some(client) = self.clients.at(place).filter(|client| client.secret.is(secret)) else {
            self.cancels.1 += 1;
            return let_go(asker, io);
        };
        self.cancels.0 += 1;
        match client.stage {
            Stage::Idle => let_go(asker, io),
            Stage::Waiting { ticket } => {
                let pool = client.pool.clone();
                self.tickets.clear(pool.host, ticket.index, ticket.generation);
                self.drive(now, &pool, Input::Cancel(ticket)); // a grant on its way finds nobody and goes back
                self.tell_refused(now, place, &refusal::CANCELLED, io);
                let_go(asker, io);
            }
            Stage::Leased { server } => {
                self.send_cancel(now, server);
                let Some(asker) = asker else { return };
                let waiting = self.askers.get(&server).map_or(0, Vec::len);
                if waiting < MOST_ASKERS && self.servers.at(server).is_some_and(|slot| slot.fenced) {
                    self.askers.entry(server).or_default().push(*asker);
                } else {
                    let_go(Some(asker), io);
                }
            }
        }
    }

    /// Has a cancel request sent for what runs on a server connection, unless nothing of the client runs. While one is in the
    /// air, which may have met what ran before, another follows it.
    pub(crate) fn send_cancel(&mut self, now: Time, server: u32) {
        let Some(slot) = self.servers.at_mut(server) else { return };
        let Some(pid) = slot.relay.pid else { return };
        if !slot.relay.runs_client_query() {
            return self.note_next(server);
        }
        slot.cancels = asked_at(&slot.relay);
        if slot.fenced {
            slot.cancel_again = slot.cancelling;
            return;
        }
        slot.fenced = true;
        slot.cancelling = false;
        let (pool, conn) = (slot.pool.clone(), slot.conn);
        let errand = Errand::Cancel { host: pool.host, conn, pid, secret: slot.relay.secret.clone(), from: self.me };
        self.drive(now, &pool, Input::Fence(conn));
        self.shared.errand(errand, &mut self.desk);
    }

    /// What is to be cancelled waits here while the client's settings are made there: it is cancelled as soon as it goes out.
    fn note_next(&mut self, server: u32) {
        let Some(slot) = self.servers.at_mut(server).filter(|slot| !slot.relay.takes_input()) else { return };
        let Standing::Leased { client } = slot.standing else { return };
        slot.cancel_next = self.clients.at(client).is_some_and(|client| !client.relay.pending.is_empty());
    }

    /// What the client had pending has gone out.
    pub(crate) fn cancel_next(&mut self, now: Time, client: u32) {
        let Some(Stage::Leased { server }) = self.clients.at(client).map(|client| client.stage) else { return };
        if self.servers.at_mut(server).is_some_and(|slot| std::mem::take(&mut slot.cancel_next)) {
            self.send_cancel(now, server);
        }
    }

    /// A cancel request of ours is on its way to PostgreSQL.
    pub(crate) fn cancelling(&mut self, host: HostId, conn: ConnId) {
        let slot = self.conn_key(host, conn).and_then(|key| self.servers.at_mut(key));
        if let Some(slot) = slot.filter(|slot| slot.fenced) {
            slot.cancelling = true;
        }
    }

    /// A cancel request has been sent for a query that went out so lately that it may have come too early.
    fn note_recall(&mut self, now: Time, (host, conn): (HostId, ConnId), key: u32) {
        let Some(slot) = self.servers.at(key).filter(|slot| matches!(slot.standing, Standing::Leased { .. })) else {
            return; // a farewell asks again by itself
        };
        let Some(since) = asked_at(&slot.relay).filter(|since| slot.cancels == Some(*since)) else { return };
        if now.since(Time::from_nanos(since)) < YOUNG {
            self.recalls.push_back(Recall { at: now + AGAIN, host, conn, since });
        }
    }

    /// If that very query still runs, it is cancelled again.
    pub(crate) fn recall(&mut self, now: Time, recall: Recall) {
        let Some(key) = self.conn_key(recall.host, recall.conn) else { return };
        let same = |slot: &&crate::server::ServerSlot| {
            matches!(slot.standing, Standing::Leased { .. })
                && slot.cancels == Some(recall.since)
                && asked_at(&slot.relay) == Some(recall.since)
        };
        if self.servers.at(key).filter(same).is_some() {
            self.send_cancel(now, key);
        }
    }

    /// Nobody waits any more for the cancel request towards this connection.
    pub(crate) fn let_askers_go<I: Io<Link = L>>(&mut self, server: u32, io: &mut I) {
        for asker in self.askers.remove(&server).into_iter().flatten() {
            io.turn_away(asker.link, &[]);
        }
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
        let again = std::mem::take(&mut slot.cancel_again) && ended;
        let (pool, standing) = (slot.pool.clone(), slot.standing);
        if again && matches!(standing, Standing::Leased { .. }) {
            self.send_cancel(now, key); // before the fence falls: somebody waits for this one, too
        }
        if self.servers.at(key).is_some_and(|slot| !slot.fenced) {
            self.let_askers_go(key, io);
            self.note_recall(now, (host, conn), key);
        }
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

/// When the request that runs went out.
fn asked_at(server: &Server) -> Option<u64> {
    match server.doing() {
        Doing::Request { since, .. } => Some(since),
        Doing::Nothing { .. } | Doing::IdleInTransaction { .. } => None,
    }
}

fn let_go<L, I: Io<Link = L>>(asker: Option<Box<Asker<L>>>, io: &mut I) {
    if let Some(asker) = asker {
        io.turn_away(asker.link, &[]);
    }
}
