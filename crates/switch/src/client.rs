//! The clients of a loop: sending input, leaving.

use core::net::SocketAddr;
use std::sync::Arc;

use poolwarden_pool::{Input, PoolKey, Ticket, Time};
use poolwarden_relay::{Client, Farewell, Fault, Idle, Keep, Settings};

use crate::claim::Claim;
use crate::io::{Io, Peer, Sent};
use crate::lending::Asked;
use crate::passage::{Passage, Passing};
use crate::refusal::{self, Told};
use crate::secret::Secret;
use crate::server::Standing;
use crate::shared::PoolShare;
use crate::switch::{Look, Switch};
use crate::usage::Payer;

/// One client of this loop.
#[derive(Debug)]
pub(crate) struct ClientSlot {
    pub(crate) relay: Client,
    pub(crate) stage: Stage,
    pub(crate) pool: Arc<PoolShare>,
    /// Whom it logged in as, where that is not the pool's user.
    pub(crate) login: Option<Box<str>>,
    pub(crate) claim: Claim,
    /// Whose use its leases are.
    pub(crate) payer: Payer,
    /// It has been told the server's parameters and its cancel key.
    pub(crate) greeted: bool,
    /// It does not read what it is sent.
    pub(crate) blocked: bool,
    /// When that began, the last time it did.
    pub(crate) blocked_at: Time,
    pub(crate) secret: Secret,
    /// The process number its key is known by, where that is its server connection's own.
    pub(crate) told_pid: Option<u32>,
    /// What it asked for at its start, until it is welcomed.
    pub(crate) asked: Settings,
    pub(crate) serial: u64,
    pub(crate) connected_at: u64,
    /// When its last request came.
    pub(crate) requested_at: u64,
    /// Since when it wants nothing, while it wants nothing.
    pub(crate) idle_since: u64,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) tls: Option<Arc<str>>,
}

impl ClientSlot {
    /// Whom it logged in as: what class it has, whether it is trusted and what limits hold for it are that user's.
    pub(crate) fn user(&self) -> &str {
        self.login.as_deref().unwrap_or(&self.pool.key.user)
    }

    /// What it calls itself.
    pub(crate) fn application(&self) -> &str {
        let settings = if self.greeted { &self.relay.settings } else { &self.asked };
        settings.value("application_name").unwrap_or_default()
    }

    /// Database and user as it asked for them.
    pub(crate) fn asked_for(&self) -> (&str, &str) {
        (&self.pool.key.database, self.user())
    }
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It wants nothing.
    Idle,
    /// It waits for a server connection.
    Waiting { ticket: Ticket },
    /// It has this one.
    Leased { server: u32 },
}

impl<L> Switch<L> {
    /// Works off `bytes` of a client, behind what it has pending.
    pub(crate) fn client_bytes<I: Io<Link = L>>(&mut self, now: Time, key: u32, bytes: &[u8], io: &mut I) {
        let Some(client) = self.clients.at_mut(key) else { return };
        if !client.greeted {
            client.relay.keep(bytes);
            return;
        }
        if client.relay.pending.is_empty() {
            let taken = self.client_input(now, key, bytes, io);
            self.keep_rest(key, bytes, taken);
        } else {
            let mut pending = std::mem::take(&mut client.relay.pending);
            pending.extend_from_slice(bytes);
            let taken = self.client_input(now, key, &pending, io);
            self.keep_rest(key, &pending, taken);
        }
    }

    fn keep_rest(&mut self, key: u32, bytes: &[u8], taken: usize) {
        if let Some(client) = self.clients.at_mut(key) {
            client.relay.keep(&bytes[taken..]);
            if client.stage == Stage::Idle {
                client.relay.rest();
            }
        }
    }

    /// Works off as much of `input` as can be; returns how many bytes that were.
    fn client_input<I: Io<Link = L>>(&mut self, now: Time, key: u32, input: &[u8], io: &mut I) -> usize {
        let mut at = 0;
        loop {
            let Some(client) = self.clients.at_mut(key) else { return input.len() };
            match client.stage {
                Stage::Waiting { .. } => return at,
                Stage::Leased { server } => {
                    if self.servers.at(server).is_none_or(|server| server.blocked) {
                        return at;
                    }
                    return at + self.forward(now, key, server, &input[at..], io);
                }
                Stage::Idle => {
                    let Some(taken) = self.idle_input(now, key, &input[at..], io) else { return input.len() };
                    at += taken.0;
                    if !taken.1 {
                        return at;
                    }
                    if !self.weigh(now, key, &input[at..]) {
                        if let Some(client) = self.clients.at_mut(key) {
                            client.relay.keep(&input[at..]);
                        }
                        self.refuse_torn(now, key, io);
                        return input.len();
                    }
                    match self.checkout(now, key, io) {
                        Asked::Granted => {}
                        Asked::Waits => return at,
                        Asked::Refused(refusal) => {
                            if let Some(client) = self.clients.at_mut(key) {
                                client.relay.keep(&input[at..]);
                            }
                            self.refuse_client(now, key, &refusal, io);
                            return input.len();
                        }
                    }
                }
            }
        }
    }

    /// Works off what an idle client's input asks for without a server connection: bytes taken, and whether it wants one now.
    /// `None`: the client is gone.
    fn idle_input<I: Io<Link = L>>(&mut self, now: Time, key: u32, input: &[u8], io: &mut I) -> Option<(usize, bool)> {
        self.know(key);
        let client = self.clients.at_mut(key)?;
        client.idle_since = now.as_nanos();
        let mut reply = Vec::new();
        let mut at = 0;
        let outcome = loop {
            match client.relay.idle_input(&input[at..], &mut reply) {
                Ok((taken, Idle::Wants)) if client.claim.follows => {
                    at += taken;
                    match client.relay.answer_alone(&mut self.texts, &input[at..], &mut reply) {
                        Ok(0) => break Ok(Idle::Wants),
                        Ok(answered) => at += answered,
                        Err(fault) => break Err(fault),
                    }
                }
                Ok((taken, idle)) => {
                    at += taken;
                    break Ok(idle);
                }
                Err(fault) => break Err(fault),
            }
        };
        if !reply.is_empty() {
            self.send_client(key, &reply, io);
        }
        match outcome {
            Ok(Idle::Nothing) => Some((at, false)),
            Ok(Idle::Wants) => Some((at, true)),
            Ok(Idle::Leaves) => {
                self.client_gone(now, key, io);
                None
            }
            Err(fault) => {
                self.fail_client(now, key, &fault, io);
                None
            }
        }
    }

    /// Forwards a leased client's input; returns how many bytes were taken.
    fn forward<I: Io<Link = L>>(&mut self, now: Time, key: u32, server: u32, input: &[u8], io: &mut I) -> usize {
        let mut out = self.take_out();
        let (Some(client), Some(slot)) = (self.clients.at_mut(key), self.servers.at_mut(server)) else {
            self.give_out(out);
            return input.len();
        };
        slot.relay.others_wait = client.pool.others_wait();
        let taken = slot.relay.from_client(now.as_nanos(), &mut client.relay, &mut self.texts, input, &mut out);
        if !out.server.is_empty() {
            client.requested_at = now.as_nanos();
            self.send_server(server, out.server.bytes(input), io);
        }
        if !out.client.is_empty() {
            self.send_client(key, out.client.bytes(input), io);
        }
        self.give_out(out);
        match taken {
            Ok(taken) => taken,
            Err(Fault::Leaves) => {
                self.client_gone(now, key, io);
                input.len()
            }
            Err(fault) => {
                self.fail_client(now, key, &fault, io);
                input.len()
            }
        }
    }

    /// The client broke the rules: it is told, and leaves.
    pub(crate) fn fail_client<I: Io<Link = L>>(&mut self, now: Time, key: u32, fault: &Fault, io: &mut I) {
        let told = refusal::of_fault(fault);
        self.dismiss(now, key, &told, io);
    }

    /// Ends a client's session with a last word, where one can be said.
    pub(crate) fn dismiss<I: Io<Link = L>>(&mut self, now: Time, key: u32, told: &Told<'_>, io: &mut I) {
        let server = match self.clients.at(key).map(|client| client.stage) {
            Some(Stage::Leased { server }) => self.servers.at_mut(server),
            Some(Stage::Idle | Stage::Waiting { .. }) | None => None,
        };
        let voice = self.rules.voice;
        let word =
            server.map_or_else(|| Some(told.fatal(voice)), |server| refusal::last_word(&mut server.relay, told, voice));
        if let Some(word) = word {
            self.send_client(key, &word, io);
        }
        self.ending = Some(told.spoken(voice).to_owned());
        self.client_gone(now, key, io);
    }

    /// Says what happens to a client, if anybody listens.
    pub(crate) fn note(&self, key: u32, what: impl FnOnce(&ClientSlot) -> Passing) {
        if let Some(client) = self.clients.at(key) {
            self.shared.passages.note(|| Passage {
                serial: client.serial,
                key: PoolKey { database: client.pool.key.database.clone(), user: client.user().to_owned() },
                remote: client.remote,
                what: what(client),
            });
        }
    }

    /// A client is gone, whoever ended it.
    pub(crate) fn client_gone<I: Io<Link = L>>(&mut self, now: Time, key: u32, io: &mut I) {
        let why = self.ending.take();
        self.note(key, |client| Passing::Went { why, age: now.since(Time::from_nanos(client.connected_at)) });
        let Some(mut client) = self.clients.remove(key) else { return };
        self.strangers -= usize::from(!client.greeted);
        if let Some(pid) = client.told_pid {
            self.shared.remove_key(pid, &client.secret);
        }
        io.close(Peer::Client(key));
        match client.stage {
            Stage::Idle => {}
            Stage::Waiting { ticket } => {
                self.tickets.clear(client.pool.host, ticket.index, ticket.generation);
                // a grant that is on its way finds nobody and goes back at once
                self.drive(now, &client.pool, Input::Cancel(ticket));
            }
            Stage::Leased { server } => self.bid_farewell(now, server, &client.relay, io),
        }
        client.relay.leave(&mut self.texts);
        self.drive(now, &client.pool, Input::Leave(client.pool.id));
    }

    /// The client of a lease is gone: its server connection is cleaned up, or given up.
    fn bid_farewell<I: Io<Link = L>>(&mut self, now: Time, server: u32, client: &Client, io: &mut I) {
        let mut out = self.take_out();
        let Some(slot) = self.servers.at_mut(server) else { return self.give_out(out) };
        let farewell = slot.relay.client_gone(now.as_nanos(), client, &mut out);
        slot.standing = Standing::Farewell;
        slot.amid = client.is_amid_request();
        let (host, conn) = (slot.pool.host, slot.conn);
        if !out.server.is_empty() {
            self.send_server(server, out.server.bytes(&[]), io);
        }
        self.give_out(out);
        match farewell {
            Farewell::Clean => self.release(now, server, io),
            Farewell::Broken => self.give_back_broken(now, server),
            Farewell::Draining { cancel } => {
                let clean_by = now + self.rules.farewell;
                self.farewells.push_back(Look { at: now + self.rules.farewell_step(), clean_by, host, conn });
                if let Some(slot) = self.servers.at_mut(server) {
                    slot.clean_by = clean_by;
                }
                if cancel {
                    self.send_cancel(now, server);
                }
                io.resume(Peer::Server(server)); // its client may have kept it from being read
            }
        }
    }

    pub(crate) fn send_client<I: Io<Link = L>>(&mut self, key: u32, bytes: &[u8], io: &mut I) {
        if io.send(Peer::Client(key), bytes) == Sent::Blocked {
            self.client_blocked(key);
        }
    }

    /// A client does not read. While it holds a connection for which others wait, it may do so for `Rules::stall` only.
    pub(crate) fn client_blocked(&mut self, key: u32) {
        let Some(client) = self.clients.at_mut(key).filter(|client| !client.blocked) else { return };
        client.blocked = true;
        client.blocked_at = self.last;
        self.stalls.push_back((self.last + self.rules.stall, key, client.serial));
    }

    /// The time of a client that did not read is up: it goes, if it still does not, and others wait for what it holds.
    pub(crate) fn end_stall<I: Io<Link = L>>(&mut self, now: Time, key: u32, serial: u64, io: &mut I) {
        let Some(client) = self.clients.at(key).filter(|client| client.serial == serial && client.blocked) else {
            return;
        };
        let since = now.since(client.blocked_at);
        let holds = matches!(client.stage, Stage::Leased { .. }) && client.pool.others_wait();
        if since >= self.rules.stall && holds {
            self.stalled += 1;
            self.dismiss(now, key, &refusal::STALLED, io);
        } else {
            // it has read something meanwhile, or is in nobody's way: looked at again
            self.stalls.push_back((now + self.rules.stall, key, serial));
        }
    }

    pub(crate) fn send_server<I: Io<Link = L>>(&mut self, key: u32, bytes: &[u8], io: &mut I) {
        if io.send(Peer::Server(key), bytes) == Sent::Blocked
            && let Some(server) = self.servers.at_mut(key)
        {
            server.blocked = true;
        }
    }

    /// The process is stopping: who wants nothing leaves now, the others when they want nothing more.
    pub(crate) fn drain<I: Io<Link = L>>(&mut self, now: Time, io: &mut I) {
        self.draining = true;
        let idle: Vec<u32> =
            self.clients.iter().filter(|(_, client)| self.wants_nothing(client)).map(|(key, _)| key).collect();
        for key in idle {
            self.dismiss(now, key, &refusal::STOPPING, io);
        }
    }

    /// Whether a client has nothing that a stop of the process could take from it: it is idle, or has never used the connection that
    /// is its own, or only follows a stream, and will follow it elsewhere.
    fn wants_nothing(&self, client: &ClientSlot) -> bool {
        let quiet = client.greeted && client.relay.pending.is_empty();
        match client.stage {
            Stage::Idle => quiet,
            Stage::Waiting { .. } => false,
            Stage::Leased { server } => self.servers.at(server).is_some_and(|slot| match slot.relay.keep() {
                Keep::Session => quiet && slot.relay.is_untouched(),
                Keep::Tunnel => slot.relay.streams() || quiet && slot.relay.is_untouched(), // a stream would never end by itself
                Keep::Transaction | Keep::Statement => false,
            }),
        }
    }

    /// The process stops now: everybody leaves.
    pub(crate) fn stop<I: Io<Link = L>>(&mut self, now: Time, io: &mut I) {
        self.draining = true;
        let all: Vec<u32> = self.clients.iter().map(|(key, _)| key).collect();
        for key in all {
            self.dismiss(now, key, &refusal::STOPPING, io);
        }
    }
}
