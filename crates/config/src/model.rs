//! The configuration, valid by construction: only [`Config::parse`] and its siblings make one.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{DatabaseSettings, HostId, Mode, UserSettings};

use crate::hba::HbaRule;
use crate::ident::IdentLine;
use crate::pgbouncer;
use crate::secret::Secret;
use crate::show::Shown;
use crate::value::Network;

mod class;
mod host;
mod probe;
mod server;
mod tls;

pub use class::Class;
pub use probe::Probe;
pub use tls::{ChannelBinding, ListenTls, ServerTls, TlsIdentity, TlsMode, TlsVersion};

/// Everything one poolwarden obeys.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[poolwarden]`.
    pub poolwarden: Process,
    /// `[listen]`.
    pub listen: Listen,
    /// `[console]`.
    pub console: Console,
    /// `[log]`.
    pub log: Log,
    /// `[auth]`.
    pub auth: Auth,
    /// `[servers.NAME]` in the order of their names; at least one. A server's index is its place here, in this configuration alone;
    /// its id stays ([`Config::keep_server_ids`]).
    pub servers: Vec<Server>,
    /// `[pools.NAME]` by the name clients ask for; `*` serves any other.
    pub pools: BTreeMap<String, Pool>,
    /// `[users.NAME]`.
    pub users: BTreeMap<String, User>,
    /// `[classes.NAME]`; `critical`, `default` and `batch` are always there.
    pub classes: BTreeMap<String, Class>,
    /// `[limits]`.
    pub limits: Limits,
    /// `[peers.ID]` by instance id.
    pub peers: BTreeMap<u8, Peer>,
    /// `[[probe]]` in the order of the file.
    pub probes: Vec<Probe>,
    /// `[history]`.
    pub history: History,
    /// `[recording]`.
    pub recording: Recording,
    /// `[review]`.
    pub review: Review,
    /// What a `pgbouncer.ini` says about the process; `None`: the configuration is not PgBouncer's.
    pub pgbouncer: Option<Box<pgbouncer::Process>>,
    /// Names by id of all servers that this configuration and earlier ones have.
    pub(crate) known: Vec<String>,
    /// Classes of an earlier configuration by their ids, each with what it is where it is no more.
    pub(crate) kept: Vec<(String, Class)>,
    pub(crate) shown: Vec<Shown>,
}

/// `[review]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review {
    /// Time between two reviews; `None`: only at the start and after changes.
    pub every: Option<Duration>,
}

/// `[history]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Bytes that the files of the history may take.
    pub max_size: u64,
}

/// `[recording]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Whether traffic is recorded.
    pub enabled: bool,
    /// Bytes that the recordings may take.
    pub max_size: u64,
}

/// `[peers.ID]`: another instance, to which cancel requests that name it are forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens.
    pub host: Host,
    /// Its port.
    pub port: u16,
}

/// `[poolwarden]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Where the token and history live; `None`: the caller's default.
    pub data_dir: Option<String>,
    /// Whether the guard acts or only counts.
    pub guard: Guard,
    /// Event loops; `None` is as many as the load needs.
    pub loops: Option<u16>,
    /// Which of several instances this is, 1 to 255.
    pub instance_id: Option<u8>,
    /// Time between "not ready" and the start of a drain.
    pub drain_delay: Duration,
    /// Longest a drain waits for what is lent.
    pub drain_deadline: Duration,
}

/// Whether the guard acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It acts.
    Enforce,
    /// It counts what it would have done.
    Observe,
}

/// `[listen]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// TCP addresses for PostgreSQL clients; no two alike. May be empty where there is a unix socket.
    pub addresses: Vec<SocketAddr>,
    /// Directory of the unix socket.
    pub unix_socket_dir: Option<String>,
    /// Port in the unix socket's name; `None`: the first address's, else 6432.
    pub unix_socket_port: Option<u16>,
    /// Whether other processes may listen on the same addresses.
    pub reuse_port: bool,
    /// Dashboard, API, metrics, health; always loopback.
    pub http: Option<SocketAddr>,
    /// Metrics and health alone.
    pub metrics: Option<SocketAddr>,
    /// Metrics under the names of PgBouncer's exporter as well.
    pub pgbouncer_metrics: bool,
    /// Connections the kernel may hold before they are accepted.
    pub backlog: u32,
    /// Networks whose PROXY protocol v2 headers are believed.
    pub proxy_protocol: Vec<Network>,
    /// TLS for clients over TCP; a unix socket never has it.
    pub tls: ListenTls,
}

impl Listen {
    /// Port in the unix socket's name: the first address's, else 6432.
    #[must_use]
    pub fn unix_port(&self) -> u16 {
        self.unix_socket_port.unwrap_or_else(|| self.addresses.first().map_or(6432, SocketAddr::port))
    }
}

/// `[console]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// Users who may change things.
    pub admins: Vec<String>,
    /// Users who may look.
    pub readers: Vec<String>,
}

impl Console {
    /// Whether this user may change things.
    #[must_use]
    pub fn is_admin(&self, user: &str) -> bool {
        self.admins.iter().any(|name| name == "*" || name == user)
    }

    /// Whether this user may look; every admin may.
    #[must_use]
    pub fn is_reader(&self, user: &str) -> bool {
        self.is_admin(user) || self.readers.iter().any(|name| name == "*" || name == user)
    }
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// Least level that is written.
    pub level: LogLevel,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Levels, most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something may fail.
    Warn,
    /// Changes of state.
    Info,
    /// For operators who look for something.
    Debug,
    /// For developers.
    Trace,
}

/// `[auth]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// How clients prove who they are.
    pub method: AuthMethod,
    /// Users of the userlist; `None` is known, but no password fits. `[users.NAME]` with a secret goes before.
    pub listed: BTreeMap<String, Option<Secret>>,
    /// Rules; only `method = "hba"` follows them.
    pub rules: Vec<HbaRule>,
    /// Ident maps.
    pub ident: Vec<IdentLine>,
    /// How users are looked up who are not listed.
    pub query: Option<AuthQuery>,
    /// A failed login hears so after this long.
    pub failure_delay: Duration,
    /// Failures of one user from one source that are heard in a minute; 0: any number.
    pub failures_per_minute: u32,
    /// Whether who is let in without a password must still be a known user.
    pub known_users: bool,
}

/// Looking users up in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthQuery {
    /// The query.
    pub sql: String,
    /// The role that asks.
    pub user: String,
    /// Its password; `None`: the one it has as a user.
    pub password: Option<Secret>,
    /// Where it asks; `None`: in the database the client wants.
    pub database: Option<String>,
    /// The server's place; `None`: that of the client's pool.
    pub server: Option<usize>,
    /// Its search_path; `None`: the role's own.
    pub search_path: Option<String>,
    /// How long an answer counts.
    pub fresh: Duration,
    /// How long it serves while PostgreSQL does not answer.
    pub max_stale: Duration,
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// Not at all.
    Trust,
    /// Password in the clear.
    Password,
    /// MD5 challenge.
    Md5,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// A certificate that names the user.
    Cert,
    /// As the rules say.
    Hba,
    /// A process of the user of that name, over the unix socket.
    Peer,
}

/// Where a PostgreSQL listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Resolved at each connect.
    Name(String),
    /// An address.
    Address(IpAddr),
    /// Directory of a unix socket.
    Socket(String),
}

/// `[servers.NAME]`: one PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// NAME.
    pub name: String,
    /// What it goes by below the configuration.
    pub id: HostId,
    /// Where it is.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// The host budget; `None` is auto.
    pub max_connections: Option<u32>,
    /// Server connections of one user that has no limit of its own; `None` is unlimited.
    pub max_user_connections: Option<u32>,
    /// Processes that share it; at least 1.
    pub instances: u32,
    /// Longest a connect may take.
    pub connect_timeout: Duration,
    /// Connects in flight at the start and after a failure.
    pub connects_start: u32,
    /// Most connects in flight; at least `connects_start`.
    pub connects_max: u32,
    /// Longest a connection that would not end is counted.
    pub ghost_timeout: Duration,
    /// TCP_USER_TIMEOUT; `None` leaves it to the system.
    pub tcp_user_timeout: Option<Duration>,
    /// TCP keepalive.
    pub keepalive: Option<Keepalive>,
    /// TLS towards it; never over a unix socket.
    pub tls: ServerTls,
    /// The newest minor version of protocol 3 that is asked for.
    pub max_protocol_minor: u16,
    /// Login of the watch connection.
    pub watch: Option<WatchLogin>,
}

/// TCP keepalive of server connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe.
    pub idle: Duration,
}

/// Login of the watch connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchLogin {
    /// Role, best a member of pg_monitor.
    pub user: String,
    /// Its password.
    pub password: Option<Secret>,
    /// Database.
    pub database: String,
}

/// `[pools.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Index into [`Config::servers`].
    pub server: usize,
    /// The database's own name; `None`: the name clients ask for.
    pub database: Option<String>,
    /// Role for every client; `None`: the client's own user.
    pub user: Option<String>,
    /// That role's password; only with `user`.
    pub password: Option<Secret>,
    /// What the core obeys.
    pub settings: DatabaseSettings,
    /// Parameters server connections start with, by name.
    pub startup: Vec<(String, String)>,
    /// Parameters followed besides the usual, lower case.
    pub track: Vec<String>,
    /// Reset query of session mode; `None`: nothing is run.
    pub reset_query: Option<String>,
    /// Connections are reset between clients in every mode.
    pub reset_always: bool,
    /// State that outlives a transaction is refused; otherwise it keeps the connection with its client.
    pub refuse_state: bool,
    /// Prepared statements kept per server connection; 0: none.
    pub max_prepared_statements: u32,
    /// Time limits of its clients.
    pub patience: Patience,
    /// Class of its requests, but for users with one of their own; a class that exists. `None`: as the other rules say.
    pub class: Option<String>,
}

/// Longest a client may take for what it does, after which it is disconnected; `None` in a pool: no limit; in a user: the pool's.
/// A user's zero is no limit for that user, whatever the pool says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// For one request.
    pub query: Option<Duration>,
    /// For one transaction.
    pub transaction: Option<Duration>,
    /// For silence inside a transaction.
    pub idle_in_transaction: Option<Duration>,
    /// For silence outside a transaction.
    pub client_idle: Option<Duration>,
}

impl Patience {
    /// The same, with zeros as what they mean: no limit.
    #[must_use]
    pub fn limits(self) -> Self {
        let limit = |time: Option<Duration>| time.filter(|time| !time.is_zero());
        Self {
            query: limit(self.query),
            transaction: limit(self.transaction),
            idle_in_transaction: limit(self.idle_in_transaction),
            client_idle: limit(self.client_idle),
        }
    }
}

/// `[users.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// SCRAM secret, md5 hash or password.
    pub secret: Option<Secret>,
    /// What the core obeys.
    pub settings: UserSettings,
    /// Time limits of its clients, where they are not the pool's.
    pub patience: Patience,
    /// Name of a class that exists; `None`: as the other rules say.
    pub class: Option<String>,
    /// Whether its labels may raise its class.
    pub trust_labels: bool,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once.
    pub max_clients: u32,
    /// Connections at once that have not logged in.
    pub max_logins: u32,
    /// Longest a login may take.
    pub login_timeout: Duration,
    /// Bytes all buffers together may hold.
    pub memory_bytes: u64,
    /// Pools `*` may have at once per server.
    pub max_any_pools: u32,
}

/// Where a client's (database, user) leads.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// Index into [`Config::servers`].
    pub server: usize,
    /// The pool's table.
    pub pool: &'a Pool,
    /// The database's name in PostgreSQL.
    pub database: &'a str,
    /// The role in PostgreSQL.
    pub user: &'a str,
    /// What to log in there with: a password, or a secret that only SCRAM or md5 can use.
    pub secret: Option<&'a Secret>,
}

impl Config {
    /// The names clients ask for that are the console's, never a pool's.
    pub const CONSOLE_NAMES: [&'static str; 2] = ["poolwarden", "pgbouncer"];

    /// The pool that serves this database name: its own, else `*`. The console's names have none.
    #[must_use]
    pub fn pool(&self, database: &str) -> Option<&Pool> {
        if Self::CONSOLE_NAMES.contains(&database) {
            return None;
        }
        self.pools.get(database).or_else(|| self.pools.get("*"))
    }

    /// Where a client of `database` and `user` is taken to.
    #[must_use]
    pub fn route<'a>(&'a self, database: &'a str, user: &'a str) -> Option<Route<'a>> {
        let pool = self.pool(database)?;
        let secret = match &pool.user {
            Some(_) => pool.password.as_ref(),
            None => self.secret(user),
        };
        let role = pool.user.as_deref().unwrap_or(user);
        Some(Route {
            server: pool.server,
            pool,
            database: pool.database.as_deref().unwrap_or(database),
            user: role,
            secret,
        })
    }

    /// What a client logs in with; `None`: no such user, or one without a secret.
    #[must_use]
    pub fn secret(&self, user: &str) -> Option<&Secret> {
        self.users.get(user)?.secret.as_ref()
    }

    /// The index of a server's name.
    #[must_use]
    pub fn server_index(&self, name: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.name == name)
    }

    /// The mode this user has in this pool.
    #[must_use]
    pub fn mode(&self, pool: &Pool, user: &str) -> Mode {
        self.users.get(user).and_then(|user| user.settings.mode).unwrap_or(pool.settings.mode)
    }
}
