//! What reading and closing are for connections with TLS: the same calls, with a transform of bytes in between.
//!
//! The kernel's bits say nothing of plaintext that is decrypted and not taken yet, so such a connection stands in the list of those
//! worth a look until it is taken. All TLS connections of a loop share one buffer; each holds only what is not finished.

use std::os::fd::AsFd;

use poolwarden_switch::Peer;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};

use super::sockets::{Read, Socket, Sockets};
use crate::tls::{ROOM, Tls};

/// Beside what is held back, so much is read at least: an unfinished handshake message may be longer than a record.
const LEAST: usize = 4096;

impl Sockets {
    /// Reads once and decrypts, or takes what is decrypted already.
    pub(super) fn read_sealed(&mut self, peer: Peer, room: &mut [u8]) -> Read {
        if room.is_empty() {
            return Read::Nothing; // `resume` brings it back
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let read = self.at(peer).map_or(Read::Nothing, |socket| socket.unseal(&mut scratch, room));
        self.scratch = scratch;
        self.send_owed(peer);
        match read {
            Read::Nothing | Read::Bytes(_) => self.resume_reading(peer),
            Read::Failed | Read::Eof => {}
        }
        read
    }

    /// What TLS has to say itself, an alert, goes out: whether or not it is the last word, since what is encrypted later counts on it.
    fn send_owed(&mut self, peer: Peer) {
        let owed = self.at(peer).and_then(|socket| socket.link.tls.as_mut()).map(|tls| std::mem::take(&mut tls.owed));
        if let Some(owed) = owed.filter(|owed| !owed.is_empty()) {
            self.send_bytes(peer, &owed); // nobody waits for what is not taken at once: it goes with what follows
        }
    }
}

impl Socket {
    fn unseal(&mut self, scratch: &mut Vec<u8>, room: &mut [u8]) -> Read {
        let Some(tls) = &mut self.link.tls else { return Read::Nothing };
        if tls.has_opened() {
            return Read::Bytes(tls.take(room));
        }
        if tls.is_over() {
            return Read::Eof;
        }
        if !self.readable {
            return Read::Nothing;
        }
        let held = tls.sealed().len();
        // A record must fit, or it could never be decrypted; what the room does not take of it is kept.
        let end = room.len().max(ROOM).max(held + LEAST);
        if scratch.len() < end {
            scratch.resize(end, 0);
        }
        scratch[..held].copy_from_slice(tls.sealed());
        match rustix::net::recv(&self.link.fd, &mut scratch[held..end], RecvFlags::empty()) {
            Ok((0, _)) => Read::Eof,
            Ok((count, _)) => {
                self.readable = held + count == end || self.hung_up;
                opened(tls, &mut scratch[..held + count], room)
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                Read::Nothing
            }
            Err(Errno::INTR) => Read::Nothing,
            Err(_) => Read::Failed,
        }
    }

    /// The bytes to send for these. Without keys for them nothing can be sent any more: the connection is cut, and reading will tell.
    pub(super) fn seal<'a>(&mut self, bytes: &'a [u8], sealing: &'a mut Vec<u8>) -> &'a [u8] {
        let Some(tls) = &mut self.link.tls else { return bytes };
        sealing.clear();
        if tls.seal(bytes, sealing).is_err() {
            let _ = rustix::net::shutdown(&self.link.fd, Shutdown::Both); // it may be gone already
            sealing.clear();
        }
        sealing
    }
}

fn opened(tls: &mut Tls, input: &mut [u8], room: &mut [u8]) -> Read {
    match tls.open(input, room) {
        Ok(0) => Read::Nothing,
        Ok(count) => Read::Bytes(count),
        Err(_) => Read::Failed,
    }
}

/// The last bytes of a connection: what is unsent, and with TLS the word that it was all.
pub(super) fn last_words(tls: Option<&mut Box<Tls>>, mut unsent: Vec<u8>, fd: impl AsFd) {
    if let Some(tls) = tls
        && tls.finish(&mut unsent).is_err()
    {
        unsent.clear(); // it never came to keys, or was over already
    }
    if !unsent.is_empty() {
        // one last try; what a peer does not take now it will not see
        let _ = rustix::net::send(&fd, &unsent, rustix::net::SendFlags::NOSIGNAL);
    }
    // closing alone would reset the connection where input is unread, and take the last words with it
    let _ = rustix::net::shutdown(&fd, Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use poolwarden_switch::Io;
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::link::Link;
    use crate::tls::shaken;
    use crate::wakers::Wakers;

    #[test]
    fn what_tls_owes_goes_out_after_any_read_and_is_not_lost_when_a_connection_moves() {
        let door = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let wakers = Arc::new(Wakers::new(Vec::new()));
        let mut sockets = Sockets::new(&door, wakers, Arc::default(), Arc::default()).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let (server, mut client) = shaken(true, 100_000);
        let peer = Peer::Client(0);
        sockets.attach(peer, Link::new(ours.into(), Some(Box::new(server)), None));
        let owe = |sockets: &mut Sockets, what: &[u8]| {
            let socket = sockets.at(peer).unwrap();
            socket.readable = true;
            socket.link.tls.as_mut().unwrap().owed = what.to_vec();
        };
        let mut sealed = Vec::new();
        client.seal(b"select", &mut sealed).unwrap();
        theirs.write_all(&sealed).unwrap();
        owe(&mut sockets, b"first");
        let mut room = [0; 64];
        assert_eq!(sockets.read(peer, &mut room), Read::Bytes(6));
        let mut heard = [0; 64];
        let count = theirs.read(&mut heard).expect("it was sent at once");
        assert_eq!(&heard[..count], b"first");
        owe(&mut sockets, b"second");
        let moved = sockets.detach(peer).expect("it is there");
        assert_eq!(moved.tls.unwrap().owed, b"second");
    }
}
