//! From a server's address to a stream that a login can be held on: name, socket, and TLS as libpq's words have it.
//!
//! A server is tried in one way or two, in this order (`allow`: in clear, then with TLS; `prefer`: the other way round):
//! the second after a handshake that failed, or where the server lets nobody in the first way.

use std::io;
use std::time::Duration;

use poolwarden_switch::relay::pgwire::make;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::address::Address;
use crate::settings::HostPlan;
use crate::stream::{Socket, Stream};
use crate::tls::{Outbound, Policy};

/// One way to reach a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In clear.
    Clear,
    /// With TLS; in clear where the server declines it and that may be.
    Sealed,
}

/// Why there is no stream.
#[derive(Debug)]
pub(crate) enum Unreached {
    /// The server is not there.
    Network(io::Error),
    /// It is, and TLS with it fails.
    Tls(io::Error),
}

impl std::fmt::Display for Unreached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network(why) => write!(f, "{why}"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
        }
    }
}

/// The ways to try, in order.
pub(crate) fn ways(plan: &HostPlan) -> &'static [Way] {
    match (&plan.address, plan.tls.policy) {
        (Address::Unix(_), _) | (_, Policy::Disable) => &[Way::Clear],
        (_, Policy::Allow) => &[Way::Clear, Way::Sealed],
        (_, Policy::Prefer) => &[Way::Sealed, Way::Clear],
        (_, Policy::Require) => &[Way::Sealed],
    }
}

/// Reaches a server in the first way that works.
pub(crate) async fn any(plan: &HostPlan) -> Result<Stream, Unreached> {
    let mut last = None;
    for way in ways(plan) {
        match by(*way, plan).await {
            Err(Unreached::Tls(why)) => last = Some(Unreached::Tls(why)),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| Unreached::Network(io::ErrorKind::NotFound.into()))) // there is always a way
}

/// Reaches a server in one way.
pub(crate) async fn by(way: Way, plan: &HostPlan) -> Result<Stream, Unreached> {
    let mut stream = dial(plan).await.map_err(Unreached::Network)?;
    if let (Way::Sealed, Some(outbound)) = (way, &plan.tls.outbound) {
        secure(&mut stream, plan, outbound).await.map_err(Unreached::Tls)?;
    }
    Ok(stream)
}

async fn secure(stream: &mut Stream, plan: &HostPlan, outbound: &Outbound) -> io::Result<()> {
    if plan.tls.direct {
        return stream.connect_tls(outbound, true).await;
    }
    let mut request = Vec::new();
    make::ssl_request(&mut request);
    stream.write_all(&request).await?;
    // One byte and no more: what somebody in between sent behind it can only be a broken handshake (CVE-2021-23222).
    match stream.read_u8().await? {
        b'S' => stream.connect_tls(outbound, false).await,
        b'N' if plan.tls.policy == Policy::Prefer => Ok(()),
        b'N' => Err(io::Error::other("the server does not speak it, and it is required")),
        other => Err(io::Error::other(format!("the server answered an SSLRequest with byte {other:#04x}"))),
    }
}

/// Connects: the name is resolved now, and every address it has is tried.
async fn dial(plan: &HostPlan) -> io::Result<Stream> {
    match &plan.address {
        Address::Unix(path) => Ok(Stream::new(Socket::Unix(UnixStream::connect(path).await?))),
        Address::Tcp { host, port } => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in tokio::net::lookup_host((host.as_str(), *port)).await? {
                match TcpStream::connect(address).await {
                    Ok(stream) => {
                        tune(&stream, plan)?;
                        return Ok(Stream::new(Socket::Tcp(stream)));
                    }
                    Err(why) => last = io::Error::new(why.kind(), format!("{address}: {why}")),
                }
            }
            Err(last)
        }
    }
}

fn tune(stream: &TcpStream, plan: &HostPlan) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if let Some(idle) = plan.keepalive {
        let step = (idle / 3).max(Duration::from_secs(1));
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(step).with_retries(3))?;
    }
    socket.set_tcp_user_timeout(plan.tcp_user_timeout)
}
