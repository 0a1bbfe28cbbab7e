//! A stream that a login can be held on, whichever kind it is.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A stream that a login can be held on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The socket itself, taken off the runtime.
    fn into_fd(self) -> io::Result<OwnedFd>;
    /// Waits until there is something to read, or the end.
    fn readable_now(&self) -> impl Future<Output = io::Result<()>> + Send;
}

impl Stream for TcpStream {
    fn into_fd(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }

    fn readable_now(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.readable()
    }
}

impl Stream for UnixStream {
    fn into_fd(self) -> io::Result<OwnedFd> {
        Ok(self.into_std()?.into())
    }

    fn readable_now(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.readable()
    }
}
