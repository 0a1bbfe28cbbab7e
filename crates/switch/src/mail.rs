//! What loops, and those who work beside them, say to each other. All of it is values.

use core::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use poolwarden_pool::{Action, ConnId, HostId, LoopId, PoolId, PoolKey, Ticket};
use poolwarden_relay::Server;

use crate::secret::Secret;
use crate::shared::PoolShare;

/// A message to a loop.
#[derive(Debug)]
pub enum Mail<L> {
    /// A host's core wants this done here.
    Act(HostId, Action),
    /// A server connection that was granted to a client of this loop.
    Arrive(Box<Newcomer<L>>, Ticket),
    /// The server connection granted to this ticket died on the way.
    Lost(HostId, Ticket),
    /// A server connection has just logged in.
    Opened(Box<Newcomer<L>>),
    /// A client has proven who it is.
    Join(Box<Joining>, L),
    /// A cancel request with this key came in.
    Cancel {
        /// The place of the client that is meant.
        place: u32,
        /// The secret it was told.
        secret: Secret,
        /// Who waits for the request to have been carried out; its connection is closed then.
        asker: Option<Box<Asker<L>>>,
    },
    /// A cancel request of ours has its turn and is being sent.
    Cancelling(HostId, ConnId),
    /// A cancel request of ours reached its end (`true`), or hung.
    Cancelled(HostId, ConnId, bool),
    /// The process is stopping: idle clients are sent away, others as soon as they become idle.
    Drain,
    /// It stops now: everybody is sent away.
    Stop,
    /// The rules changed.
    Rules(Box<crate::Rules>),
    /// End this client (an operator's word), by serial number.
    Kill(u64),
    /// Cancel what this lease runs (an operator's word).
    CancelLease(Lease),
    /// End this lease and both its ends (an operator's word).
    EndLease(Lease),
}

/// A server connection and the client it is lent to, by serial number: once either has another partner, nobody is meant any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The server connection.
    pub server: u64,
    /// The client.
    pub client: u64,
}

/// The connection of a cancel request. PostgreSQL closes it when the signal has been sent, and so do we: what its client asks next
/// is not met by a late one.
#[derive(Debug)]
pub struct Asker<L> {
    /// The socket.
    pub link: L,
    /// A number for SHOW, unique in the process.
    pub serial: u64,
    /// When it came, nanoseconds.
    pub connected_at: u64,
    /// Who it is; `None` is a unix socket.
    pub remote: Option<SocketAddr>,
    /// Our end.
    pub local: Option<SocketAddr>,
}

/// A server connection on its way to a loop.
#[derive(Debug)]
pub struct Newcomer<L> {
    /// Whose it is.
    pub host: HostId,
    /// Its name in the core.
    pub conn: ConnId,
    /// Its pool.
    pub pool: Arc<PoolShare>,
    /// What it is.
    pub server: Server,
    /// Since when it is open, nanoseconds.
    pub opened_at: u64,
    /// A number for SHOW, unique in the process.
    pub serial: u64,
    /// Who it is connected to, and from where.
    pub remote: Option<SocketAddr>,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// Version, cipher and key exchange of its TLS; `None` without.
    pub tls: Option<Arc<str>>,
    /// The socket.
    pub link: L,
}

/// A client that has proven who it is and wants to join a loop.
#[derive(Debug)]
pub struct Joining {
    /// Which host serves its database.
    pub host: HostId,
    /// Its pool: the user there is the role of the server connections, where the configuration forces one.
    pub key: PoolKey,
    /// Whom it logged in as, where that is not the pool's user.
    pub user: Option<Box<str>>,
    /// How long its requests may wait, by its own word.
    pub deadline: Option<Duration>,
    /// What it asked for at start: setting and value, as given.
    pub settings: Vec<(String, String)>,
    /// Parameters that only its own server connection can be started with (replication): it gets one for itself alone.
    pub alone: Option<Vec<(String, String)>>,
    /// Bytes received behind the login.
    pub leftover: Vec<u8>,
    /// The secret half of its cancel key.
    pub secret: Secret,
    /// A number for SHOW, unique in the process.
    pub serial: u64,
    /// When it connected, nanoseconds.
    pub connected_at: u64,
    /// Who it is; `None` is a unix socket.
    pub remote: Option<SocketAddr>,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// Version, cipher and key exchange of its TLS; `None` without.
    pub tls: Option<Arc<str>>,
}

/// Work for the lane beside the loops.
#[derive(Debug)]
pub enum Errand {
    /// Connect and log in; answered by `Mail::Opened` to `near`, or by a failed `Opened` input to the host.
    Open {
        /// Where to.
        host: HostId,
        /// Under which name.
        conn: ConnId,
        /// For which pool.
        pool: PoolId,
        /// The loop that wants it.
        near: LoopId,
    },
    /// Send a cancel request; answered by `Mail::Cancelled` to `from`.
    Cancel {
        /// Where to.
        host: HostId,
        /// For which connection.
        conn: ConnId,
        /// PostgreSQL's process.
        pid: u32,
        /// Its secret.
        secret: Vec<u8>,
        /// The loop that asks.
        from: LoopId,
    },
}
