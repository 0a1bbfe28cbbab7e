//! The lease: asking the core for a server connection, getting it, giving it back.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_pool::{
    Action, Checkin, ConnId, Failure, Fitness, Handled, HostId, Input, LoopId, Phases, Refusal, Request, Ticket, Time,
};
use poolwarden_relay::{Keep, LeaseEnd, Refused};

use crate::client::Stage;
use crate::io::{Io, Peer};
use crate::mail::Mail;
use crate::passage::Passing;
use crate::refusal::{self, Hearer, Told};
use crate::report::Totals;
use crate::server::Standing;
use crate::shared::PoolShare;
use crate::switch::Switch;
use crate::usage::Bill;

/// What became of a client's wish for a server connection.
pub(crate) enum Asked {
    /// It has one.
    Granted,
    /// It stands in the queue.
    Waits,
    /// No.
    Refused(Box<Refusal>),
}

impl<L> Switch<L> {
    /// Asks the core for a server connection for `key`.
    pub(crate) fn checkout<I: Io<Link = L>>(&mut self, now: Time, key: u32, io: &mut I) -> Asked {
        let Some(client) = self.clients.at_mut(key) else { return Asked::Waits };
        client.requested_at = now.as_nanos();
        let pool = client.pool.clone();
        let request = Request {
            pool: pool.id,
            class: client.claim.class,
            tenant: client.claim.tenant,
            attempt: client.claim.attempt,
            deadline: client.claim.deadline,
            home: self.me,
            flavor: client.relay.settings.flavor(),
            client: client.serial as u32, // the lower half tells clients of a time apart
        };
        match self.drive(now, &pool, Input::Checkout(request)) {
            Handled::Queued(ticket) => self.queued(now, key, &pool, ticket, io),
            Handled::Refused(refusal) => Asked::Refused(refusal),
            Handled::Done | Handled::Entered(_) | Handled::Cancelled | Handled::AlreadyGranted(_) | Handled::Stale => {
                Asked::Refused(Box::new(refusal::pool_is_gone()))
            }
        }
    }

    /// The request has a ticket. If its grant is among the actions already, and the connection is here, it is taken at once.
    fn queued<I: Io<Link = L>>(&mut self, now: Time, key: u32, pool: &PoolShare, ticket: Ticket, io: &mut I) -> Asked {
        if let Some(client) = self.clients.at_mut(key) {
            client.stage = Stage::Waiting { ticket };
        }
        self.tickets.set(pool.host, ticket.index, ticket.generation, key);
        let granted = self.desk.actions.iter().position(
            |(host, action)| matches!(action, Action::Grant { ticket: granted, .. } if *granted == ticket && *host == pool.host),
        );
        let Some(at) = granted else { return Asked::Waits };
        let Some((host, Action::Grant { conn, .. })) = self.desk.actions.remove(at) else { return Asked::Waits };
        if let Some(server) = self.usable(now, host, conn) {
            self.lend(now, key, server, io);
            return Asked::Granted;
        }
        self.tickets.clear(host, ticket.index, ticket.generation);
        self.checkout(now, key, io) // once more for each connection that has just died
    }

    /// The connection that was granted, if it lives here and has not announced its end; one that has is given back.
    fn usable(&mut self, now: Time, host: HostId, conn: ConnId) -> Option<u32> {
        let server = self.conn_key(host, conn)?;
        if self.servers.at(server).is_some_and(|slot| slot.relay.said_fatal()) {
            self.give_back_broken(now, server);
            return None;
        }
        Some(server)
    }

    /// The core has granted a connection that lives here to a ticket, whose client may live elsewhere.
    pub(crate) fn granted<I: Io<Link = L>>(
        &mut self,
        now: Time,
        host: HostId,
        (ticket, conn, to): (Ticket, ConnId, LoopId),
        io: &mut I,
    ) {
        let server = self.usable(now, host, conn);
        if to != self.me {
            let mail = match server.and_then(|server| self.move_out(server, io)) {
                Some(newcomer) => Mail::Arrive(Box::new(newcomer), ticket),
                None => Mail::Lost(host, ticket),
            };
            return self.shared.post(to, mail, &mut self.desk);
        }
        match (self.ticket_key(host, ticket), server) {
            (Some(client), Some(server)) => {
                self.lend(now, client, server, io);
                self.begin(now, client, io);
            }
            (None, Some(server)) => self.give_back_unused(now, server),
            (_, None) => self.lost(now, host, ticket, io),
        }
    }

    /// The connection granted to a ticket ended before it arrived: its client asks again.
    pub(crate) fn lost<I: Io<Link = L>>(&mut self, now: Time, host: HostId, ticket: Ticket, io: &mut I) {
        let Some(key) = self.ticket_key(host, ticket) else { return };
        self.tickets.clear(host, ticket.index, ticket.generation);
        if let Some(client) = self.clients.at_mut(key) {
            client.stage = Stage::Idle;
        }
        match self.checkout(now, key, io) {
            Asked::Granted => self.begin(now, key, io),
            Asked::Waits => {}
            Asked::Refused(refusal) => self.refuse_client(now, key, &refusal, io),
        }
    }

    /// Pairs them.
    fn lend<I: Io<Link = L>>(&mut self, now: Time, key: u32, server: u32, io: &mut I) {
        let mut out = self.take_out();
        let known = self.strangers > 0 && self.known(key).is_some(); // then this connection is not needed
        if let (Some(client), Some(slot)) = (self.clients.at_mut(key), self.servers.at_mut(server)) {
            if let Stage::Waiting { ticket } = client.stage {
                self.tickets.clear(client.pool.host, ticket.index, ticket.generation);
            }
            client.stage = Stage::Leased { server };
            slot.standing = Standing::Leased { client: key };
            client.claim.granted();
            let waited = now.as_nanos().saturating_sub(client.requested_at);
            if !client.greeted {
                client.relay.settings = slot.relay.defaults().differences(&client.asked);
            }
            if !known {
                let terms = slot.rules(self.shared.rules_number()).lease;
                slot.relay.lend(now.as_nanos(), terms, &mut client.relay, &mut out);
            }
            slot.bill = self.usage.payer(client).map(|payer| Bill { payer, waited });
            let pool = client.pool.clone();
            let totals = self.count(&pool);
            totals.assignments += 1;
            totals.waited_nanos += waited;
        }
        if !out.server.is_empty() {
            self.send_server(server, out.server.bytes(&[]), io);
        }
        if !out.client.is_empty() {
            self.send_client(key, out.client.bytes(&[]), io);
        }
        self.give_out(out);
    }

    /// The client has just been lent a connection: it goes on with what it wanted it for.
    pub(crate) fn begin<I: Io<Link = L>>(&mut self, now: Time, key: u32, io: &mut I) {
        let Some(client) = self.clients.at(key) else { return };
        let Stage::Leased { server } = client.stage else { return };
        if client.greeted {
            io.resume(Peer::Client(key));
            return self.again.push_back(key);
        }
        if let Some((defaults, settings)) = self.known(key) {
            self.welcome_unlent(key, &defaults, settings, io);
            self.give_back_unused(now, server);
        } else if self.servers.at(server).is_some_and(|slot| slot.relay.takes_input()) {
            self.welcome_here(now, key, server, io); // nothing has to be set first
        }
    }

    /// A lease is over and the connection clean.
    pub(crate) fn release<I: Io<Link = L>>(&mut self, now: Time, server: u32, io: &mut I) {
        let Some(slot) = self.servers.at_mut(server) else { return };
        let client = if let Standing::Leased { client } = slot.standing { Some(client) } else { None };
        let rules = slot.rules(self.shared.rules_number());
        let fitness = match (slot.doomed || slot.relay.is_tangled(), slot.relay.keep()) {
            (true, _) => Fitness::Broken,
            (false, Keep::Session) if rules.resets => Fitness::NeedsReset,
            (false, _) if rules.resets_always => Fitness::NeedsReset,
            (false, _) => Fitness::Clean,
        };
        if let Some(client) = client {
            self.free(now, client, io);
        }
        self.check_in(now, server, fitness);
    }

    /// The client of a lease that ended well may want more, or must leave because the process is stopping.
    fn free<I: Io<Link = L>>(&mut self, now: Time, key: u32, io: &mut I) {
        let Some(client) = self.clients.at_mut(key) else { return };
        client.stage = Stage::Idle;
        client.idle_since = now.as_nanos();
        if !client.relay.pending.is_empty() {
            self.again.push_back(key);
        } else if self.draining {
            return self.dismiss(now, key, &refusal::STOPPING, io);
        } else {
            client.relay.rest();
        }
        io.resume(Peer::Client(key));
    }

    /// A lease is over and its client unharmed, but the connection cannot be lent again.
    pub(crate) fn spoiled<I: Io<Link = L>>(&mut self, now: Time, server: u32, io: &mut I) {
        let Some(slot) = self.servers.at(server) else { return };
        if let Standing::Leased { client } = slot.standing {
            self.free(now, client, io);
        }
        self.give_back_broken(now, server);
    }

    /// A connection that was granted and never used.
    pub(crate) fn give_back_unused(&mut self, now: Time, server: u32) {
        let Some(slot) = self.servers.at_mut(server) else { return };
        slot.relay.touch(now.as_nanos());
        let fitness = if slot.doomed { Fitness::Broken } else { Fitness::Clean };
        self.check_in(now, server, fitness);
    }

    /// A connection that cannot be mended: the core will have it closed.
    pub(crate) fn give_back_broken(&mut self, now: Time, server: u32) {
        if let Some(slot) = self.servers.at_mut(server) {
            slot.runs = slot.relay.is_busy();
        }
        self.check_in(now, server, Fitness::Broken);
    }

    fn check_in(&mut self, now: Time, server: u32, fitness: Fitness) {
        let end = self.close_books(now, server);
        let Some(slot) = self.servers.at_mut(server) else { return };
        slot.standing = Standing::Idle;
        slot.used_at = now.as_nanos();
        let (pool, conn, flavor) = (slot.pool.clone(), slot.conn, slot.relay.flavor());
        let phases = Phases {
            on_server: Duration::from_nanos(end.on_server),
            idle_in_transaction: Duration::from_nanos(end.idle_in_transaction),
        };
        self.drive(now, &pool, Input::Checkin(conn, Checkin { fitness, flavor, home: self.me, phases }));
    }

    /// Ends the lease's accounts.
    pub(crate) fn close_books(&mut self, now: Time, server: u32) -> LeaseEnd {
        let Some(slot) = self.servers.at_mut(server) else { return LeaseEnd::default() };
        let end = slot.relay.settle(now.as_nanos());
        slot.cancel_next = false;
        if let Some(bill) = slot.bill.take() {
            self.usage.charge(&bill, &end, slot.relay.heard());
        }
        let tally = slot.relay.take_tally();
        let pool = slot.pool.clone();
        self.count(&pool).add(&end);
        if let Some(tally) = tally {
            self.count(&pool).state.add(&tally);
        }
        end
    }

    /// A ticket will not be served.
    pub(crate) fn refused<I: Io<Link = L>>(
        &mut self,
        now: Time,
        host: HostId,
        ticket: Ticket,
        refusal: &Refusal,
        io: &mut I,
    ) {
        let Some(key) = self.ticket_key(host, ticket) else { return };
        self.tickets.clear(host, ticket.index, ticket.generation);
        self.refuse_client(now, key, refusal, io);
    }

    /// The request of `key` is refused: told, and its session goes on where that can be.
    pub(crate) fn refuse_client<I: Io<Link = L>>(&mut self, now: Time, key: u32, refusal: &Refusal, io: &mut I) {
        let Some(client) = self.clients.at_mut(key) else { return };
        client.claim.refused(now, true);
        let key_of = client.pool.key.clone();
        let (database, user) = (&*key_of.database, &*key_of.user);
        let book = self.shared.book();
        let class = book.classes.name(refusal.class);
        let own = (client.claim.deadline != Time::NEVER).then_some(client.claim.deadline);
        let patience = own.map(|until| until.since(Time::from_nanos(client.requested_at)));
        let hearer = Hearer { database, user, class, patience, starting: !client.greeted, draining: self.draining };
        let told = match &refusal.failure {
            Some(failure)
                if client.pool.is_alone() && matches!(failure.kind, Failure::Database | Failure::Password { .. }) =>
            {
                refusal::servers_own(failure)
            }
            Some(_) | None => refusal::told(refusal, hearer),
        };
        self.tell_refused(now, key, &told, io);
    }

    /// Tells a client that its pending requests are refused.
    pub(crate) fn tell_refused<I: Io<Link = L>>(&mut self, now: Time, key: u32, told: &Told<'_>, io: &mut I) {
        if let Some(client) = self.clients.at_mut(key) {
            client.claim.refused(now, false);
            self.usage.refused(client);
        }
        self.answer_refused(now, key, told, io);
    }

    /// Answers a client's pending requests with an error.
    pub(crate) fn answer_refused<I: Io<Link = L>>(&mut self, now: Time, key: u32, told: &Told<'_>, io: &mut I) {
        self.refusals += 1;
        self.note(key, |_| Passing::Refused(told.spoken(self.rules.voice).to_owned()));
        let Some(client) = self.clients.at_mut(key) else { return };
        client.stage = Stage::Idle;
        client.idle_since = now.as_nanos();
        if !client.greeted {
            return self.dismiss(now, key, told, io);
        }
        if io.has_unread(Peer::Client(key)) {
            client.relay.has_sent_more(); // what is read later must not run outside the transaction that is refused now
        }
        let error = told.error(self.rules.voice);
        let mut reply = Vec::with_capacity(error.len() + 16); // one error and its ReadyForQuery, mostly
        match client.relay.refuse(&error, &mut reply) {
            Ok(Refused::Answered) => {
                self.send_client(key, &reply, io);
                self.again.push_back(key);
                io.resume(Peer::Client(key));
            }
            Ok(Refused::Ends) => {
                self.send_client(key, &reply, io);
                self.dismiss(now, key, told, io);
            }
            Err(fault) => self.fail_client(now, key, &fault, io),
        }
    }

    /// How many times requests were refused.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Everybody whose reading or sending others wait for: server connections in use, and who holds them.
    pub fn busy(&self) -> impl Iterator<Item = Peer> {
        self.servers.iter().flat_map(|(key, slot)| {
            let client = match slot.standing {
                Standing::Leased { client } => Some(Peer::Client(client)),
                Standing::Idle | Standing::Farewell | Standing::Resetting | Standing::Ending => None,
            };
            let server = (slot.standing != Standing::Idle).then_some(Peer::Server(key));
            client.into_iter().chain(server)
        })
    }

    /// The numbers of a pool on this loop.
    pub(crate) fn count(&mut self, pool: &Arc<PoolShare>) -> &mut Totals {
        if self.totals.len() <= pool.number {
            self.totals.resize_with(pool.number + 1, || None);
        }
        &mut self.totals[pool.number].get_or_insert_with(|| (pool.clone(), Totals::default())).1
    }
}
