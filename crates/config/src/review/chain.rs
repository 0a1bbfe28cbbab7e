//! The chain of limits from client to backend, as far as the inputs tell it. Every value knows where it was found.
//!
//! `None` is unknown (nobody told), and never means unlimited: what is unlimited says so by its type.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use poolwarden_pool::Mode;

use super::place::Known;

/// A size that may be unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// At most so many.
    Of(u64),
    /// No bound at all.
    Unlimited,
}

impl Bound {
    /// The number, if there is one.
    #[must_use]
    pub const fn number(self) -> Option<u64> {
        match self {
            Self::Of(number) => Some(number),
            Self::Unlimited => None,
        }
    }
}

/// A time limit that may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After so long.
    After(Duration),
    /// Never: waits, or goes on, for ever.
    Never,
}

impl Limit {
    /// How long, if it ever ends.
    #[must_use]
    pub const fn span(self) -> Option<Duration> {
        match self {
            Self::After(span) => Some(span),
            Self::Never => None,
        }
    }
}

/// A value that may be unknown.
pub type Maybe<T> = Option<Known<T>>;

/// One PostgreSQL server.
#[derive(Clone, Debug, Default)]
pub struct Postgres {
    /// Its name in the configuration, or host and port.
    pub name: String,
    /// Where it is: host and port; `None` where the inputs do not say.
    pub address: Option<(String, u16)>,
    /// `max_connections`.
    pub max_connections: Maybe<u64>,
    /// `max_connections` as it is declared, where the server itself told another: what somebody means to make of it.
    pub declared_max: Maybe<u64>,
    /// `superuser_reserved_connections`.
    pub superuser_reserved: Maybe<u64>,
    /// `reserved_connections`.
    pub reserved: Maybe<u64>,
    /// Backends of everything that comes neither through a pooler nor from an application that is declared.
    pub others: Maybe<u64>,
    /// CPU cores.
    pub cores: Maybe<u64>,
    /// Memory in bytes.
    pub memory: Maybe<u64>,
    /// `pg_settings` by name, as text in the setting's own unit; times in milliseconds, sizes in bytes.
    pub settings: BTreeMap<String, Known<String>>,
    /// Settings that wait for a restart.
    pub pending_restart: Vec<Known<String>>,
    /// Roles by name.
    pub roles: BTreeMap<String, Role>,
    /// CONNECTION LIMIT by database; -1 is none.
    pub databases: BTreeMap<String, Known<i64>>,
}

/// A role of PostgreSQL.
#[derive(Clone, Debug, Default)]
pub struct Role {
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: Maybe<i64>,
    /// Its own settings (ALTER ROLE … SET), as [`Postgres::settings`].
    pub settings: BTreeMap<String, Known<String>>,
    /// Whether it may use reserved connections.
    pub reserved: bool,
}

/// Who speaks the pooler's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Poolwarden,
    /// PgBouncer, or its file read by us.
    PgBouncer,
    /// Amazon's RDS Proxy.
    RdsProxy,
    /// Odyssey.
    Odyssey,
}

/// One pooler configuration: all its instances have it.
#[derive(Clone, Debug)]
pub struct Pooler {
    /// Whose file it is.
    pub kind: Kind,
    /// The file's name, for messages.
    pub name: String,
    /// Processes in front of the same PostgreSQL: hosts times processes per host (so_reuseport).
    pub instances: Known<u64>,
    /// Most clients per instance.
    pub max_clients: Known<Bound>,
    /// Its pools by database; `*` is any database.
    pub pools: Vec<Pool>,
    /// Most server connections per user over all its pools of one instance; `*` is every user's default.
    pub users: BTreeMap<String, Known<Bound>>,
    /// Most server connections of all pools of one server and instance (poolwarden's host budget), by index of the server;
    /// a server without an entry has none. `auto` is what it comes to, where PostgreSQL's numbers are known.
    pub budgets: BTreeMap<usize, Known<Bound>>,
    /// Servers whose budget is `auto`.
    pub auto_budgets: BTreeSet<usize>,
    /// Whether users come from PostgreSQL (auth_query), so that nobody can count them.
    pub any_user: Maybe<bool>,
    /// How long a failed login to PostgreSQL holds others off.
    pub login_retry: Maybe<Limit>,
    /// How long an idle client may stay.
    pub client_idle: Maybe<Limit>,
    /// How long an idle server connection may stay.
    pub server_idle: Maybe<Limit>,
    /// Age at which a server connection is closed, and by how much that varies (0 to 1).
    pub lifetime: Maybe<Limit>,
    /// Jitter of the lifetime, 0 to 1.
    pub lifetime_jitter: Maybe<f64>,
    /// How long a transaction may be idle.
    pub idle_transaction: Maybe<Limit>,
    /// How long a query may take.
    pub query: Maybe<Limit>,
    /// First TCP keepalive probe; `Never`: the kernel's default of two hours.
    pub keepalive_idle: Maybe<Limit>,
    /// TCP_USER_TIMEOUT.
    pub tcp_user_timeout: Maybe<Limit>,
    /// Length of the accept queue it asks for.
    pub backlog: Maybe<u64>,
    /// Start-up parameters it takes and drops.
    pub ignored_startup: Vec<Known<String>>,
    /// Prepared statements kept per server connection; 0 is none.
    pub prepared: Maybe<u64>,
    /// Whether clients that wait are told and logged (PgBouncer's query_wait_notify, log_pooler_errors).
    pub notices: BTreeMap<&'static str, Known<bool>>,
    /// Every setting as it is written, by its full key: what rules about the text itself read.
    pub written: BTreeMap<String, Known<String>>,
}

/// One pool of a pooler: one database name, one connection pool per user of it.
#[derive(Clone, Debug)]
pub struct Pool {
    /// The database name clients ask for; `*` is any other.
    pub name: Known<String>,
    /// PostgreSQL's name of the database; of `*` none.
    pub database: Option<String>,
    /// Index into [`super::Dossier::postgres`].
    pub server: usize,
    /// The role all its clients are logged in as, or the users that are known to use it; empty: any.
    pub users: Vec<String>,
    /// Sizes of those of several users who have one of their own; of one user it is the pool's.
    pub own_sizes: BTreeMap<String, Known<Bound>>,
    /// Server connections per user.
    pub size: Known<Bound>,
    /// The default that [`Pool::size`] overrides, where one is written: an edit of it has no effect here.
    pub shadowed: Maybe<Bound>,
    /// Kept open per user.
    pub min_size: Known<u64>,
    /// Beyond the size, once a client has waited for [`Pool::reserve_after`].
    pub reserve: Known<u64>,
    /// See [`Pool::reserve`]; `Never`: the reserve is never used.
    pub reserve_after: Known<Limit>,
    /// Most server connections of all users together, per instance.
    pub max_connections: Known<Bound>,
    /// Most clients of the database, per instance.
    pub max_clients: Maybe<Bound>,
    /// When a server connection returns.
    pub mode: Known<Mode>,
    /// How long a client waits for a server connection.
    pub max_wait: Known<Limit>,
}

/// Which library holds an application's own pool; decides defaults and rules that know one library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// `[[topology.app]]` alone.
    Declared,
    /// HikariCP, by properties or Spring.
    Hikari,
    /// SQLAlchemy.
    SqlAlchemy,
    /// Rails' Active Record.
    Rails,
    /// node-postgres, pgx, Go's database/sql, Prisma and others, by URL parameters.
    Url,
}

/// One application: all its replicas.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name.
    pub name: String,
    /// Where it is told of, for findings about what is missing.
    pub place: super::Place,
    /// Which library.
    pub library: Library,
    /// The database name it asks for: a pool of a pooler, or PostgreSQL's own where no pooler has that name.
    pub pool: Maybe<String>,
    /// Host and port it connects to.
    pub address: Option<(String, u16)>,
    /// Whom it logs in as.
    pub user: Maybe<String>,
    /// Most replicas; unlimited: nothing bounds them (serverless, an autoscaler without maximum).
    pub replicas: Maybe<Bound>,
    /// Share of replicas there are in addition while deploying.
    pub surge: Maybe<f64>,
    /// Processes per replica.
    pub processes: Maybe<u64>,
    /// Pools per process to the same PostgreSQL, with what each is for.
    pub pools: Vec<Known<String>>,
    /// Concurrent units of work per process.
    pub threads: Maybe<u64>,
    /// Connections of one pool: size and overflow together.
    pub pool_size: Maybe<Bound>,
    /// Connections all its replicas together are meant to have, as its owner declared.
    pub intended: Maybe<u64>,
    /// Kept open or idle at most, where the library bounds that apart.
    pub max_idle: Maybe<u64>,
    /// Connections one unit of work holds at once.
    pub per_unit: Maybe<u64>,
    /// When a request is given up, by the load balancer or the application.
    pub request_timeout: Maybe<Limit>,
    /// When the application's own pool gives up.
    pub acquire_timeout: Maybe<Limit>,
    /// When a query is given up by the client.
    pub query_timeout: Maybe<Limit>,
    /// Age at which a connection is closed by the application.
    pub lifetime: Maybe<Limit>,
    /// Idle time after which it is.
    pub idle_timeout: Maybe<Limit>,
    /// How often an idle one is kept alive.
    pub keepalive: Maybe<Limit>,
    /// Requests per second at the peak, all replicas together.
    pub peak_rate: Maybe<f64>,
    /// How long a request holds a connection.
    pub hold: Maybe<Duration>,
    /// Start-up options it sends (`options=-c statement_timeout=…` and the like), by parameter.
    pub startup: BTreeMap<String, Known<String>>,
    /// Every setting as it is written, by its own name in that library.
    pub written: BTreeMap<String, Known<String>>,
}

/// One alerting rule of Prometheus.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Its name.
    pub name: Known<String>,
    /// Its expression.
    pub expr: Known<String>,
    /// How long it must hold before it fires.
    pub hold: Known<Duration>,
}

/// How often Prometheus asks one of its targets.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The job's or the monitor's name.
    pub job: Known<String>,
    /// Targets that are written there: `host:port`.
    pub targets: Vec<String>,
    /// The time between two questions.
    pub interval: Known<Duration>,
}
