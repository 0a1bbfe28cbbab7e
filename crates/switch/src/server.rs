//! The server connections of a loop: arriving, sending input, being reset, ending.

use core::net::SocketAddr;
use std::sync::Arc;

use poolwarden_pool::{CloseReason, ConnId, EndCause, Handled, HostId, Input, Opened, Ticket, Time};
use poolwarden_relay::pgwire::make;
use poolwarden_relay::{Fault, Keep, Server, Terms, Turn};

use crate::client::Stage;
use crate::idle::Marks;
use crate::io::{Io, Peer};
use crate::mail::{Errand, Newcomer};
use crate::refusal;
use crate::shared::PoolShare;
use crate::switch::{Look, Switch};
use crate::usage::Bill;

/// One server connection of this loop.
#[derive(Debug)]
pub(crate) struct ServerSlot {
    pub(crate) relay: Server,
    pub(crate) conn: ConnId,
    pub(crate) pool: Arc<PoolShare>,
    pub(crate) standing: Standing,
    /// PostgreSQL does not read what it is sent.
    pub(crate) blocked: bool,
    /// A cancel request towards it is in the air.
    pub(crate) fenced: bool,
    /// It is being sent, and no longer waits for its turn.
    pub(crate) cancelling: bool,
    /// Another one is to follow it.
    pub(crate) cancel_again: bool,
    /// One is to be sent as soon as what its client has pending goes out.
    pub(crate) cancel_next: bool,
    /// When the request went out that was last to be cancelled.
    pub(crate) cancels: Option<u64>,
    /// It must not be lent again (a cancel request towards it hung).
    pub(crate) doomed: bool,
    /// Something was running when it was given back broken.
    pub(crate) runs: bool,
    /// Half a request has gone out and the rest will not come: nothing more can be said to it.
    pub(crate) amid: bool,
    /// When its farewell or reset must be done.
    pub(crate) clean_by: Time,
    /// What was done about its idle transactions.
    pub(crate) marks: Marks,
    /// Its pool's rules, as last looked at.
    pub(crate) rules: Rules,
    /// While it is lent: whose use that is.
    pub(crate) bill: Option<Bill>,
    pub(crate) opened_at: u64,
    pub(crate) used_at: u64,
    pub(crate) serial: u64,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) tls: Option<Arc<str>>,
}

/// What every lease needs of the pool's rules, kept with the number of the rules it was read from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    number: u32,
    pub(crate) lease: Terms,
    /// It is reset after each session, or after each lease.
    pub(crate) resets: bool,
    pub(crate) resets_always: bool,
}

impl ServerSlot {
    /// The pool's rules of this number.
    #[inline]
    pub(crate) fn rules(&mut self, number: u32) -> Rules {
        if self.rules.number != number {
            let terms = self.pool.terms();
            self.rules = Rules {
                number,
                lease: terms.lease(),
                // who shares next may have other terms than who left
                resets: terms.keep != Keep::Session || !terms.reset_query.is_empty(),
                resets_always: terms.reset_always,
            };
        }
        self.rules
    }
}

/// Where a server connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody's; the core may lend it.
    Idle,
    /// Lent to this client.
    Leased { client: u32 },
    /// Its client is gone; it is becoming clean.
    Farewell,
    /// The reset query runs.
    Resetting,
    /// It was told to end.
    Ending,
}

impl<L> Switch<L> {
    /// A connection that has just logged in lives here from now on.
    pub(crate) fn opened<I: Io<Link = L>>(&mut self, now: Time, newcomer: Newcomer<L>, io: &mut I) {
        let (pool, conn) = (newcomer.pool.clone(), newcomer.conn);
        let opened = Opened { home: self.me, flavor: newcomer.server.flavor(), pid: newcomer.server.pid };
        let key = self.settle_in(newcomer, Standing::Idle, io);
        if self.strangers > 0 {
            self.welcome_all(now, &pool, io);
        }
        if self.drive(now, &pool, Input::Opened(conn, Ok(opened))) == Handled::Stale {
            self.drop_server(key, io); // the core has given it up meanwhile
        }
    }

    /// A connection that was granted to a client of this loop has come over from another.
    pub(crate) fn arrive<I: Io<Link = L>>(&mut self, now: Time, newcomer: Newcomer<L>, ticket: Ticket, io: &mut I) {
        let (host, conn) = (newcomer.host, newcomer.conn);
        self.moved += 1;
        self.settle_in(newcomer, Standing::Idle, io);
        if self.shared.leases(host, ticket) {
            return self.granted(now, host, (ticket, conn, self.me), io);
        }
        // the core ended the lease while it was on its way, and the word to close it came before it did
        self.close_server(now, host, conn, CloseReason::Killed, io);
        self.lost(now, host, ticket, io);
    }

    fn settle_in<I: Io<Link = L>>(&mut self, newcomer: Newcomer<L>, standing: Standing, io: &mut I) -> u32 {
        let (host, conn) = (newcomer.host, newcomer.conn);
        let key = self.servers.insert(ServerSlot {
            relay: newcomer.server,
            conn,
            pool: newcomer.pool,
            standing,
            blocked: false,
            fenced: false,
            cancelling: false,
            cancel_again: false,
            cancel_next: false,
            cancels: None,
            doomed: false,
            runs: false,
            amid: false,
            clean_by: Time::NEVER,
            marks: Marks::default(),
            rules: Rules::default(),
            bill: None,
            opened_at: newcomer.opened_at,
            used_at: newcomer.opened_at,
            serial: newcomer.serial,
            remote: newcomer.remote,
            local: newcomer.local,
            tls: newcomer.tls,
        });
        self.conns.set(host, conn.index, conn.generation, key);
        io.attach(Peer::Server(key), newcomer.link);
        key
    }

    /// Takes a connection out of this loop, to live on another; `None` if it has ended meanwhile.
    pub(crate) fn move_out<I: Io<Link = L>>(&mut self, key: u32, io: &mut I) -> Option<Newcomer<L>> {
        let link = io.detach(Peer::Server(key))?;
        let mut slot = self.servers.remove(key)?;
        self.let_askers_go(key, io);
        self.count(&slot.pool).spans.add(&slot.relay.take_spans());
        let host = slot.pool.host;
        self.conns.clear(host, slot.conn.index, slot.conn.generation);
        Some(Newcomer {
            host,
            conn: slot.conn,
            pool: slot.pool,
            server: slot.relay,
            opened_at: slot.opened_at,
            serial: slot.serial,
            remote: slot.remote,
            local: slot.local,
            tls: slot.tls,
            link,
        })
    }

    /// Works off `bytes` of a server connection, behind what it has pending.
    pub(crate) fn server_bytes<I: Io<Link = L>>(&mut self, now: Time, key: u32, bytes: &[u8], io: &mut I) {
        let Some(server) = self.servers.at_mut(key) else { return };
        if server.relay.pending.is_empty() {
            let taken = self.server_input(now, key, bytes, io);
            self.keep_reply(key, &bytes[taken..]);
        } else {
            let mut pending = std::mem::take(&mut server.relay.pending);
            pending.extend_from_slice(bytes);
            let taken = self.server_input(now, key, &pending, io);
            self.keep_reply(key, &pending[taken..]);
        }
    }

    fn keep_reply(&mut self, key: u32, rest: &[u8]) {
        if let Some(server) = self.servers.at_mut(key).filter(|_| !rest.is_empty()) {
            server.relay.pending.extend_from_slice(rest);
        }
    }

    fn server_input<I: Io<Link = L>>(&mut self, now: Time, key: u32, input: &[u8], io: &mut I) -> usize {
        let mut at = 0;
        while at < input.len() {
            let Some((taken, go_on)) = self.server_batch(now, key, &input[at..], io) else { return input.len() };
            at += taken;
            if !go_on {
                break;
            }
        }
        at
    }

    /// One batch up to a turn of the lease: bytes taken, and whether the rest may go on at once. `None`: the connection is gone.
    fn server_batch<I: Io<Link = L>>(
        &mut self,
        now: Time,
        key: u32,
        input: &[u8],
        io: &mut I,
    ) -> Option<(usize, bool)> {
        let mut out = self.take_out();
        let slot = self.servers.at_mut(key)?;
        if slot.standing == Standing::Ending {
            self.give_out(out);
            return Some((input.len(), false));
        }
        let lent_to = if let Standing::Leased { client } = slot.standing { Some(client) } else { None };
        let client = lent_to.and_then(|client| self.clients.at_mut(client));
        let greeted = client.as_ref().is_some_and(|client| client.greeted);
        let client = client.map(|client| (&mut client.relay, &mut self.texts));
        let batch = slot.relay.from_server(now.as_nanos(), client, input, &mut out);
        if let Some(client) = lent_to.filter(|_| greeted && !out.client.is_empty()) {
            self.send_client(client, out.client.bytes(input), io);
        }
        if !out.server.is_empty() {
            self.send_server(key, out.server.bytes(input), io);
        }
        self.give_out(out);
        match batch {
            Ok((taken, turn)) => {
                let ended = matches!(turn, Turn::Opened | Turn::Released | Turn::SetupFailed | Turn::Spoiled);
                self.turn(now, key, turn, io);
                Some((taken, ended))
            }
            Err(fault) => {
                self.server_fault(now, key, &fault, io);
                None
            }
        }
    }

    fn turn<I: Io<Link = L>>(&mut self, now: Time, key: u32, turn: Turn, io: &mut I) {
        let Some(slot) = self.servers.at_mut(key) else { return };
        let (standing, pool, conn) = (slot.standing, slot.pool.clone(), slot.conn);
        match (turn, standing) {
            (Turn::More, _) => {}
            (Turn::Opened, Standing::Leased { client }) => {
                if self.clients.at(client).is_some_and(|client| !client.greeted) {
                    return self.welcome_here(now, client, key, io);
                }
                self.again.push_back(client);
                io.resume(Peer::Client(client));
            }
            (Turn::Released, Standing::Leased { .. } | Standing::Farewell) => self.release(now, key, io),
            (Turn::Spoiled, _) => self.spoiled(now, key, io),
            (Turn::Released, Standing::Resetting) => {
                slot.relay.was_reset();
                slot.standing = Standing::Idle;
                slot.relay.settle(now.as_nanos());
                self.drive(now, &pool, Input::ResetDone(conn));
            }
            (Turn::SetupFailed, Standing::Leased { client }) => self.settings_refused(now, client, key, io),
            (Turn::SetupFailed, Standing::Farewell) => {
                slot.relay.failure();
                if slot.relay.is_releasable() {
                    self.give_back_unused(now, key); // as it was: the query that failed changed nothing
                } else {
                    self.give_back_broken(now, key);
                }
            }
            (Turn::Opened | Turn::SetupFailed | Turn::Released, _) => {}
        }
    }

    /// A lease cannot go on: its client leaves first, then the connection is given up.
    pub(crate) fn client_gone_from<I: Io<Link = L>>(&mut self, now: Time, client: u32, server: u32, io: &mut I) {
        let amid = self.clients.at(client).is_some_and(|client| client.relay.is_amid_request());
        if let Some(slot) = self.servers.at_mut(server) {
            slot.standing = Standing::Farewell;
            slot.amid = amid;
        }
        if let Some(client) = self.clients.at_mut(client) {
            client.stage = Stage::Idle;
        }
        self.client_gone(now, client, io);
        self.give_back_broken(now, server);
    }

    /// The connection's replies make no sense, or its client broke the rules of its mode.
    fn server_fault<I: Io<Link = L>>(&mut self, now: Time, key: u32, fault: &Fault, io: &mut I) {
        let Some(slot) = self.servers.at_mut(key) else { return };
        match slot.standing {
            Standing::Leased { client } => {
                let told = refusal::of_fault(fault);
                self.send_client(client, &told.fatal(self.rules.voice), io);
                self.ending = Some(told.spoken(self.rules.voice).to_owned());
                self.client_gone_from(now, client, key, io);
            }
            Standing::Farewell | Standing::Resetting => self.give_back_broken(now, key),
            Standing::Idle => {
                let (pool, conn) = (slot.pool.clone(), slot.conn);
                self.drop_server(key, io);
                self.drive(now, &pool, Input::Closed(conn, EndCause::Failed));
            }
            Standing::Ending => {}
        }
    }

    /// A server connection has reached its end.
    pub(crate) fn server_gone<I: Io<Link = L>>(&mut self, now: Time, key: u32, cause: EndCause, io: &mut I) {
        let Some(slot) = self.servers.at_mut(key) else { return };
        let (pool, conn, standing) = (slot.pool.clone(), slot.conn, slot.standing);
        let word = refusal::last_word(&mut slot.relay, &refusal::SERVER_GONE, self.rules.voice);
        if let Standing::Leased { .. } = standing {
            self.close_books(now, key);
        }
        self.drop_server(key, io);
        self.drive(now, &pool, Input::Closed(conn, cause));
        if let Standing::Leased { client } = standing {
            if let Some(word) = word {
                self.send_client(client, &word, io);
            }
            if let Some(client) = self.clients.at_mut(client) {
                client.stage = Stage::Idle;
            }
            self.ending = Some(refusal::SERVER_GONE.spoken(self.rules.voice).to_owned());
            self.client_gone(now, client, io);
        }
    }

    /// Takes a connection out of the tables and closes its socket.
    pub(crate) fn drop_server<I: Io<Link = L>>(&mut self, key: u32, io: &mut I) {
        if let Some(slot) = self.servers.remove(key) {
            self.conns.clear(slot.pool.host, slot.conn.index, slot.conn.generation);
            self.count(&slot.pool).spans.add(slot.relay.spans());
            io.close(Peer::Server(key));
            self.let_askers_go(key, io);
        }
    }

    /// The core wants it closed: cancel if busy, Terminate, then wait for its end.
    pub(crate) fn close_server<I: Io<Link = L>>(
        &mut self,
        now: Time,
        host: HostId,
        conn: ConnId,
        reason: CloseReason,
        io: &mut I,
    ) {
        let Some(key) = self.conn_key(host, conn) else { return };
        let Some(slot) = self.servers.at_mut(key) else { return };
        let standing = std::mem::replace(&mut slot.standing, Standing::Ending);
        let busy = slot.relay.is_busy() || slot.runs;
        slot.relay.pending = Vec::new();
        if let Standing::Leased { client } = standing {
            let told = if reason == CloseReason::Killed { refusal::KILLED } else { refusal::STOPPING };
            let word = refusal::last_word(&mut slot.relay, &told, self.rules.voice);
            slot.amid = self.clients.at(client).is_some_and(|client| client.relay.is_amid_request());
            self.close_books(now, key);
            if let Some(slot) = self.clients.at_mut(client) {
                slot.stage = Stage::Idle;
            }
            if let Some(word) = word {
                self.send_client(client, &word, io);
            }
            self.ending = Some(told.spoken(self.rules.voice).to_owned());
            self.client_gone(now, client, io);
        }
        if busy {
            self.send_cancel_unfenced(key);
        }
        let Some(slot) = self.servers.at(key) else { return };
        if slot.amid {
            // a Terminate would be taken for the rest of the request; the end of the stream is the end of the request, and of the
            // session, which is counted until PostgreSQL has ended it
            io.finish(Peer::Server(key));
            return io.resume(Peer::Server(key));
        }
        let mut goodbye = Vec::new();
        make::terminate(&mut goodbye);
        self.send_server(key, &goodbye, io);
        io.resume(Peer::Server(key));
    }

    /// The core counts it no more.
    pub(crate) fn forget<I: Io<Link = L>>(&mut self, host: HostId, conn: ConnId, io: &mut I) {
        if let Some(key) = self.conn_key(host, conn) {
            self.drop_server(key, io);
        }
    }

    pub(crate) fn reset_server<I: Io<Link = L>>(&mut self, now: Time, host: HostId, conn: ConnId, io: &mut I) {
        let Some(key) = self.conn_key(host, conn) else { return };
        let mut out = self.take_out();
        let Some(slot) = self.servers.at_mut(key) else { return self.give_out(out) };
        slot.standing = Standing::Resetting;
        let clean_by = now + self.rules.farewell;
        slot.clean_by = clean_by;
        let terms = slot.pool.terms();
        slot.relay.reset(now.as_nanos(), terms.reset_sql(), &mut out);
        self.send_server(key, out.server.bytes(&[]), io);
        self.give_out(out);
        self.farewells.push_back(Look { at: now + self.rules.farewell_step(), clean_by, host, conn });
    }

    /// A connection that is not clean yet: when its time is over it is given up. Until then what runs is cancelled again, because
    /// a cancel that comes before its query does nothing.
    pub(crate) fn look_at_farewell(&mut self, now: Time, look: Look) {
        let Some(key) = self.conn_key(look.host, look.conn) else { return };
        let Some(slot) = self.servers.at(key).filter(|slot| slot.clean_by == look.clean_by) else { return };
        match slot.standing {
            Standing::Farewell | Standing::Resetting if look.clean_by <= now => return self.give_back_broken(now, key),
            Standing::Farewell => self.send_cancel(now, key),
            Standing::Resetting => {}
            Standing::Idle | Standing::Leased { .. } | Standing::Ending => return,
        }
        self.farewells.push_back(Look { at: now + self.rules.farewell_step(), ..look });
    }

    /// Asks for a cancel request of whatever runs on a connection that is ending.
    fn send_cancel_unfenced(&mut self, key: u32) {
        let Some(slot) = self.servers.at(key) else { return };
        let Some(pid) = slot.relay.pid else { return };
        let errand = Errand::Cancel {
            host: slot.pool.host,
            conn: slot.conn,
            pid,
            secret: slot.relay.secret.clone(),
            from: self.me,
        };
        self.shared.errand(errand, &mut self.desk);
    }
}
