//! One picture of the running process: plain values, told by whoever runs it, read by SHOW and metrics.
//!
//! Nothing here is computed from a clock or fetched: a picture says what was true at `now_ms`.
//! Counters only grow while the process lives; ids and serials are never reused in it.

mod activity;
mod beside;
mod class;
mod connection;
mod lease;

pub use activity::{Activity, Backend, BackendState, MAX_BACKENDS, Quota};
pub use beside::{ChangeView, MAX_CHANGES, ProbeResult, ProbeView};
pub use class::ClassView;
pub use connection::{ClientState, ClientView, PinView, ServerState, ServerView, SessionStateView, SessionView};
pub use lease::{LeaseState, LeaseView, MAX_QUERY, UsageKind, UsageView, Used, WaiterView};

use poolwarden_pool::{HostId, HostSnapshot, Mode, PoolId, PoolKey, PoolSnapshot, ServerFacts};

/// The whole picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Version of the running binary.
    pub version: String,
    /// When the process started, in milliseconds since 1970 UTC.
    pub started_at_ms: u64,
    /// When the picture was taken, in milliseconds since 1970 UTC.
    pub now_ms: u64,
    /// What the process as a whole is doing.
    pub state: ProcessState,
    /// PostgreSQL servers of the configuration.
    pub hosts: Vec<HostView>,
    /// What went through each pool.
    pub traffic: Vec<PoolTraffic>,
    /// Length of the last whole stats period, in microseconds; 0 before there was one. Filled by [`crate::Averages::fill`].
    pub recent_us: u64,
    /// Client connections, cancel requests among them. May be left empty for a scrape: metrics do not read it.
    pub clients: Vec<ClientView>,
    /// Server connections. May be left empty for a scrape: metrics do not read it.
    pub servers: Vec<ServerView>,
    /// Server connections that stay with their clients beyond a transaction. May be left empty for a scrape, too.
    pub pins: Vec<PinView>,
    /// Requests that wait, grouped; the largest groups of each pool. May be left empty for a scrape.
    pub waiters: Vec<WaiterView>,
    /// Who used what.
    pub usage: Vec<UsageView>,
    /// The web tier, as it is seen from here.
    pub probes: Vec<ProbeView>,
    /// The newest changes of the configuration, oldest first.
    pub changes: Vec<ChangeView>,
    /// Session state by pool and kind.
    pub session_state: Vec<SessionStateView>,
    /// Configured databases, and those `*` serves.
    pub databases: Vec<DatabaseView>,
    /// Users known by configuration or by a login.
    pub users: Vec<UserView>,
    /// Classes of requests by their id.
    pub classes: Vec<ClassView>,
    /// The settings in force, without secrets.
    pub config: Vec<ConfigView>,
    /// Event loops, in the order of `LoopId`.
    pub loops: Vec<LoopView>,
    /// The other instances to which cancel requests are forwarded.
    pub peers: Vec<PeerView>,
    /// The process itself.
    pub process: ProcessView,
}

/// Another instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerView {
    /// Its instance id.
    pub id: u8,
    /// Where it listens.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Cancel requests being sent to it.
    pub active: u32,
    /// Cancel requests waiting for their turn.
    pub waiting: u32,
}

impl View {
    /// Milliseconds the process has been up.
    #[must_use]
    pub const fn uptime_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.started_at_ms)
    }

    /// The server of this id, unless it is gone.
    #[must_use]
    pub fn host(&self, id: HostId) -> Option<&HostView> {
        self.hosts.iter().find(|host| host.id == id)
    }

    /// Every pool with the host it belongs to, hosts in their order, pools in theirs.
    pub fn pools(&self) -> impl Iterator<Item = (&HostView, &PoolSnapshot)> {
        self.hosts.iter().flat_map(|host| host.snapshot.pools.iter().map(move |pool| (host, pool)))
    }
}

/// What the process as a whole is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcessState {
    /// Serving.
    #[default]
    Active,
    /// Every pool is paused.
    Paused,
    /// Every pool is paused by SUSPEND.
    Suspended,
    /// Finishing what is lent, lending no more.
    Draining,
}

impl ProcessState {
    /// Every state once.
    pub const ALL: [Self; 4] = [Self::Active, Self::Paused, Self::Suspended, Self::Draining];

    /// The state's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Suspended => "suspended",
            Self::Draining => "draining",
        }
    }
}

/// One PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// Its id, which stays whatever comes and goes.
    pub id: HostId,
    /// Its name in the configuration.
    pub name: String,
    /// Host name, address or socket directory.
    pub address: String,
    /// Port.
    pub port: u16,
    /// What the core knows.
    pub snapshot: HostSnapshot,
    /// What PostgreSQL told over the watch connection; `None` before the first answer.
    pub facts: Option<ServerFacts>,
    /// What PostgreSQL told of its backends; `None` before the first answer, and while the watch connection is not there.
    pub activity: Option<Activity>,
    /// Why the watch connection is not there, while it is not.
    pub watch_error: Option<String>,
}

/// What went through one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTraffic {
    /// Its server, which may be gone from [`View::hosts`].
    pub host: HostId,
    /// The pool.
    pub pool: PoolId,
    /// Its name; stays when the pool was retired.
    pub key: PoolKey,
    /// PostgreSQL's own name of the database.
    pub server_database: String,
    /// Since the process started.
    pub totals: Traffic,
    /// Of that, in the last whole stats period. Filled by [`crate::Averages::fill`].
    pub recent: Traffic,
    /// How long queries took, since the process started, by bucket of `WAIT_BUCKETS`.
    pub query: [u64; 16],
    /// How long transactions waited for their client's next request, likewise.
    pub idle_in_transaction: [u64; 16],
}

/// Counts and times of traffic, in PgBouncer's sense of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Transactions ended.
    pub xact_count: u64,
    /// Queries ended.
    pub query_count: u64,
    /// Bytes from clients.
    pub bytes_received: u64,
    /// Bytes to clients.
    pub bytes_sent: u64,
    /// Microseconds in transactions, idle in transaction included.
    pub xact_time_us: u64,
    /// Microseconds with a query in flight.
    pub query_time_us: u64,
    /// Microseconds clients waited for a server connection.
    pub wait_time_us: u64,
    /// Parse messages of clients.
    pub client_parse_count: u64,
    /// Parse messages sent to PostgreSQL.
    pub server_parse_count: u64,
    /// Bind messages.
    pub bind_count: u64,
    /// Logins of clients.
    pub client_login_count: u64,
    /// Server connections lent.
    pub server_assignment_count: u64,
    /// Microseconds in transactions with no query in flight.
    pub idle_in_transaction_us: u64,
    /// Transactions that were idle for long enough to be said so in the log.
    pub idle_warned: u64,
    /// Transactions ended because they were idle while others waited.
    pub idle_ended: u64,
    /// Transactions that would have been ended for it, had the guard acted.
    pub idle_spared: u64,
}

/// One database that clients may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseView {
    /// Name clients ask for.
    pub name: String,
    /// PostgreSQL's host name, address or socket directory.
    pub host: String,
    /// PostgreSQL's port.
    pub port: u16,
    /// PostgreSQL's own name of the database; `None` for `*`.
    pub database: Option<String>,
    /// User every client of it is logged in as.
    pub force_user: Option<String>,
    /// Most server connections per user.
    pub pool_size: u32,
    /// Kept open per user.
    pub min_pool_size: u32,
    /// Beyond the size.
    pub reserve_pool_size: u32,
    /// Age at which an idle server connection is closed, in seconds.
    pub server_lifetime_s: u64,
    /// When a server connection returns.
    pub pool_mode: Mode,
    /// Most server connections of all users together; `None` is unlimited.
    pub max_connections: Option<u32>,
    /// Server connections there are.
    pub current_connections: u32,
    /// Most clients; `None` is unlimited.
    pub max_client_connections: Option<u32>,
    /// Clients there are.
    pub current_client_connections: u32,
    /// Lends no more until resumed.
    pub paused: bool,
    /// Refuses who comes.
    pub disabled: bool,
}

/// One user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserView {
    /// Name.
    pub name: String,
    /// Overrides the database's pool size.
    pub pool_size: Option<u32>,
    /// Overrides the database's reserve.
    pub reserve_pool_size: Option<u32>,
    /// Overrides the database's mode.
    pub pool_mode: Option<Mode>,
    /// Most server connections over all pools; `None` is unlimited.
    pub max_connections: Option<u32>,
    /// Server connections there are.
    pub current_connections: u32,
    /// Most clients; `None` is unlimited.
    pub max_client_connections: Option<u32>,
    /// Clients there are.
    pub current_client_connections: u32,
}

/// One setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigView {
    /// Its path in the file, `pools.app.size`.
    pub key: String,
    /// The value in force; never a secret.
    pub value: String,
    /// What it would be if nothing were said; `None` where something must be said.
    pub default: Option<String>,
    /// Whether it can change without a restart.
    pub changeable: bool,
}

/// One event loop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoopView {
    /// Client connections on it.
    pub clients: u32,
    /// Server connections on it.
    pub servers: u32,
    /// Thread CPU and run-queue wait, as a share of the last second: 0 to 1.
    pub busy_ratio: f64,
    /// How late its newest turn was, in microseconds.
    pub lag_us: u64,
    /// Server connections that came to it from other loops.
    pub moved: u64,
}

/// How much of something is used, and how much there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Used now.
    pub used: u64,
    /// The most there may be; `None` is unlimited or unknown.
    pub max: Option<u64>,
}

/// What became of cancel requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cancels {
    /// Sent on to PostgreSQL.
    pub forwarded: u64,
    /// Answered here: its client was waiting, and its ticket was refused.
    pub answered: u64,
    /// Refused: no such client, or a wrong secret.
    pub refused: u64,
    /// Dropped: the query had ended, or too many were in flight.
    pub dropped: u64,
}

/// The process itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessView {
    /// File descriptors.
    pub fds: Uses,
    /// Client connections after login.
    pub clients: Uses,
    /// Client connections before the end of their login.
    pub logins: Uses,
    /// Bytes held in buffers, of the memory budget.
    pub memory_bytes: Uses,
    /// Clients refused before they entered a pool, by limit, in the order of `Limit::ALL`.
    pub refused_clients: [u64; 16],
    /// Client connections accepted.
    pub clients_opened: u64,
    /// How long logins took that ended well, from the client's first word, by bucket of `WAIT_BUCKETS`.
    pub login: [u64; 16],
    /// CPU time of the process, nanoseconds.
    pub cpu_nanos: u64,
    /// Logins that failed, by reason.
    pub login_failures: Vec<(&'static str, u64)>,
    /// Keys derived from passwords (PBKDF2).
    pub scram_derivations: u64,
    /// Cancel requests.
    pub cancels: Cancels,
    /// Log lines dropped because the writer was behind.
    pub log_dropped: u64,
    /// Facts dropped because their reader was behind.
    pub facts_dropped: u64,
    /// Reloads that were applied.
    pub reloads: u64,
    /// Reloads that were refused.
    pub reloads_failed: u64,
    /// The certificates in use, of bundles of authorities the one that ends first.
    pub certificates: Vec<CertificateView>,
    /// Hash of the configuration in force, hexadecimal; empty when not known.
    pub config_hash: String,
}

/// A certificate in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateView {
    /// What for: `listen`, `listen_client_ca`, `server`, `server_ca`.
    pub place: &'static str,
    /// The server's name; empty where it is for clients.
    pub host: String,
    /// Its subject.
    pub subject: String,
    /// Its last second, since 1970 UTC.
    pub not_after: i64,
}
