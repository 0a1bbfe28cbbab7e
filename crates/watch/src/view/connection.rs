//! Client and server connections of the picture, one by one, and what keeps them together.

use poolwarden_pool::{HostId, PoolId};

use super::lease::LeaseView;

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
    /// While it is lent: to whom, and what goes on.
    pub lease: Option<LeaseView>,
}

/// One server connection that stays with its client beyond a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinView {
    /// Its server, which may be gone from [`View::hosts`].
    pub host: HostId,
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
    /// Its server, which may be gone from [`View::hosts`].
    pub host: HostId,
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
