//! What a proxy is started with, and what a reload changes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::{HostId, HostSettings};
use poolwarden_switch::{TermsBook, Voice};

use crate::address::Address;
use crate::directory::Directory;
use crate::tls::{ListenTls, ServerTls};

/// What `Proxy::start` needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// TCP addresses for clients; port 0 is any free one.
    pub listen: Vec<SocketAddr>,
    /// Directory of the unix socket.
    pub unix: Option<PathBuf>,
    /// Port in the unix socket's name; 0: the port of the first TCP address.
    pub unix_port: u16,
    /// Permissions of the unix socket's file, as in 0o777.
    pub unix_mode: u32,
    /// Group of the unix socket's file; `None`: the process's.
    pub unix_group: Option<u32>,
    /// In whose words clients are told what went wrong.
    pub voice: Voice,
    /// Connections the kernel may hold before they are accepted.
    pub backlog: u32,
    /// Whether other processes may listen on the same TCP addresses.
    pub reuse_port: bool,
    /// Networks whose PROXY protocol v2 headers are believed.
    pub proxy_protocol: Vec<(IpAddr, u8)>,
    /// TLS for clients over TCP.
    pub tls: Option<Arc<ListenTls>>,
    /// Event loops; `None`: as many as the load needs.
    pub loops: Option<u16>,
    /// Bounds of the process.
    pub limits: ProcessLimits,
    /// PostgreSQL servers.
    pub hosts: Vec<HostPlan>,
    /// Who may log in.
    pub directory: Directory,
    /// The pools' terms.
    pub terms: TermsBook,
    /// Which of several instances this is; it stands in the cancel keys.
    pub instance: Option<u8>,
    /// The other instances by id.
    pub peers: BTreeMap<u8, Address>,
    /// A secret that stays over restarts, from which unknown users' mock salts are made.
    pub seed: [u8; 32],
}

/// Bounds of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessLimits {
    /// Most clients.
    pub max_clients: u32,
    /// Most connections that have not proven who they are.
    pub max_logins: u32,
    /// Longest a login may take.
    pub login_timeout: Duration,
    /// Bytes of what peers do not read, over all connections.
    pub memory: u64,
}

/// One PostgreSQL server.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Its id, which no other server has or had.
    pub id: HostId,
    /// Its name in the configuration.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// What its core obeys.
    pub core: HostSettings,
    /// Longest a connect and login may take.
    pub connect_timeout: Duration,
    /// TCP_USER_TIMEOUT.
    pub tcp_user_timeout: Option<Duration>,
    /// Idle time before the first keepalive probe.
    pub keepalive: Option<Duration>,
    /// TLS towards it.
    pub tls: Arc<ServerTls>,
    /// The newest minor version of protocol 3 that is asked for.
    pub minor: u16,
    /// Login of the watch connection.
    pub watch: Option<WatchLogin>,
}

/// Login of the watch connection.
#[derive(Clone, PartialEq, Eq)]
pub struct WatchLogin {
    /// Role.
    pub user: String,
    /// Its password.
    pub password: Option<String>,
    /// Database.
    pub database: String,
}

impl std::fmt::Debug for WatchLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchLogin").field("user", &self.user).field("database", &self.database).finish_non_exhaustive()
    }
}

/// What a reload changes; everything else needs a restart.
#[derive(Clone, Debug)]
pub struct Reload {
    /// Bounds of the process.
    pub limits: ProcessLimits,
    /// PostgreSQL servers: those that there are, with what changed, and new ones. Who is not among them goes.
    pub hosts: Vec<HostPlan>,
    /// Who may log in.
    pub directory: Directory,
    /// The pools' terms.
    pub terms: TermsBook,
    /// Networks whose PROXY protocol v2 headers are believed.
    pub proxy_protocol: Vec<(IpAddr, u8)>,
    /// The other instances by id.
    pub peers: BTreeMap<u8, Address>,
    /// TLS for clients over TCP: handshakes from now on.
    pub tls: Option<Arc<ListenTls>>,
}

/// Where it listens.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    /// TCP.
    pub postgres: Vec<SocketAddr>,
    /// Unix.
    pub unix: Option<PathBuf>,
}
