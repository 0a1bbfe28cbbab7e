//! The switch of one loop: its tables, its doors, and the order in which it works things off.
//!
//! Every public call ends with `settle`: actions of the core first, then clients that have input left, until neither is left.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use poolwarden_pool::{Action, ConnId, EndCause, HostId, Input, LoopId, Ticket, Time};
use poolwarden_relay::{Out, Texts};

use crate::cancel::Recall;
use crate::client::{ClientSlot, Stage};
use crate::io::{Io, Peer};
use crate::mail::{Asker, Mail};
use crate::report::Totals;
use crate::server::{ServerSlot, Standing};
use crate::shared::{Desk, PoolShare, Shared};
use crate::table::{Directories, Table};
use crate::usage::Usage;
use crate::voice::Voice;

/// Bounds that every loop keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Bytes of statement texts kept per loop.
    pub texts: usize,
    /// How long a connection whose client is gone may take to become clean, before it is given up.
    pub farewell: Duration,
    /// How long a client that does not read may hold a connection for which others wait.
    pub stall: Duration,
    /// How much of an idle client is read at once, and kept while it waits.
    pub idle_read: usize,
    /// How much is read at once of anybody whose peer takes it.
    pub read: usize,
    /// In whose words clients are told what went wrong.
    pub voice: Voice,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            texts: 64 << 20,
            farewell: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            idle_read: 4096,
            read: 64 << 10,
            voice: Voice::Own,
        }
    }
}

impl Rules {
    /// Until then it is looked at so often, and what runs is cancelled again.
    pub(crate) fn farewell_step(&self) -> Duration {
        self.farewell / 10
    }
}

/// When a connection that is to become clean is looked at next. All come after the same time, so they stand in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) at: Time,
    /// Tells this farewell from a later one of the same connection.
    pub(crate) clean_by: Time,
    pub(crate) host: HostId,
    pub(crate) conn: ConnId,
}

/// The switch of one loop. `L` is a connection as a value.
pub struct Switch<L> {
    pub(crate) me: LoopId,
    pub(crate) shared: Arc<Shared<L>>,
    pub(crate) rules: Rules,
    pub(crate) desk: Desk,
    pub(crate) clients: Table<ClientSlot>,
    pub(crate) servers: Table<ServerSlot>,
    pub(crate) conns: Directories,
    pub(crate) tickets: Directories,
    pub(crate) texts: Texts,
    pub(crate) again: VecDeque<u32>,
    pub(crate) farewells: VecDeque<Look>,
    /// Queries that a cancel request may have missed.
    pub(crate) recalls: VecDeque<Recall>,
    /// Clients that do not read: until when, which place, which serial.
    pub(crate) stalls: VecDeque<(Time, u32, u64)>,
    /// Clients that were ended for it.
    pub(crate) stalled: u64,
    /// When clients were last held to their time limits.
    pub(crate) round_at: Time,
    /// When it was last looked for idle transactions.
    pub(crate) looked_at: Time,
    /// Why the client that is about to go goes, where that is not its own will.
    pub(crate) ending: Option<String>,
    /// The time of the last call.
    pub(crate) last: Time,
    pub(crate) totals: Vec<Option<(Arc<PoolShare>, Totals)>>,
    pub(crate) usage: Usage,
    pub(crate) draining: bool,
    pub(crate) cancels: (u64, u64),
    /// Who waits for the cancel request towards which server connection.
    pub(crate) askers: BTreeMap<u32, Vec<Asker<L>>>,
    pub(crate) moved: u64,
    /// Requests that were answered with a refusal.
    pub(crate) refusals: u64,
    /// Clients that wait to be welcomed.
    pub(crate) strangers: usize,
    out: Out,
}

impl<L> Switch<L> {
    /// The switch of loop `me`.
    #[must_use]
    pub fn new(me: LoopId, shared: Arc<Shared<L>>, rules: Rules) -> Self {
        Self {
            me,
            rules,
            desk: Desk::new(Some(me)),
            clients: Table::default(),
            servers: Table::default(),
            conns: Directories::default(),
            tickets: Directories::default(),
            texts: Texts::new(me.0, rules.texts),
            again: VecDeque::new(),
            farewells: VecDeque::new(),
            recalls: VecDeque::new(),
            stalls: VecDeque::new(),
            stalled: 0,
            round_at: Time::ZERO,
            looked_at: Time::ZERO,
            ending: None,
            last: Time::ZERO,
            totals: Vec::new(),
            usage: Usage::default(),
            draining: false,
            cancels: (0, 0),
            askers: BTreeMap::new(),
            moved: 0,
            refusals: 0,
            strangers: 0,
            out: Out::default(),
            shared,
        }
    }

    /// How many bytes of this connection may be read now; 0: none.
    #[must_use]
    pub fn appetite(&self, peer: Peer) -> usize {
        match peer {
            Peer::Client(key) => self.clients.at(key).map_or(0, |client| self.client_appetite(client)),
            Peer::Server(key) => self.servers.at(key).map_or(0, |server| self.server_appetite(server)),
        }
    }

    fn client_appetite(&self, client: &ClientSlot) -> usize {
        match client.stage {
            Stage::Idle if client.greeted => self.rules.idle_read,
            Stage::Idle | Stage::Waiting { .. } => 0,
            Stage::Leased { server } => match self.servers.at(server) {
                Some(server) if server.blocked => 0,
                Some(server) if server.relay.takes_input() => self.rules.read,
                Some(_) if client.relay.pending.is_empty() => self.rules.idle_read,
                Some(_) | None => 0,
            },
        }
    }

    fn server_appetite(&self, server: &ServerSlot) -> usize {
        match server.standing {
            Standing::Leased { client } if self.clients.at(client).is_some_and(|client| client.blocked) => 0,
            Standing::Leased { .. } | Standing::Idle | Standing::Farewell | Standing::Resetting | Standing::Ending => {
                self.rules.read
            }
        }
    }

    /// Bytes came in.
    pub fn received<I: Io<Link = L>>(&mut self, now: Time, peer: Peer, bytes: &[u8], io: &mut I) {
        match peer {
            Peer::Client(key) => self.client_bytes(now, key, bytes, io),
            Peer::Server(key) => self.server_bytes(now, key, bytes, io),
        }
        self.settle(now, io);
    }

    /// A connection has reached its end; everything it sent was handed over before.
    pub fn closed<I: Io<Link = L>>(&mut self, now: Time, peer: Peer, cause: EndCause, io: &mut I) {
        match peer {
            Peer::Client(key) => self.client_gone(now, key, io),
            Peer::Server(key) => self.server_gone(now, key, cause, io),
        }
        self.settle(now, io);
    }

    /// A peer hung up while nothing is read of it. A waiting client leaves the queue at once; others are read to their end first.
    pub fn hung_up<I: Io<Link = L>>(&mut self, now: Time, peer: Peer, io: &mut I) {
        if let Peer::Client(key) = peer
            && self.clients.at(key).is_some_and(|client| matches!(client.stage, Stage::Waiting { .. }))
        {
            self.client_gone(now, key, io);
            self.settle(now, io);
        }
    }

    /// What was sent to this peer, and was said to have gone out, has not: it does not read.
    pub fn blocked(&mut self, peer: Peer) {
        match peer {
            Peer::Client(key) => {
                self.client_blocked(key);
            }
            Peer::Server(key) => {
                if let Some(server) = self.servers.at_mut(key) {
                    server.blocked = true;
                }
            }
        }
    }

    /// What could not be sent to this peer has gone out.
    pub fn drained<I: Io<Link = L>>(&mut self, now: Time, peer: Peer, io: &mut I) {
        match peer {
            Peer::Client(key) => {
                let Some(client) = self.clients.at_mut(key) else { return };
                client.blocked = false;
                if let Stage::Leased { server } = client.stage {
                    io.resume(Peer::Server(server));
                }
            }
            Peer::Server(key) => {
                let Some(server) = self.servers.at_mut(key) else { return };
                server.blocked = false;
                if let Standing::Leased { client } = server.standing {
                    self.again.push_back(client);
                    io.resume(Peer::Client(client));
                }
            }
        }
        self.settle(now, io);
    }

    /// Takes what is in this loop's mailbox.
    pub fn mail<I: Io<Link = L>>(&mut self, now: Time, io: &mut I) {
        for mail in self.shared.mail(self.me) {
            self.open_mail(now, mail, io);
            self.settle(now, io);
        }
    }

    fn open_mail<I: Io<Link = L>>(&mut self, now: Time, mail: Mail<L>, io: &mut I) {
        match mail {
            Mail::Act(host, action) => self.desk.actions.push_back((host, action)),
            Mail::Arrive(newcomer, ticket) => self.arrive(now, *newcomer, ticket, io),
            Mail::Lost(host, ticket) => self.lost(now, host, ticket, io),
            Mail::Opened(newcomer) => self.opened(now, *newcomer, io),
            Mail::Join(joining, link) => self.join(now, *joining, link, io),
            Mail::Cancel { place, secret, asker } => self.cancel(now, place, &secret, asker, io),
            Mail::Cancelling(host, conn) => self.cancelling(host, conn),
            Mail::Cancelled(host, conn, ended) => self.cancelled(now, host, conn, ended, io),
            Mail::Drain => self.drain(now, io),
            Mail::Stop => self.stop(now, io),
            Mail::Rules(rules) => {
                self.rules = *rules;
                self.texts.rebound(rules.texts);
            }
            Mail::CancelLease(lease) => self.cancel_lease(now, lease),
            Mail::EndLease(lease) => self.end_lease(now, lease, io),
            Mail::Kill(serial) => {
                let found = self.clients.iter().find(|(_, client)| client.serial == serial).map(|(key, _)| key);
                if let Some(key) = found {
                    self.dismiss(now, key, &crate::refusal::KILLED, io);
                }
            }
        }
    }

    /// When `timeout` must be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let farewell = self.farewells.front().map(|look| look.at);
        let recall = self.recalls.front().map(|recall| recall.at);
        let stall = self.stalls.front().map(|(at, ..)| *at);
        farewell.into_iter().chain(recall).chain(stall).chain(self.next_round()).chain([self.next_look()]).min()
    }

    /// The moment of `poll_timeout` has come.
    pub fn timeout<I: Io<Link = L>>(&mut self, now: Time, io: &mut I) {
        while let Some(look) = self.farewells.front().filter(|look| look.at <= now).copied() {
            self.farewells.pop_front();
            self.look_at_farewell(now, look);
        }
        while let Some(recall) = self.recalls.front().filter(|recall| recall.at <= now).copied() {
            self.recalls.pop_front();
            self.recall(now, recall);
        }
        while self.stalls.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, key, serial)) = self.stalls.pop_front() else { break };
            self.end_stall(now, key, serial, io);
        }
        if self.next_round().is_some_and(|at| at <= now) {
            self.go_round(now, io);
        }
        if self.next_look() <= now {
            self.look_for_idlers(now, io);
        }
        self.settle(now, io);
    }

    /// Works off what the core wants, then clients with input left, until nothing is left; then wakes whom it must.
    pub(crate) fn settle<I: Io<Link = L>>(&mut self, now: Time, io: &mut I) {
        self.last = now;
        loop {
            if let Some((host, action)) = self.desk.actions.pop_front() {
                self.act(now, host, action, io);
            } else if let Some(key) = self.again.pop_front() {
                self.client_bytes(now, key, &[], io);
                self.cancel_next(now, key);
            } else {
                break;
            }
        }
        while let Some(target) = self.desk.wakes.pop() {
            io.wake(target);
        }
    }

    pub(crate) fn act<I: Io<Link = L>>(&mut self, now: Time, host: HostId, action: Action, io: &mut I) {
        match action {
            Action::Grant { ticket, conn, to, .. } => self.granted(now, host, (ticket, conn, to), io),
            Action::Refuse { ticket, refusal, .. } => self.refused(now, host, ticket, &refusal, io),
            Action::Close { conn, reason, .. } => self.close_server(now, host, conn, reason, io),
            Action::Forget { conn, .. } => self.forget(host, conn, io),
            Action::Reset { conn, .. } => self.reset_server(now, host, conn, io),
            Action::Open { .. } => {} // goes to the lane, never to a loop
        }
    }

    pub(crate) fn drive(&mut self, now: Time, pool: &PoolShare, input: Input) -> poolwarden_pool::Handled {
        self.shared.drive_pool(now, pool, input, &mut self.desk)
    }

    pub(crate) fn conn_key(&self, host: HostId, conn: ConnId) -> Option<u32> {
        self.conns.find(host, conn.index, conn.generation)
    }

    pub(crate) fn ticket_key(&self, host: HostId, ticket: Ticket) -> Option<u32> {
        self.tickets.find(host, ticket.index, ticket.generation)
    }

    /// The buffers for one batch's output; given back by `give_out`. A nested batch gets buffers of its own.
    pub(crate) fn take_out(&mut self) -> Out {
        std::mem::take(&mut self.out)
    }

    pub(crate) fn give_out(&mut self, mut out: Out) {
        out.clear();
        self.out = out;
    }
}
