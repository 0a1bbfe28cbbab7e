//! One non-blocking connection: what could not be sent yet, and reading to the end.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::target::Target;

/// A connection under way or open.
pub(super) struct Socket {
    fd: OwnedFd,
    unsent: Vec<u8>,
    connected: bool,
}

/// What reading brought.
pub(super) enum Read {
    Bytes(usize),
    Nothing,
    Closed,
}

impl Socket {
    /// Begins to connect; `first` is sent as soon as that is done.
    ///
    /// # Errors
    /// The kernel's word.
    pub(super) fn connect(target: &Target, epoll: &OwnedFd, key: u64, first: Vec<u8>) -> Result<Self, Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = net::socket_with(target.family, SocketType::STREAM, flags, None)?;
        if target.family != net::AddressFamily::UNIX {
            sockopt::set_tcp_nodelay(&fd, true)?;
        }
        let connected = match net::connect(&fd, &target.address) {
            Ok(()) => true,
            Err(Errno::INPROGRESS) => false,
            Err(why) => return Err(why),
        };
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &fd, EventData::new_u64(key), events)?;
        let mut socket = Self { fd, unsent: first, connected };
        if connected {
            socket.flush()?;
        }
        Ok(socket)
    }

    /// It can be written to: the connect has ended, or the peer has taken some.
    ///
    /// # Errors
    /// How the connect failed, or the write.
    pub(super) fn writable(&mut self) -> Result<(), Errno> {
        if !self.connected {
            sockopt::socket_error(&self.fd)??;
            self.connected = true;
        }
        self.flush()
    }

    /// Sends, or keeps what the peer does not take.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if !self.connected || !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        match net::send(&self.fd, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == bytes.len() => {}
            Ok(sent) => self.unsent.extend_from_slice(&bytes[sent..]),
            Err(Errno::AGAIN | Errno::INTR) => self.unsent.extend_from_slice(bytes),
            Err(why) => return Err(why),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        let bytes = std::mem::take(&mut self.unsent);
        if bytes.is_empty() { Ok(()) } else { self.send(&bytes) }
    }

    /// Reads into `buffer`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Read {
        loop {
            return match net::recv(self.fd.as_fd(), &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => Read::Closed,
                Ok((length, _)) => Read::Bytes(length),
                Err(Errno::AGAIN) => Read::Nothing,
                Err(Errno::INTR) => continue,
                Err(_) => Read::Closed,
            };
        }
    }
}
