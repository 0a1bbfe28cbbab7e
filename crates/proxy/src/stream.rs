//! A stream that a login can be held on, whichever kind it is: TCP or a unix socket, in clear or with TLS.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::link::{Link, Place};
use crate::tls::{self, ListenTls, Outbound, Tls};

/// A connected socket on the runtime.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A stream that a login can be held on. A write that was begun is to be repeated with the same bytes until it is done
/// (as `write_all` does), because with TLS they are encrypted once.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Socket,
    tls: Option<Box<Tls>>,
    /// Encrypted for the write that is under way: the bytes, how many of them are sent, and how many they were in clear.
    sending: Option<(Vec<u8>, usize, usize)>,
}

/// Most bytes encrypted at once.
const AT_ONCE: usize = 16 << 10;

impl Stream {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, tls: None, sending: None }
    }

    /// Shakes hands with a client; `received` is what has come of that already.
    pub(crate) async fn accept_tls(&mut self, listen: &ListenTls, received: &[u8], direct: bool) -> io::Result<()> {
        self.tls = Some(Box::new(tls::accept(&mut self.socket, listen, received, direct).await?));
        Ok(())
    }

    /// Shakes hands with a server.
    pub(crate) async fn connect_tls(&mut self, outbound: &Outbound, direct: bool) -> io::Result<()> {
        self.tls = Some(Box::new(tls::connect(&mut self.socket, outbound, direct).await?));
        Ok(())
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.socket, Socket::Tcp(_))
    }

    /// Its TLS, where it has any.
    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    /// Takes it off the runtime.
    pub(crate) fn into_link(self, place: Option<Place>) -> io::Result<Link> {
        let fd: OwnedFd = match self.socket {
            Socket::Tcp(stream) => stream.into_std()?.into(),
            Socket::Unix(stream) => stream.into_std()?.into(),
        };
        Ok(Link::new(fd, self.tls, place))
    }

    /// Waits until there is something to read, or the end.
    pub(crate) async fn readable_now(&self) -> io::Result<()> {
        if self.tls.as_ref().is_some_and(|tls| tls.holds()) {
            return Ok(());
        }
        match &self.socket {
            Socket::Tcp(stream) => stream.readable().await,
            Socket::Unix(stream) => stream.readable().await,
        }
    }

    /// Our address and the peer's; none on a unix socket.
    pub(crate) fn ends(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        match &self.socket {
            Socket::Tcp(stream) => (stream.local_addr().ok(), stream.peer_addr().ok()),
            Socket::Unix(_) => (None, None),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, tls, .. } = self.get_mut();
        let Some(tls) = tls else { return Pin::new(socket).poll_read(cx, buf) };
        loop {
            if tls.has_opened() {
                let count = tls.take(buf.initialize_unfilled());
                buf.advance(count);
                return Poll::Ready(Ok(()));
            }
            if tls.is_over() {
                return Poll::Ready(Ok(()));
            }
            let mut sealed = [0; 2048];
            let mut sealed = ReadBuf::new(&mut sealed);
            ready!(Pin::new(&mut *socket).poll_read(cx, &mut sealed))?;
            if sealed.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            tls.receive(sealed.filled()).map_err(broken)?;
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { socket, tls, sending } = self.get_mut();
        let Some(tls) = tls else { return Pin::new(socket).poll_write(cx, buf) };
        if sending.is_none() {
            let mut sealed = std::mem::take(&mut tls.owed);
            let clear = &buf[..buf.len().min(AT_ONCE)];
            tls.seal(clear, &mut sealed).map_err(broken)?;
            *sending = Some((sealed, 0, clear.len()));
        }
        ready!(send(socket, sending, cx)).map(|()| sending.take().map_or(0, |(_, _, clear)| clear)).into()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, tls, sending } = self.get_mut();
        if let Some(tls) = tls {
            if sending.is_none() {
                let mut sealed = std::mem::take(&mut tls.owed);
                tls.finish(&mut sealed).map_err(broken)?;
                *sending = Some((sealed, 0, 0));
            }
            ready!(send(socket, sending, cx))?;
        }
        Pin::new(socket).poll_shutdown(cx)
    }
}

/// Sends what is encrypted, to its end.
fn send(
    socket: &mut Socket,
    sending: &mut Option<(Vec<u8>, usize, usize)>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    if let Some((sealed, sent, _)) = sending {
        while *sent < sealed.len() {
            match ready!(Pin::new(&mut *socket).poll_write(cx, &sealed[*sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *sent += count,
            }
        }
    }
    Poll::Ready(Ok(()))
}

fn broken(why: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
