//! The sockets of one loop: what the kernel said of each, what is unsent, and the list of those worth a look.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use poolwarden_switch::{Io, Peer, Sent, Target};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::engine::Wake;
use crate::engine::sealed::last_words;
use crate::figures::{Counters, bump};
use crate::link::Link;

/// The event data of a loop's door.
pub(super) const WAKE: u64 = u64::MAX;

/// Unsent bytes of one connection beyond this are given back to the allocator once sent.
const KEEP_BACKLOG: usize = 4096;

/// Sends of up to so many bytes wait for the end of the turn: copying them costs less than being preempted for each.
const SMALL: usize = 8 << 10;
/// So many bytes of them at most; then they go out before the turn ends.
const ARENA: usize = 64 << 10;
/// Looking at more connections one by one costs more than it saves.
const MOST_ATTENDED: usize = 128;

/// What reading brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Nothing,
    Bytes(usize),
    Eof,
    Failed,
}

/// One socket and what is known of it.
pub(super) struct Socket {
    pub(super) link: Link,
    /// Tells this socket's events from those of the one that had its place before.
    generation: u32,
    /// There may be something to read.
    pub(super) readable: bool,
    /// The peer has closed its side, or the socket failed.
    pub(super) hung_up: bool,
    /// It stands in the list of those worth a look.
    listed: bool,
    /// Sending failed: reading will tell how it ended.
    broken: bool,
    /// What the peer did not take yet.
    backlog: Vec<u8>,
}

pub(super) struct Sockets {
    pub(super) epoll: OwnedFd,
    clients: Vec<Option<Socket>>,
    servers: Vec<Option<Socket>>,
    ready: VecDeque<Peer>,
    /// What this turn sends, in order: the bytes of all, and whose they are.
    arena: Vec<u8>,
    outbox: Vec<(Peer, Range<usize>)>,
    /// Who did not take what was posted.
    blocked: Vec<Peer>,
    generation: u32,
    wakers: Arc<dyn Wake>,
    counters: Arc<Counters>,
    memory: Arc<AtomicU64>,
    /// Where TLS connections are received into; empty until the first.
    pub(super) scratch: Vec<u8>,
    /// What is being encrypted.
    sealing: Vec<u8>,
}

impl Sockets {
    pub(super) fn new(
        door: &OwnedFd,
        wakers: Arc<dyn Wake>,
        counters: Arc<Counters>,
        memory: Arc<AtomicU64>,
    ) -> rustix::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, door, EventData::new_u64(WAKE), EventFlags::IN)?;
        Ok(Self {
            epoll,
            clients: Vec::new(),
            servers: Vec::new(),
            ready: VecDeque::new(),
            arena: Vec::with_capacity(ARENA),
            outbox: Vec::new(),
            blocked: Vec::new(),
            generation: 0,
            wakers,
            counters,
            memory,
            scratch: Vec::new(),
            sealing: Vec::new(),
        })
    }

    pub(super) fn at(&mut self, peer: Peer) -> Option<&mut Socket> {
        match peer {
            Peer::Client(key) => self.clients.get_mut(key as usize)?.as_mut(),
            Peer::Server(key) => self.servers.get_mut(key as usize)?.as_mut(),
        }
    }

    /// Waits until one of these can go on or the door is rung, at most so long, and for nobody else; false: not at all, they are too many.
    pub(super) fn attend(&self, door: &OwnedFd, peers: impl Iterator<Item = Peer>, most: Duration) -> bool {
        let mut wanted = Vec::with_capacity(16);
        wanted.push(PollFd::new(door, PollFlags::IN));
        for peer in peers {
            let socket = match peer {
                Peer::Client(key) => self.clients.get(key as usize),
                Peer::Server(key) => self.servers.get(key as usize),
            };
            let Some(socket) = socket.and_then(Option::as_ref) else { continue };
            let sends = if socket.backlog.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            wanted.push(PollFd::new(&socket.link.fd, PollFlags::IN | sends));
            if wanted.len() > MOST_ATTENDED {
                return false;
            }
        }
        let timeout = Timespec { tv_sec: 0, tv_nsec: most.subsec_nanos().into() };
        // however it ends, what is ready is asked for next
        let _ = poll(&mut wanted, Some(&timeout));
        true
    }

    fn take(&mut self, peer: Peer) -> Option<Socket> {
        match peer {
            Peer::Client(key) => self.clients.get_mut(key as usize)?.take(),
            Peer::Server(key) => self.servers.get_mut(key as usize)?.take(),
        }
    }

    /// Notes what the kernel says of a connection; `None` if that connection is gone.
    pub(super) fn note(&mut self, data: u64, flags: EventFlags) -> Option<Peer> {
        let (peer, generation) = peer_of(data);
        let socket = self.at(peer).filter(|socket| socket.generation == generation)?;
        if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            socket.hung_up = true;
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            socket.readable = true;
            self.list(peer);
        }
        Some(peer)
    }

    pub(super) fn hung_up(&mut self, peer: Peer) -> bool {
        self.at(peer).is_some_and(|socket| socket.hung_up)
    }

    fn list(&mut self, peer: Peer) {
        if let Some(socket) = self.at(peer)
            && !socket.listed
        {
            socket.listed = true;
            self.ready.push_back(peer);
        }
    }

    /// There may be something to read: it is looked at in the next turn.
    pub(super) fn resume_reading(&mut self, peer: Peer) {
        let worth =
            |socket: &mut Socket| socket.readable || socket.link.tls.as_ref().is_some_and(|tls| tls.is_worth_a_look());
        if self.at(peer).is_some_and(worth) {
            self.list(peer);
        }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many are worth a look now; those added meanwhile wait for the next turn.
    pub(super) fn ready_now(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn next_ready(&mut self) -> Option<Peer> {
        let peer = self.ready.pop_front()?;
        if let Some(socket) = self.at(peer) {
            socket.listed = false;
        }
        Some(peer)
    }

    /// Reads once, if there may be something and room for it.
    pub(super) fn read(&mut self, peer: Peer, room: &mut [u8]) -> Read {
        let Some(socket) = self.at(peer) else { return Read::Nothing };
        if socket.link.tls.is_some() {
            return self.read_sealed(peer, room);
        }
        if !socket.readable {
            return Read::Nothing;
        }
        if room.is_empty() {
            return Read::Nothing; // `resume` brings it back
        }
        match rustix::net::recv(&socket.link.fd, &mut *room, RecvFlags::empty()) {
            Ok((0, _)) => Read::Eof,
            Ok((count, _)) => {
                socket.readable = count == room.len() || socket.hung_up;
                if socket.readable {
                    self.list(peer);
                }
                Read::Bytes(count)
            }
            Err(Errno::AGAIN) => {
                socket.readable = false;
                Read::Nothing
            }
            Err(Errno::INTR) => {
                self.list(peer);
                Read::Nothing
            }
            Err(_) => Read::Failed,
        }
    }

    /// Tries to send what is unsent; true if that emptied it.
    pub(super) fn flush(&mut self, peer: Peer) -> bool {
        let Some(socket) = self.at(peer).filter(|socket| !socket.backlog.is_empty()) else { return false };
        let before = socket.backlog.len();
        let sent = match rustix::net::send(&socket.link.fd, &socket.backlog, SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => {
                socket.broken = true;
                socket.readable = true;
                before
            }
        };
        socket.backlog.drain(..sent);
        let (emptied, broken) = (socket.backlog.is_empty(), socket.broken);
        if emptied && socket.backlog.capacity() > KEEP_BACKLOG {
            socket.backlog = Vec::new();
        }
        self.counters.memory.fetch_sub(sent as u64, Ordering::Relaxed);
        if broken {
            self.list(peer);
        }
        emptied
    }

    /// The client with the most unsent bytes, when all connections together keep more than they may.
    pub(super) fn over_budget(&mut self) -> Option<Peer> {
        if self.counters.memory.load(Ordering::Relaxed) <= self.memory.load(Ordering::Relaxed) {
            return None;
        }
        let unsent = |socket: &Option<Socket>| socket.as_ref().map_or(0, |socket| socket.backlog.len());
        let (key, largest) = self.clients.iter().enumerate().max_by_key(|(_, socket)| unsent(socket))?;
        if unsent(largest) == 0 {
            return None; // other loops keep it
        }
        bump(&self.counters.refused_memory);
        Some(Peer::Client(u32::try_from(key).unwrap_or(u32::MAX)))
    }

    /// Sends what this turn has collected: answers first, then what servers will have to work on. Who does not take all of it is told by `blocked`.
    pub(super) fn post(&mut self) {
        let arena = std::mem::take(&mut self.arena);
        let outbox = std::mem::take(&mut self.outbox);
        for to_servers in [false, true] {
            for (peer, range) in &outbox {
                let is_server = matches!(peer, Peer::Server(_));
                if is_server == to_servers && self.send_now(*peer, &arena[range.clone()]) == Sent::Blocked {
                    self.blocked.push(*peer);
                }
            }
        }
        (self.arena, self.outbox) = (arena, outbox);
        self.arena.clear();
        self.outbox.clear();
    }

    /// A peer that did not take what was posted, and still has not.
    pub(super) fn blocked(&mut self) -> Option<Peer> {
        while let Some(peer) = self.blocked.pop() {
            if self.at(peer).is_some_and(|socket| !socket.backlog.is_empty()) {
                return Some(peer);
            }
        }
        None
    }

    fn send_now(&mut self, peer: Peer, bytes: &[u8]) -> Sent {
        if self.at(peer).is_none_or(|socket| socket.link.tls.is_none()) {
            return self.send_bytes(peer, bytes);
        }
        let mut sealing = std::mem::take(&mut self.sealing);
        let sent = match self.at(peer).filter(|socket| !socket.broken) {
            Some(socket) => {
                let sealed = socket.seal(bytes, &mut sealing);
                self.send_bytes(peer, sealed)
            }
            None => Sent::All,
        };
        self.sealing = sealing;
        sent
    }

    /// Sends bytes as they are.
    pub(super) fn send_bytes(&mut self, peer: Peer, bytes: &[u8]) -> Sent {
        let Some(socket) = self.at(peer).filter(|socket| !socket.broken) else { return Sent::All };
        let mut sent = 0;
        if socket.backlog.is_empty() {
            match rustix::net::send(&socket.link.fd, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => sent = count,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => {
                    socket.broken = true;
                    socket.readable = true;
                    self.list(peer);
                    return Sent::All;
                }
            }
        }
        if sent == bytes.len() {
            return Sent::All;
        }
        socket.backlog.extend_from_slice(&bytes[sent..]);
        self.counters.memory.fetch_add((bytes.len() - sent) as u64, Ordering::Relaxed);
        Sent::Blocked
    }

    fn place(&mut self, peer: Peer, socket: Socket) {
        let (places, key) = match peer {
            Peer::Client(key) => (&mut self.clients, key as usize),
            Peer::Server(key) => (&mut self.servers, key as usize),
        };
        if places.len() <= key {
            places.resize_with(key + 1, || None);
        }
        places[key] = Some(socket);
    }
}

impl Io for Sockets {
    type Link = Link;

    fn attach(&mut self, peer: Peer, mut link: Link) {
        self.generation = self.generation.wrapping_add(1);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let added = epoll::add(&self.epoll, link.fd.as_fd(), EventData::new_u64(data_of(peer, self.generation)), flags);
        let broken = added.is_err(); // without memory for it: reading ends it
        let backlog = link.tls.as_mut().map_or_else(Vec::new, |tls| std::mem::take(&mut tls.owed));
        self.counters.memory.fetch_add(backlog.len() as u64, Ordering::Relaxed);
        let holds = link.tls.as_ref().is_some_and(|tls| tls.is_worth_a_look());
        let socket = Socket {
            link,
            generation: self.generation,
            readable: broken, // what is there already, the kernel tells at once
            hung_up: broken,
            listed: false,
            broken,
            backlog,
        };
        self.place(peer, socket);
        if broken || holds {
            self.list(peer);
        }
    }

    fn turn_away(&mut self, mut link: Link, bytes: &[u8]) {
        let mut unsent = link.tls.as_mut().map_or_else(Vec::new, |tls| std::mem::take(&mut tls.owed));
        match &mut link.tls {
            Some(tls) => drop(tls.seal(bytes, &mut unsent)), // without keys there is nothing to say
            None => unsent.extend_from_slice(bytes),
        }
        last_words(link.tls.as_mut(), unsent, &link.fd);
    }

    fn detach(&mut self, peer: Peer) -> Option<Link> {
        self.post();
        let mut socket = self.take(peer)?;
        // it was added, or reading would have ended it
        let _ = epoll::delete(&self.epoll, socket.link.fd.as_fd());
        if let Some(tls) = &mut socket.link.tls {
            self.counters.memory.fetch_sub(socket.backlog.len() as u64, Ordering::Relaxed);
            socket.backlog.append(&mut tls.owed);
            tls.owed = socket.backlog;
        }
        Some(socket.link)
    }

    /// Small sends wait for the end of the turn, so that whoever they wake cannot keep the loop from reading what is there;
    /// a large one goes out at once, behind those that wait.
    fn send(&mut self, peer: Peer, bytes: &[u8]) -> Sent {
        if self.arena.len() + bytes.len() > ARENA {
            self.post();
        }
        if bytes.len() > SMALL {
            self.post();
            return self.send_now(peer, bytes);
        }
        let from = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.outbox.push((peer, from..self.arena.len()));
        Sent::All
    }

    fn has_unread(&mut self, peer: Peer) -> bool {
        self.at(peer).is_some_and(|socket| {
            socket.readable && !socket.hung_up || socket.link.tls.as_ref().is_some_and(|tls| tls.holds())
        })
    }

    fn resume(&mut self, peer: Peer) {
        self.resume_reading(peer);
    }

    fn finish(&mut self, peer: Peer) {
        self.post();
        let Some(socket) = self.at(peer) else { return };
        let backlog = std::mem::take(&mut socket.backlog);
        let unsent = backlog.len() as u64;
        last_words(socket.link.tls.as_mut(), backlog, &socket.link.fd);
        self.counters.memory.fetch_sub(unsent, Ordering::Relaxed);
    }

    fn close(&mut self, peer: Peer) {
        self.post();
        let Some(mut socket) = self.take(peer) else { return };
        if !socket.backlog.is_empty() {
            self.counters.memory.fetch_sub(socket.backlog.len() as u64, Ordering::Relaxed);
        }
        last_words(socket.link.tls.as_mut(), socket.backlog, &socket.link.fd);
    }

    fn wake(&mut self, target: Target) {
        self.wakers.wake(target);
    }
}

/// Event data: 32 bits of generation, one of kind, 31 of place.
fn data_of(peer: Peer, generation: u32) -> u64 {
    let place = match peer {
        Peer::Client(key) => key,
        Peer::Server(key) => key | 1 << 31,
    };
    u64::from(generation) << 32 | u64::from(place)
}

#[allow(clippy::cast_possible_truncation, reason = "both halves are taken apart on purpose")]
fn peer_of(data: u64) -> (Peer, u32) {
    let (place, generation) = (data as u32, (data >> 32) as u32);
    let key = place & !(1 << 31);
    (if place == key { Peer::Client(key) } else { Peer::Server(key) }, generation)
}
