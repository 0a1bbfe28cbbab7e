//! One picture of the running process: plain values, told by whoever runs it, read by SHOW and metrics.
//!
//! Nothing here is computed from a clock or fetched: a picture says what was true at `now_ms`.
//! Counters only grow while the process lives; ids and serials are never reused in it.

use poolwarden_pool::{HostSnapshot, Mode, PoolId, PoolKey, PoolSnapshot, ServerFacts};

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
    /// PostgreSQL servers, in the order of `HostId`.
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
    /// Session state by pool and kind.
    pub session_state: Vec<SessionStateView>,
    /// Configured databases, and those `*` serves.
    pub databases: Vec<DatabaseView>,
    /// Users known by configuration or by a login.
    pub users: Vec<UserView>,
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
    /// Why the watch connection is not there, while it is not.
    pub watch_error: Option<String>,
}

/// What went through one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolTraffic {
    /// Index into [`View::hosts`].
    pub host: usize,
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
}

/// What a client connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Holds a server connection.
    Active,
    /// Wants nothing.
    Idle,
    /// Waits for a server connection.
    Waiting,
    /// A cancel request on its way to PostgreSQL.
    ActiveCancelReq,
    /// A cancel request not sent yet.
    WaitingCancelReq,
}

impl ClientState {
    /// PgBouncer's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::ActiveCancelReq => "active_cancel_req",
            Self::WaitingCancelReq => "waiting_cancel_req",
        }
    }
}

/// One client connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientView {
    /// Its serial, unique in the process.
    pub id: u64,
    /// User it logged in as.
    pub user: String,
    /// Database it asked for.
    pub database: String,
    /// What it is doing.
    pub state: ClientState,
    /// Its address; `unix` for a unix socket.
    pub addr: String,
    /// Its port; 0 for a unix socket.
    pub port: u16,
    /// Our address.
    pub local_addr: String,
    /// Our port.
    pub local_port: u16,
    /// When it connected, in milliseconds since 1970 UTC.
    pub connected_at_ms: u64,
    /// When its newest request came, in milliseconds since 1970 UTC.
    pub requested_at_ms: u64,
    /// How long it has waited for a server connection, in microseconds; 0 when it does not.
    pub wait_us: u64,
    /// What it calls itself.
    pub application_name: String,
    /// Serial of the server connection it holds.
    pub link: Option<u64>,
    /// Its process, where a unix socket tells.
    pub remote_pid: Option<u32>,
    /// Statements it has prepared.
    pub prepared_statements: u32,
    /// Protocol and cipher; empty without TLS.
    pub tls: String,
    /// Bytes received from it that wait for a server connection.
    pub received: u64,
    /// What it told its server about texts and times; NULL in SHOW FDS where it told nothing.
    pub session: SessionView,
}

/// Four settings of a session that PgBouncer shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionView {
    /// `client_encoding`.
    pub client_encoding: Option<String>,
    /// `standard_conforming_strings`.
    pub std_strings: Option<String>,
    /// `DateStyle`.
    pub datestyle: Option<String>,
    /// `TimeZone`.
    pub timezone: Option<String>,
}

/// What a server connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Lent.
    Active,
    /// Free to be lent.
    Idle,
    /// Free, and to be checked first.
    Used,
    /// Reset or check under way.
    Tested,
    /// Connect or login under way.
    New,
    /// Carries a cancel request.
    ActiveCancel,
    /// Waits until a cancel request aimed at it has ended.
    BeingCanceled,
    /// Told to go, its end not seen yet.
    Ending,
    /// Its end was not seen in time; still counted.
    Ghost,
}

impl ServerState {
    /// PgBouncer's word for it; `ending` and `ghost` are ours.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Used => "used",
            Self::Tested => "tested",
            Self::New => "new",
            Self::ActiveCancel => "active_cancel",
            Self::BeingCanceled => "being_canceled",
            Self::Ending => "ending",
            Self::Ghost => "ghost",
        }
    }
}

/// One server connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// Its serial, unique in the process.
    pub id: u64,
    /// User it is logged in as.
    pub user: String,
    /// Database as clients ask for it.
    pub database: String,
    /// What it is doing.
    pub state: ServerState,
    /// PostgreSQL's address.
    pub addr: String,
    /// PostgreSQL's port.
    pub port: u16,
    /// Our address.
    pub local_addr: String,
    /// Our port.
    pub local_port: u16,
    /// When the connect began, in milliseconds since 1970 UTC.
    pub connected_at_ms: u64,
    /// When it was last used, in milliseconds since 1970 UTC.
    pub requested_at_ms: u64,
    /// To be closed as soon as it is not lent.
    pub close_needed: bool,
    /// PostgreSQL's process, where it told.
    pub remote_pid: Option<u32>,
    /// Serial of the client that holds it.
    pub link: Option<u64>,
    /// `application_name` it was last told.
    pub application_name: String,
    /// Statements prepared on it.
    pub prepared_statements: u32,
    /// Protocol and cipher; empty without TLS.
    pub tls: String,
    /// The settings it was last told.
    pub session: SessionView,
}

/// One server connection that stays with its client beyond a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinView {
    /// Index into [`View::hosts`].
    pub host: usize,
    /// Database as clients ask for it.
    pub database: String,
    /// User of the pool.
    pub user: String,
    /// Serial of the client.
    pub client: u64,
    /// The client's address; `unix` for a unix socket.
    pub addr: String,
    /// Its port; 0 for a unix socket.
    pub port: u16,
    /// What it calls itself.
    pub application_name: String,
    /// PostgreSQL's process, where it told.
    pub remote_pid: Option<u32>,
    /// Why, in the words of the metrics, with commas.
    pub reason: String,
    /// Since when, in milliseconds since 1970 UTC.
    pub since_ms: u64,
    /// How long the connection has been lent, in microseconds.
    pub held_us: u64,
}

/// What one kind of session state meant in one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStateView {
    /// Index into [`View::hosts`].
    pub host: usize,
    /// The pool.
    pub pool: PoolId,
    /// Which kind.
    pub reason: &'static str,
    /// Connections that stay with their client for it now.
    pub pinned: u64,
    /// Times one began to.
    pub pins: u64,
    /// Requests refused for it.
    pub refused: u64,
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
