//! How a client comes in: it enters its pool, its settings are proven on a server connection where they are not known to be good,
//! it is told what the server said of itself, and it begins.
//!
//! ```text
//! join ─ settings known, connections are shared ──────────────────────────► welcomed
//!   └─ else: waits as for a request ─ lent ─ settings set ─ welcomed from that connection ─ kept (session mode) or given back
//!                 └─ refused ─► its last word       └─ refused by the server ─► the server's words
//! ```

use std::sync::Arc;

use poolwarden_pool::{Handled, Input, PoolId, Ticket, Time};
use poolwarden_relay::pgwire::make;
use poolwarden_relay::{Client, Defaults, Keep, MAX_SETTINGS, Settings};

use crate::claim::Claim;
use crate::client::{ClientSlot, Stage};
use crate::io::{Io, Peer};
use crate::lending::Asked;
use crate::mail::Joining;
use crate::passage::Passing;
use crate::refusal::{self, Hearer};
use crate::shared::PoolShare;
use crate::switch::Switch;
use crate::usage::Payer;

impl<L> Switch<L> {
    pub(crate) fn join<I: Io<Link = L>>(&mut self, now: Time, joining: Joining, link: L, io: &mut I) {
        if self.draining {
            return io.turn_away(link, &refusal::STOPPING.fatal(self.rules.voice));
        }
        if joining.settings.len() > MAX_SETTINGS {
            return io.turn_away(link, &refusal::TOO_MANY_SETTINGS.fatal(self.rules.voice));
        }
        let pool = match self.enter(now, &joining) {
            Ok(pool) => pool,
            Err(told) => return io.turn_away(link, &told),
        };
        let pairs = joining.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut relay = Client::default();
        relay.scope = u32::try_from(pool.number).unwrap_or(u32::MAX); // pools are bounded far below
        relay.keep(&joining.leftover);
        let key = self.clients.insert(ClientSlot {
            relay,
            stage: Stage::Idle,
            pool: pool.clone(),
            login: joining.user,
            claim: Claim::new(joining.deadline),
            payer: Payer::default(),
            greeted: false,
            blocked: false,
            blocked_at: Time::ZERO,
            secret: joining.secret,
            told_pid: None,
            asked: Settings::new(pairs),
            serial: joining.serial,
            connected_at: joining.connected_at,
            requested_at: now.as_nanos(),
            idle_since: now.as_nanos(),
            remote: joining.remote,
            local: joining.local,
            tls: joining.tls,
        });
        io.attach(Peer::Client(key), link);
        self.count(&pool).logins += 1;
        self.strangers += 1;
        self.note(key, |_| Passing::Came);
        if let Some((defaults, settings)) = self.known(key) {
            return self.welcome_unlent(key, &defaults, settings, io);
        }
        self.know(key);
        self.weigh(now, key, &[]);
        match self.checkout(now, key, io) {
            Asked::Granted => self.begin(now, key, io),
            Asked::Waits => {}
            Asked::Refused(refusal) => self.refuse_client(now, key, &refusal, io),
        }
    }

    /// Has it enter its pool.
    ///
    /// # Errors
    /// Its last word.
    fn enter(&mut self, now: Time, joining: &Joining) -> Result<Arc<PoolShare>, Vec<u8>> {
        let key = joining.key.clone();
        if joining.alone.is_some() && self.shared.keep(&key) == Keep::Statement {
            return Err(refusal::NO_REPLICATION.fatal(self.rules.voice));
        }
        let input = if joining.alone.is_some() { Input::EnterAlone(key) } else { Input::Enter(key) };
        let handled = self.shared.drive(now, joining.host, input, &mut self.desk);
        let id: PoolId = match handled {
            Handled::Entered(id) => id,
            Handled::Refused(refusal) => {
                let (database, user) = (&*joining.key.database, &*joining.key.user);
                let book = self.shared.book();
                let class = book.classes.name(refusal.class);
                let (patience, draining) = (None, self.draining);
                let hearer = Hearer { database, user, class, patience, starting: true, draining };
                return Err(refusal::told(&refusal, hearer).fatal(self.rules.voice));
            }
            Handled::Done | Handled::Queued(_) | Handled::Cancelled | Handled::AlreadyGranted(_) | Handled::Stale => {
                return Err(refusal::STOPPING.fatal(self.rules.voice));
            }
        };
        let pool = match &joining.alone {
            Some(startup) => self.shared.alone(joining.host, id, startup.clone()),
            None => self.shared.pool(joining.host, id),
        };
        pool.ok_or_else(|| refusal::STOPPING.fatal(self.rules.voice))
    }

    /// What a client is to be told, where no server connection is needed for that.
    pub(crate) fn known(&self, key: u32) -> Option<(Arc<Defaults>, Settings)> {
        let client = self.clients.at(key).filter(|client| !client.greeted)?;
        match client.pool.terms().keep {
            Keep::Session | Keep::Tunnel => None,
            Keep::Transaction | Keep::Statement => client.pool.known(&client.asked),
        }
    }

    /// Welcomes a client that has no server connection, and needs none.
    pub(crate) fn welcome_unlent<I: Io<Link = L>>(
        &mut self,
        key: u32,
        defaults: &Defaults,
        settings: Settings,
        io: &mut I,
    ) {
        if let Some(client) = self.clients.at_mut(key) {
            client.relay.settings = settings;
            client.stage = Stage::Idle;
        }
        let pid = self.cancel_pid(key);
        self.welcome(key, defaults, pid, io);
    }

    /// Welcomes a client from the connection it has, which has its settings: it keeps it in session mode.
    pub(crate) fn welcome_here<I: Io<Link = L>>(&mut self, now: Time, key: u32, server: u32, io: &mut I) {
        let (Some(client), Some(slot)) = (self.clients.at_mut(key), self.servers.at(server)) else { return };
        let defaults = slot.relay.defaults().clone();
        client.pool.prove(&client.asked, &client.relay.settings, &defaults);
        let pool = client.pool.clone();
        let keeps = matches!(slot.relay.keep(), Keep::Session | Keep::Tunnel);
        let own = slot.relay.pid.filter(|_| keeps);
        let pid = match own.filter(|pid| self.shared.add_key(*pid, client.secret, (self.me, key))) {
            Some(pid) => {
                client.told_pid = Some(pid);
                pid
            }
            None => self.cancel_pid(key), // it may have a request that waits cancelled, or nothing at all
        };
        self.welcome(key, &defaults, pid, io);
        if !keeps {
            self.release(now, server, io);
        }
        if self.strangers > 0 {
            self.welcome_all(now, &pool, io);
        }
    }

    /// Tells a client what the server reported, its cancel key, and that it may begin.
    fn welcome<I: Io<Link = L>>(&mut self, key: u32, defaults: &Defaults, pid: u32, io: &mut I) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let mut hello = Vec::with_capacity(512);
        for (name, default) in defaults.iter() {
            let lower = name.to_ascii_lowercase();
            make::parameter_status(&mut hello, name, client.relay.settings.value(&lower).unwrap_or(default));
        }
        make::backend_key(&mut hello, pid, client.secret.bytes());
        make::ready(&mut hello, b'I');
        client.asked = Settings::default();
        client.greeted = true;
        client.relay.greeted(client.pool.welcome());
        client.idle_since = self.last.as_nanos();
        self.strangers -= 1;
        self.send_client(key, &hello, io);
        io.resume(Peer::Client(key));
        self.again.push_back(key);
    }

    /// More is known of the pool's servers: who waited for that alone is welcomed, and needs no connection any more.
    pub(crate) fn welcome_all<I: Io<Link = L>>(&mut self, now: Time, pool: &Arc<PoolShare>, io: &mut I) {
        let strangers: Vec<(u32, Ticket)> = self
            .clients
            .iter()
            .filter(|(_, client)| !client.greeted && Arc::ptr_eq(&client.pool, pool))
            .filter_map(|(key, client)| match client.stage {
                Stage::Waiting { ticket } => Some((key, ticket)),
                Stage::Idle | Stage::Leased { .. } => None,
            })
            .collect();
        for (key, ticket) in strangers {
            let Some((defaults, settings)) = self.known(key) else { continue };
            self.tickets.clear(pool.host, ticket.index, ticket.generation);
            self.drive(now, pool, Input::Withdraw(ticket)); // a grant on its way finds nobody and goes back
            self.welcome_unlent(key, &defaults, settings, io);
        }
    }

    /// The server has refused a client's settings: the client is told so in its words. The query that failed changed nothing, so
    /// outside a transaction the connection is as good as before.
    pub(crate) fn settings_refused<I: Io<Link = L>>(&mut self, now: Time, key: u32, server: u32, io: &mut I) {
        let Some(slot) = self.servers.at_mut(server) else { return };
        let failure = slot.relay.failure().unwrap_or_default();
        slot.pool.doubt(); // what was good before may be what is refused now
        let told = refusal::settings(&failure);
        let as_before = slot.relay.is_releasable() && slot.relay.settings().is_empty(); // else it was to be reset, and was not
        if as_before {
            self.give_back_unused(now, server);
        } else {
            self.give_back_broken(now, server); // it failed in mid-transaction, or was asked what the client had left
        }
        if let Some(client) = self.clients.at_mut(key) {
            client.stage = Stage::Idle;
        }
        self.send_client(key, &told, io);
        self.client_gone(now, key, io);
    }
}
