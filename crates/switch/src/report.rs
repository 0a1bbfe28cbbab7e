//! What a loop tells when asked: its clients, its server connections, its totals. Plain values.

use core::net::SocketAddr;
use std::sync::Arc;

use poolwarden_pool::{Time, WAIT_BUCKETS};
use poolwarden_relay::{BOUNDS, Doing, LeaseEnd, Pin, Pins, Reading, Settings, Spans, Tally};

use crate::client::{ClientSlot, Stage};
use crate::mail::Asker;
use crate::server::{ServerSlot, Standing};
use crate::shared::PoolShare;
use crate::switch::Switch;
use crate::usage::UsageRow;
use crate::waiting::WaiterRow;

/// The histograms of the relay and those of the core are read side by side.
const _: () = {
    let mut at = 0;
    while at < WAIT_BUCKETS.len() {
        assert!(WAIT_BUCKETS[at] == BOUNDS[at], "one set of bounds");
        at += 1;
    }
};

/// Sums of one pool's leases on one loop, since the loop began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Clients that joined.
    pub logins: u64,
    /// Connections lent.
    pub assignments: u64,
    /// Nanoseconds clients waited for them.
    pub waited_nanos: u64,
    /// Nanoseconds lent.
    pub held_nanos: u64,
    /// Nanoseconds with something outstanding.
    pub on_server_nanos: u64,
    /// Nanoseconds in a transaction with nothing outstanding.
    pub idle_in_transaction_nanos: u64,
    /// Transactions.
    pub transactions: u64,
    /// Rounds.
    pub queries: u64,
    /// Bytes from clients.
    pub to_server: u64,
    /// Bytes to clients.
    pub to_client: u64,
    /// Parse messages of clients.
    pub client_parses: u64,
    /// Parse messages that reached servers.
    pub server_parses: u64,
    /// Bind messages.
    pub binds: u64,
    /// Connections that began to stay with their client, and requests refused, for want of session state.
    pub state: Tally,
    /// Transactions that were idle for 5 s, counted once each.
    pub idle_warned: u64,
    /// Of those, ended because others waited and 60 s were over.
    pub idle_ended: u64,
    /// Of those, that would have been ended, but for `guard = "observe"`.
    pub idle_spared: u64,
    /// How long queries took and transactions were idle.
    pub spans: Spans,
}

impl Totals {
    pub(crate) fn add(&mut self, end: &LeaseEnd) {
        self.held_nanos += end.held;
        self.on_server_nanos += end.on_server;
        self.idle_in_transaction_nanos += end.idle_in_transaction;
        self.transactions += end.counts.transactions;
        self.queries += end.counts.queries;
        self.to_server += end.counts.to_server;
        self.to_client += end.counts.to_client;
        self.client_parses += end.counts.client_parses;
        self.server_parses += end.counts.server_parses;
        self.binds += end.counts.binds;
    }
}

/// The settings of a session that are listed with it.
const SESSION: [&str; 4] = ["client_encoding", "standard_conforming_strings", "datestyle", "timezone"];

fn session(pool: &PoolShare, settings: &Settings) -> [Option<String>; 4] {
    let defaults = pool.welcome();
    SESSION.map(|name| {
        let default = || defaults.as_ref().and_then(|defaults| defaults.value(name));
        settings.value(name).or_else(default).map(str::to_owned)
    })
}

/// What a client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Nothing.
    Idle,
    /// Waiting for a server connection.
    Waiting,
    /// Holding one.
    Active,
    /// A cancel request that waits for its turn.
    CancelWaiting,
    /// A cancel request that is being carried out.
    CancelActive,
}

/// One client.
#[derive(Clone, Debug)]
pub struct ClientRow {
    /// Unique in the process.
    pub serial: u64,
    /// Its pool.
    pub pool: Arc<PoolShare>,
    /// Whom it logged in as.
    pub user: String,
    /// What it is doing.
    pub state: ClientState,
    /// Where it comes from; `None` is a unix socket.
    pub remote: Option<SocketAddr>,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// Version, cipher and key exchange of its TLS; `None` without.
    pub tls: Option<Arc<str>>,
    /// Since when it is connected, nanoseconds.
    pub connected_at: u64,
    /// When its last request came, nanoseconds.
    pub requested_at: u64,
    /// What it calls itself.
    pub application_name: String,
    /// The server connection it holds.
    pub link: Option<u64>,
    /// Its named statements.
    pub statements: usize,
    /// Bytes received from it that wait for a server connection.
    pub received: usize,
    /// The values of `SESSION` that hold for it, as far as they are known.
    pub session: [Option<String>; 4],
}

/// What a server connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Nothing.
    Idle,
    /// Lent.
    Active,
    /// Becoming clean after its client left.
    Cleaning,
    /// Told to end.
    Ending,
}

/// Whom a server connection is lent to, and what goes on.
#[derive(Clone, Debug)]
pub struct LeaseRow {
    /// The client's serial.
    pub client: u64,
    /// What the client calls itself.
    pub application: String,
    /// Where it comes from; `None` is a unix socket.
    pub remote: Option<SocketAddr>,
    /// What goes on.
    pub doing: Doing,
    /// The newest statement, if it could be read.
    pub statement: Option<Arc<Reading>>,
}

/// One server connection.
#[derive(Clone, Debug)]
pub struct ServerRow {
    /// Unique in the process.
    pub serial: u64,
    /// Its pool.
    pub pool: Arc<PoolShare>,
    /// What it is doing.
    pub state: ServerState,
    /// A cancel request towards it is in the air.
    pub fenced: bool,
    /// Where PostgreSQL is; `None` is a unix socket.
    pub remote: Option<SocketAddr>,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// Version, cipher and key exchange of its TLS; `None` without.
    pub tls: Option<Arc<str>>,
    /// Since when it is open, nanoseconds.
    pub opened_at: u64,
    /// When it was last used, nanoseconds; of one that is lent: when its client last asked.
    pub used_at: u64,
    /// PostgreSQL's process.
    pub pid: Option<u32>,
    /// Who holds it.
    pub lease: Option<LeaseRow>,
    /// What it calls its client.
    pub application_name: String,
    /// Its statements.
    pub statements: usize,
    /// The values of `SESSION` it was last told or reported.
    pub session: [Option<String>; 4],
    /// Nanoseconds held, on the server, idle in transaction, in the lease of now.
    pub times: (u64, u64, u64),
    /// Why it stays with its client beyond a transaction, and since when, nanoseconds.
    pub pins: (Pins, u64),
}

/// How much a loop is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Sums and counts.
    Totals,
    /// Server connections one by one as well, who waits, and who used what.
    Servers,
    /// Clients one by one as well.
    Everything,
}

/// What a loop tells.
#[derive(Clone, Debug, Default)]
pub struct LoopReport {
    /// Its clients.
    pub clients: Vec<ClientRow>,
    /// Its server connections.
    pub servers: Vec<ServerRow>,
    /// Who waits.
    pub waiters: Vec<WaiterRow>,
    /// Who used what.
    pub usage: Vec<UsageRow>,
    /// Its totals, by pool, in the order of the pools' numbers.
    pub totals: Vec<(Arc<PoolShare>, Totals)>,
    /// How many server connections stay with their clients now, by pool, in the order of `Pin::ALL`.
    pub pinned: Vec<(Arc<PoolShare>, [u32; Pin::ALL.len()])>,
    /// How many clients and server connections it has (told even where they are not listed).
    pub counts: (usize, usize),
    /// Cancel requests with a right key, and with a wrong one.
    pub cancels: (u64, u64),
    /// Clients ended because they did not read while others waited.
    pub stalled: u64,
    /// Bytes of statement texts.
    pub texts: usize,
}

impl LoopReport {
    /// The totals of a pool, which it is given where it has none.
    fn totals_of(&mut self, pool: &Arc<PoolShare>) -> &mut Totals {
        let at = self.totals.binary_search_by_key(&pool.number, |(other, _)| other.number);
        let at = at.unwrap_or_else(|at| {
            self.totals.insert(at, (pool.clone(), Totals::default()));
            at
        });
        &mut self.totals[at].1
    }
}

/// The connection of a cancel request towards this server connection.
fn asker_row<L>(asker: &Asker<L>, server: &ServerSlot) -> ClientRow {
    ClientRow {
        serial: asker.serial,
        pool: server.pool.clone(),
        user: server.pool.key.user.clone(),
        state: if server.cancelling { ClientState::CancelActive } else { ClientState::CancelWaiting },
        remote: asker.remote,
        local: asker.local,
        tls: None,
        connected_at: asker.connected_at,
        requested_at: asker.connected_at,
        application_name: String::new(),
        link: Some(server.serial),
        statements: 0,
        received: 0,
        session: [None, None, None, None],
    }
}

fn lease_row(client: &ClientSlot, server: &ServerSlot) -> LeaseRow {
    LeaseRow {
        client: client.serial,
        application: client.application().to_owned(),
        remote: client.remote,
        doing: server.relay.doing(),
        statement: server.relay.heard().newest().cloned(),
    }
}

impl<L> Switch<L> {
    /// How many clients and server connections it has.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.clients.len(), self.servers.len())
    }

    /// How many server connections came over from other loops.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// What this loop can tell.
    #[must_use]
    pub fn report(&self, now: Time, detail: Detail) -> LoopReport {
        let mut report = LoopReport {
            totals: self.totals.iter().flatten().cloned().collect(),
            counts: (self.clients.len(), self.servers.len()),
            cancels: self.cancels,
            stalled: self.stalled,
            texts: self.texts.bytes(),
            ..LoopReport::default()
        };
        self.report_spans(&mut report);
        self.report_pins(&mut report);
        if detail >= Detail::Servers {
            report.servers = self.servers.iter().map(|(_, server)| self.server_row(now, server)).collect();
            report.waiters = self.waiters();
            report.usage = self.usage.rows();
        }
        if detail == Detail::Everything {
            report.clients = self.clients.iter().map(|(_, client)| self.client_row(client)).collect();
            report.clients.extend(self.askers.iter().flat_map(|(server, askers)| {
                let server = self.servers.at(*server);
                askers.iter().filter_map(move |asker| Some(asker_row(asker, server?)))
            }));
        }
        report
    }

    /// Adds the spans of the connections there are to those of connections that are gone.
    fn report_spans(&self, report: &mut LoopReport) {
        for (_, server) in self.servers.iter() {
            report.totals_of(&server.pool).spans.add(server.relay.spans());
        }
    }

    /// What keeps server connections with their clients now; what has not been added up yet of leases that go on.
    fn report_pins(&self, report: &mut LoopReport) {
        for (_, server) in self.servers.iter().filter(|(_, server)| matches!(server.standing, Standing::Leased { .. }))
        {
            let same = |pool: &Arc<PoolShare>| Arc::ptr_eq(pool, &server.pool);
            if let Some(tally) = server.relay.tally() {
                report.totals_of(&server.pool).state.add(tally);
            }
            let (pins, _) = server.relay.pins();
            if pins.is_empty() {
                continue;
            }
            if !report.pinned.iter().any(|(pool, _)| same(pool)) {
                report.pinned.push((server.pool.clone(), [0; Pin::ALL.len()]));
            }
            let counts = report.pinned.iter_mut().find(|(pool, _)| same(pool));
            for (count, pin) in counts.into_iter().flat_map(|(_, counts)| counts).zip(Pin::ALL) {
                *count += u32::from(pins.has(pin));
            }
        }
    }

    fn client_row(&self, client: &ClientSlot) -> ClientRow {
        let (state, server) = match client.stage {
            Stage::Idle => (ClientState::Idle, None),
            Stage::Waiting { .. } => (ClientState::Waiting, None),
            Stage::Leased { server } => (ClientState::Active, self.servers.at(server)),
        };
        ClientRow {
            serial: client.serial,
            pool: client.pool.clone(),
            user: client.user().to_owned(),
            state,
            remote: client.remote,
            local: client.local,
            tls: client.tls.clone(),
            connected_at: client.connected_at,
            requested_at: client.requested_at,
            application_name: client.relay.settings.value("application_name").unwrap_or_default().into(),
            link: server.map(|server| server.serial),
            statements: client.relay.statements(),
            received: client.relay.pending.len(),
            session: session(&client.pool, &client.relay.settings),
        }
    }

    fn server_row(&self, now: Time, server: &ServerSlot) -> ServerRow {
        let (state, client) = match server.standing {
            Standing::Idle => (ServerState::Idle, None),
            Standing::Leased { client } => (ServerState::Active, self.clients.at(client)),
            Standing::Farewell | Standing::Resetting => (ServerState::Cleaning, None),
            Standing::Ending => (ServerState::Ending, None),
        };
        ServerRow {
            serial: server.serial,
            pool: server.pool.clone(),
            state,
            fenced: server.fenced,
            remote: server.remote,
            local: server.local,
            tls: server.tls.clone(),
            opened_at: server.opened_at,
            used_at: client.map_or(server.used_at, |client| client.requested_at),
            pid: server.relay.pid,
            lease: client.map(|client| lease_row(client, server)),
            application_name: server.relay.settings().value("application_name").unwrap_or_default().into(),
            statements: server.relay.statements(),
            session: session(&server.pool, server.relay.settings()),
            times: server.relay.times(now.as_nanos()),
            pins: if client.is_some() { server.relay.pins() } else { (Pins::NONE, 0) },
        }
    }
}
