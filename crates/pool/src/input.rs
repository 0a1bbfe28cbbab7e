//! What goes into the core: one closed list of wishes and facts, and what the caller learns at once.

use std::time::Duration;

use crate::{ClassId, ConnId, HostSettings, Limit, LoopId, PoolId, PoolKey, Ticket, Time};

/// Everything that can happen to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A client wants to use the pool of this key from now on. Answers `Entered` or `Refused`.
    Enter(PoolKey),
    /// A client wants one connection for itself alone, opened for it and closed after it: it gets a pool of its own, of the same
    /// name and under the same shared limits, with one place. Answers `Entered` or `Refused`.
    EnterAlone(PoolKey),
    /// A client that had entered the pool is gone.
    Leave(PoolId),
    /// A client needs a server connection. Answers `Queued` (the grant may already stand among the actions) or `Refused`.
    Checkout(Request),
    /// A lent connection comes back.
    Checkin(ConnId, Checkin),
    /// A waiting client does not want any more. Answers `Cancelled`, `AlreadyGranted` or `Stale`.
    Cancel(Ticket),
    /// A waiting request has become needless (what it was for came another way): as `Cancel`, and nobody is counted as having given up.
    Withdraw(Ticket),
    /// A connect that the core asked for has ended, well or not.
    Opened(ConnId, Result<Opened, ConnectFailure>),
    /// A connection's socket has reached its end or failed, whatever state it was in.
    Closed(ConnId, EndCause),
    /// A reset the core asked for was done well (the connection may be lent) .
    ResetDone(ConnId),
    /// A cancel request is in the air towards this connection: do not lend it, whatever comes.
    Fence(ConnId),
    /// The cancel request's socket has reached its end.
    Unfence(ConnId),
    /// What PostgreSQL told over the watch connection.
    Facts(ServerFacts),
    /// New settings, valid as a whole.
    Apply(Box<HostSettings>),
    /// An operator's word; `None` speaks to every pool of the host.
    Admin(Verb, Option<String>),
    /// This user logs in otherwise now: its connections are replaced as they come back.
    Renew(String),
    /// An operator sheds a class until then: who comes is refused at once. A time that has passed ends it.
    Shed(ClassId, Time),
    /// The moment of `poll_timeout` has come.
    Timeout,
}

/// A request for a server connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// From whose connections.
    pub pool: PoolId,
    /// Of which class the client is.
    pub class: ClassId,
    /// Opaque hash of who shares fairly with others of its class in the pool: the application.
    pub tenant: u64,
    /// How often in a row the same client was refused and came again at once; 0: it was not.
    pub attempt: u8,
    /// The client's own deadline, `Time::NEVER` for none; the pool's and the class's `max_wait` hold besides.
    pub deadline: Time,
    /// The loop the client lives on.
    pub home: LoopId,
    /// Opaque hash of the session settings the client wants to find; equal ones are preferred.
    pub flavor: u64,
    /// Opaque: whose request this is, for who records it.
    pub client: u32,
}

/// How a lent connection comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkin {
    /// Whether it may be lent again.
    pub fitness: Fitness,
    /// The session settings it now has.
    pub flavor: u64,
    /// The loop it lives on.
    pub home: LoopId,
    /// Where the time of the lease went.
    pub phases: Phases,
}

/// Whether a connection may be lent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// Idle, outside any transaction, nothing outstanding.
    Clean,
    /// As clean, but its session must be reset before another client gets it.
    NeedsReset,
    /// Unusable and still open: close it; it may be running a query, which is then cancelled.
    Broken,
}

/// Parts of a lease's hold time, as the relay saw them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// A query was in flight.
    pub on_server: Duration,
    /// In a transaction, and no query in flight.
    pub idle_in_transaction: Duration,
}

/// A connect that ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The loop it lives on now.
    pub home: LoopId,
    /// The session settings it was born with.
    pub flavor: u64,
    /// PostgreSQL's process, where it says so.
    pub pid: Option<u32>,
}

/// A connect that did not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectFailure {
    /// What kind of failure, which decides what the core does next.
    pub kind: Failure,
    /// The server's SQLSTATE, or ours where it never answered.
    pub sqlstate: [u8; 5],
    /// The server's words, or ours; at most 512 bytes, free of secrets.
    pub message: Box<str>,
}

/// Kinds of connect failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer, refused, reset, starting up, shutting down: the server is down; back off.
    Down,
    /// SQLSTATE 53300: a capacity fact about one of PostgreSQL's own limits, not an outage.
    /// The limit named binds at the number of connections now open; try one more every 10 s.
    Capacity(Limit),
    /// 28P01/28000. Final (until settings change) if the password came from the configuration.
    Password {
        /// Whether the password came from the configuration.
        configured: bool,
    },
    /// 3D000 and the like: this database cannot be had; fails the pool's waiters, is tried again with back-off when asked for.
    Database,
}

/// How a connection's end was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// End of file: PostgreSQL's process is gone.
    Eof,
    /// Reset or timed out: the socket is of no more use, the process may live on.
    Failed,
}

/// What PostgreSQL itself tells, read over the watch connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// Identity of the running server: changes when it was restarted or replaced.
    pub start_time: u64,
    /// Process ids of all client backends, sorted.
    pub pids: Vec<u32>,
    /// `max_connections`.
    pub max_connections: u32,
    /// `superuser_reserved_connections` + `reserved_connections`.
    pub reserved: u32,
    /// CONNECTION LIMIT of roles that have one, with the backends they have.
    pub roles: Vec<(String, u32, u32)>,
    /// CONNECTION LIMIT of databases (PostgreSQL's names) that have one, with the backends they have.
    pub databases: Vec<(String, u32, u32)>,
    /// Backends that do not belong to this process (the 99th percentile of the last minutes, or the newest count).
    pub others: u32,
}

/// An operator's word to a pool or to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Lend no more; waits are measured against `pause_wait`.
    Pause,
    /// Lend again.
    Resume,
    /// Close every connection of the pool as soon as it is not lent, and open new ones as needed.
    Reconnect,
    /// Finish what is lent, lend no more, refuse who waits and who comes: the process is stopping.
    Drain,
    /// Refuse who comes until `Enable`.
    Disable,
    /// Undo `Disable`.
    Enable,
    /// Close everything of the pool now, lent connections as well, and pause it.
    Kill,
}

/// What `Host::handle` tells its caller at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Nothing to tell.
    Done,
    /// The client belongs to this pool.
    Entered(PoolId),
    /// The request stands in the queue under this ticket, or was granted (then the `Grant` is among the actions).
    Queued(Ticket),
    /// The request, or the client, was refused.
    Refused(Box<Refusal>),
    /// The ticket is gone from the queue; nobody will be granted it.
    Cancelled,
    /// Too late: this connection was granted to the ticket, and is the caller's to check in.
    AlreadyGranted(ConnId),
    /// The ticket or connection named is not known any more.
    Stale,
}

/// What moved admission to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its time was up.
    Time,
    /// It could not have been served before its time was up.
    Hopeless,
    /// Too many waited already.
    Queue,
    /// The pool is overloaded, and it had waited longer than one of its class may then.
    Overload,
    /// An operator sheds its class.
    Shed,
    /// The server cannot be reached, refuses logins, or there is no such place: nothing admission decides.
    Server,
}

impl Reason {
    /// Every reason once, in this order.
    pub const ALL: [Self; 6] = [Self::Time, Self::Hopeless, Self::Queue, Self::Overload, Self::Shed, Self::Server];

    /// The reason's name in metrics, SHOW and error DETAIL alike.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Hopeless => "hopeless",
            Self::Queue => "queue",
            Self::Overload => "overload",
            Self::Shed => "shed",
            Self::Server => "server",
        }
    }
}

/// Why a request or a client was refused, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What moved admission to refuse.
    pub reason: Reason,
    /// The class it was of.
    pub class: ClassId,
    /// The limit that refused.
    pub limit: Limit,
    /// The limit that bound while it waited: what the operator must look at (equal to `limit` unless that is a bound on waiting).
    pub binding: Limit,
    /// The binding limit's size.
    pub size: u32,
    /// How much of it is used.
    pub used: u32,
    /// Server connections of the pool that are lent.
    pub lent: u32,
    /// Requests waiting in the pool.
    pub waiting: u32,
    /// How long this one waited.
    pub waited: Duration,
    /// How long it would have waited, where that is the reason.
    pub would_wait: Duration,
    /// When it is worth coming again, with jitter, longer each time; zero where nobody can tell.
    pub retry_after: Duration,
    /// How long the longest lent connection of the pool has been held.
    pub longest_held: Duration,
    /// PostgreSQL's process of that connection.
    pub longest_pid: Option<u32>,
    /// The server's last word on connecting, where that is the reason.
    pub failure: Option<Box<ConnectFailure>>,
    /// No such database is configured (then the limits mean nothing).
    pub no_such_database: bool,
    /// The process is stopping or the database is disabled (then the limits mean nothing).
    pub stopping: bool,
}

/// Why the core wants to be called at the moment of `poll_timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A waiting request's time is up.
    Deadline,
    /// A connect may be tried again.
    Backoff,
    /// A connection is old or has idled long enough.
    Expiry,
    /// A reserve connection becomes allowed.
    Reserve,
    /// An ending connection becomes a ghost, or a ghost is given up.
    Ending,
    /// A `*` pool may be retired, an eviction is due, or work was left over.
    Upkeep,
}
