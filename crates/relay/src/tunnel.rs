//! A lease whose bytes go through as they come, in both directions at once: replication.
//!
//! Messages are walked by their headers alone, so as to know where a last word may stand, whether something runs that could be
//! cancelled, and whether a stream flows that never ends by itself. Nothing is matched, answered, hidden or kept.

use poolwarden_pgwire::frame::{self, FrameError, HEADER};
use poolwarden_pgwire::tag;

use crate::client::{Body, Client};
use crate::gather::Out;
use crate::server::{Fault, Server};

/// Where a stream of messages stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Walk {
    head: [u8; HEADER],
    /// Bytes of the next header that have come.
    have: usize,
    /// Bytes of the message that are still to come.
    left: usize,
    /// What it is.
    tag: u8,
}

/// What a walk comes upon.
enum Met<'a> {
    /// A message begins.
    Tag(u8),
    /// A part of the body of a message with this tag.
    Body(u8, &'a [u8]),
}

/// Both directions of a tunnel.
#[derive(Debug, Default)]
pub(crate) struct Tunnel {
    to_server: Walk,
    to_client: Walk,
    /// A command was sent and not yet answered to its end.
    runs: bool,
    /// Both sides send rows, until one of them ends it.
    streams: bool,
    /// How the server's last message begins, where it is an error.
    word: Vec<u8>,
}

/// So much of an error is kept; its severity stands at its beginning, twice.
const WORD: usize = 64;

impl Walk {
    /// Goes over `bytes` up to where `stop` says so of a message that begins; how many bytes that took.
    fn over(&mut self, bytes: &[u8], mut stop: impl FnMut(Met<'_>) -> bool) -> Result<usize, FrameError> {
        let mut at = 0;
        while at < bytes.len() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len() - at);
                stop(Met::Body(self.tag, &bytes[at..at + taken]));
                self.left -= taken;
                at += taken;
                continue;
            }
            if self.have == 0 && stop(Met::Tag(bytes[at])) {
                break;
            }
            let taken = (HEADER - self.have).min(bytes.len() - at);
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[at..at + taken]);
            self.have += taken;
            at += taken;
            if self.have < HEADER {
                break;
            }
            if let Some(header) = frame::header(&self.head)? {
                (self.left, self.tag) = (header.body as usize, header.tag);
            }
            self.have = 0;
        }
        Ok(at)
    }

    fn is_amid(&self) -> bool {
        self.have > 0 || self.left > 0
    }
}

impl Tunnel {
    /// Whether a command runs.
    pub(crate) fn runs(&self) -> bool {
        self.runs
    }

    /// Whether a stream flows that does not end by itself.
    pub(crate) fn streams(&self) -> bool {
        self.streams
    }

    /// Whether the server has said that it ends, and why.
    pub(crate) fn said_fatal(&self) -> bool {
        let says = |severity: &[u8]| self.word.windows(severity.len()).any(|part| part == severity);
        says(b"VFATAL") || says(b"VPANIC")
    }
}

impl Server {
    /// Hands the client's bytes on.
    ///
    /// # Errors
    /// Its goodbye, or what cannot be a message.
    pub(crate) fn tunnel_from_client(
        &mut self,
        client: &mut Client,
        input: &[u8],
        out: &mut Out,
    ) -> Result<usize, Fault> {
        let Some(tunnel) = self.tunnel.as_mut() else { return Ok(0) };
        let mut leaves = false;
        let runs = &mut tunnel.runs;
        let taken = tunnel.to_server.over(input, |met| {
            if let Met::Tag(tag) = met {
                leaves = tag == tag::client::TERMINATE;
                *runs |= tag == tag::client::QUERY;
            }
            leaves
        })?;
        out.server.forward(input, 0..taken);
        client.body = if tunnel.to_server.is_amid() { Body::Forward(1) } else { Body::None };
        self.counts.to_server += taken as u64;
        if leaves { Err(Fault::Leaves) } else { Ok(taken) }
    }

    /// Hands the server's bytes on.
    ///
    /// # Errors
    /// What cannot be a message.
    pub(crate) fn tunnel_from_server(&mut self, input: &[u8], out: &mut Out) -> Result<usize, Fault> {
        let Some(tunnel) = self.tunnel.as_mut() else { return Ok(0) };
        let (runs, streams, word) = (&mut tunnel.runs, &mut tunnel.streams, &mut tunnel.word);
        let taken = tunnel.to_client.over(input, |met| {
            match met {
                Met::Tag(tag) => {
                    *runs &= tag != tag::server::READY;
                    *streams = (*streams || tag == tag::server::COPY_BOTH) && tag != tag::server::READY;
                    word.clear();
                }
                Met::Body(tag::server::ERROR, part) => {
                    word.extend_from_slice(&part[..part.len().min(WORD - word.len())]);
                }
                Met::Body(..) => {}
            }
            false
        });
        let taken = taken.map_err(|error| Fault::Server(error.to_string()))?;
        out.client.forward(input, 0..taken);
        self.body = (usize::from(tunnel.to_client.is_amid()), true);
        self.counts.to_client += taken as u64;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_knows_where_messages_end_however_they_are_split() {
        let stream = [&b"d\0\0\0\x08abcd"[..], b"Z\0\0\0\x05I", b"c\0\0\0\x04"].concat();
        for cut in 0..=stream.len() {
            let (mut walk, mut tags) = (Walk::default(), Vec::new());
            for part in [&stream[..cut], &stream[cut..]] {
                let mut seen = |met: Met<'_>| {
                    if let Met::Tag(tag) = met {
                        tags.push(tag);
                    }
                    false
                };
                assert_eq!(walk.over(part, &mut seen), Ok(part.len()));
            }
            assert_eq!((tags.as_slice(), walk.is_amid()), (&b"dZc"[..], false), "cut at {cut}");
        }
        let mut walk = Walk::default();
        walk.over(&stream[..7], |_| false).unwrap();
        assert!(walk.is_amid());
    }

    #[test]
    fn a_walk_stops_before_the_message_it_is_told_to() {
        let stream = [&b"Q\0\0\0\x05\0"[..], b"X\0\0\0\x04"].concat();
        assert_eq!(Walk::default().over(&stream, |met| matches!(met, Met::Tag(b'X'))), Ok(6));
        assert!(Walk::default().over(b"Q\xff\xff\xff\xff", |_| false).is_err());
    }
}
