//! What a switch asks of the world around it: a live event loop, or the simulation.

use poolwarden_pool::LoopId;

/// One connection on this loop; the number is its place in the switch's table, reused after it is closed or detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// An application's.
    Client(u32),
    /// PostgreSQL's.
    Server(u32),
}

/// What became of bytes to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All went out (or the connection is broken, which will be told by `closed`).
    All,
    /// Some are kept and will go out when the peer reads; [`crate::Switch::drained`] will be called then.
    Blocked,
}

/// Whose mailbox got something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// An event loop.
    Loop(LoopId),
    /// Whoever opens server connections and sends cancel requests.
    Lane,
    /// Whoever watches the hosts' time-outs: one has come nearer.
    Clock,
}

/// The world around a switch. Every call takes effect in the order made; none calls back.
pub trait Io {
    /// A connection as a value that can move between loops.
    type Link;

    /// This connection lives here from now on, under this name.
    fn attach(&mut self, peer: Peer, link: Self::Link);
    /// This connection never lives here: it is told these bytes and closed.
    fn turn_away(&mut self, link: Self::Link, bytes: &[u8]);
    /// It leaves (with nothing unsent), to live elsewhere.
    fn detach(&mut self, peer: Peer) -> Option<Self::Link>;
    /// Sends bytes. They may be a part of the input of the call in progress, or not.
    fn send(&mut self, peer: Peer, bytes: &[u8]) -> Sent;
    /// Whether there is input of this connection that has not been read, as far as is known now.
    fn has_unread(&mut self, peer: Peer) -> bool;
    /// [`crate::Switch::appetite`] of this connection may have become more than nothing.
    fn resume(&mut self, peer: Peer);
    /// Nothing more will be sent: the peer meets the end of the stream behind what it has got; reading goes on.
    fn finish(&mut self, peer: Peer);
    /// It is over: what is unsent may be tried once more, nothing is read any more, the name is free.
    fn close(&mut self, peer: Peer);
    /// Something was put into a mailbox of another.
    fn wake(&mut self, target: Target);
}
