//! Listeners: bound at start, accepting until the process drains. Running out of descriptors is waited out, never an end.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcp};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnix, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::fault::StartError;
use crate::figures::bump;
use crate::inner::Inner;
use crate::settings::{Listening, Settings};
use crate::{login, stream};

/// Without descriptors, the next try to accept comes after this.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, PathBuf)>,
}

impl Listeners {
    /// Binds all of them, or none.
    pub(crate) fn bind(settings: &Settings) -> Result<Self, StartError> {
        let mut tcp = Vec::new();
        for address in &settings.listen {
            let listener = bind_tcp(*address, settings).and_then(TcpListener::from_std);
            tcp.push(listener.map_err(|why| StartError::Listen(address.to_string(), why))?);
        }
        let first = tcp.first().and_then(|listener| listener.local_addr().ok()).map(|address| address.port());
        let unix = match &settings.unix {
            None => None,
            Some(directory) => {
                let port = if settings.unix_port == 0 { first.unwrap_or(6432) } else { settings.unix_port };
                let path = directory.join(format!(".s.PGSQL.{port}"));
                let listener = bind_unix(&path, settings).and_then(UnixListener::from_std);
                Some((listener.map_err(|why| StartError::Listen(path.display().to_string(), why))?, path))
            }
        };
        Ok(Self { tcp, unix })
    }

    pub(crate) fn addresses(&self) -> Listening {
        Listening {
            postgres: self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            unix: self.unix.as_ref().map(|(_, path)| path.clone()),
        }
    }
}

fn bind_tcp(address: SocketAddr, settings: &Settings) -> io::Result<StdTcp> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?; // a restart must not wait for connections that linger
    socket.set_reuse_port(settings.reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(settings.backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Binds a unix socket; one that nobody serves any more is replaced.
fn bind_unix(path: &Path, settings: &Settings) -> io::Result<StdUnix> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        match StdUnixStream::connect(path) {
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process serves it")),
            Err(why) if why.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(why) => return Err(why),
        }
    }
    let listener = StdUnix::bind(path)?;
    // open to all unless said otherwise, as PostgreSQL's own: who may come in is decided by the login
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(settings.unix_mode))?;
    if settings.unix_group.is_some() {
        std::os::unix::fs::chown(path, None, settings.unix_group)?;
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

pub(crate) fn start(inner: &Arc<Inner>, listeners: Listeners, runtime: &tokio::runtime::Handle) {
    for listener in listeners.tcp {
        runtime.spawn(accept_tcp(inner.clone(), listener));
    }
    if let Some((listener, path)) = listeners.unix {
        runtime.spawn(accept_unix(inner.clone(), listener, path));
    }
}

async fn accept_tcp(inner: Arc<Inner>, listener: TcpListener) {
    let (mut closing, mut refusing) = (inner.closing.subscribe(), inner.refusing.subscribe());
    let local = listener.local_addr().ok();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => return,
            _ = refusing.wait_for(|refusing| *refusing) => return,
        };
        match accepted {
            Ok((stream, remote)) => {
                login::welcome(&inner, stream::Socket::Tcp(stream), Some(remote), local);
            }
            Err(why) => rest(&inner, &why).await,
        }
    }
}

async fn accept_unix(inner: Arc<Inner>, listener: UnixListener, path: PathBuf) {
    let mut closing = inner.closing.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        match accepted {
            Ok((stream, _)) => login::welcome(&inner, stream::Socket::Unix(stream), None, None),
            Err(why) => rest(&inner, &why).await,
        }
    }
    drop(listener);
    if let Err(why) = std::fs::remove_file(&path) {
        inner.notes.add("accept", format!("{}: {why}", path.display()), None);
    }
}

/// After a failure to accept: one connection's own trouble is passed over, a lack of descriptors or memory is waited out.
async fn rest(inner: &Inner, why: &io::Error) {
    use rustix::io::Errno;
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    if lacking.iter().any(|errno| why.raw_os_error() == Some(errno.raw_os_error())) {
        bump(&inner.counters.accept_errors);
        bump(&inner.counters.refused_fds);
        inner.notes.add("accept", format!("cannot accept: {why}; trying on, nobody connected is disturbed"), None);
        drop(inner.visitors.make_room()); // a silent crowd does not shut the door for as long as a login may take
        tokio::time::sleep(PAUSE).await;
    }
}
