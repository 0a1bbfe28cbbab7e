//! The world around one switch, as the switch sees it: [`Io`] over made-up pipes.

use std::collections::BTreeMap;

use poolwarden_switch::{Io, Peer, Sent, Target};

use crate::wire::{LinkId, Wires};

/// Which connections live on a loop, by their names there.
pub(crate) type Places = BTreeMap<Peer, LinkId>;

/// The world for the length of one call.
pub(crate) struct Edge<'a> {
    pub(crate) me: usize,
    pub(crate) places: &'a mut Places,
    pub(crate) wires: &'a mut Wires,
    pub(crate) wakes: &'a mut Vec<Target>,
    /// What the switch did that no switch may do.
    pub(crate) breaches: &'a mut Vec<String>,
    /// Whether a connection that has ended refuses to be detached, as it does once an engine has seen its end.
    pub(crate) knows_ends: bool,
    /// Whether this loop sends at the end of its batch, and tells only then who does not take it.
    pub(crate) sends_late: bool,
    pub(crate) blocked: Vec<Peer>,
}

impl Edge<'_> {
    fn link(&mut self, peer: Peer, doing: &str) -> Option<LinkId> {
        let link = self.places.get(&peer).copied();
        if link.is_none() {
            self.breaches.push(format!("{doing} of {peer:?}, which does not live on loop {}", self.me));
        }
        link
    }
}

impl Io for Edge<'_> {
    type Link = LinkId;

    fn attach(&mut self, peer: Peer, link: LinkId) {
        if self.places.insert(peer, link).is_some() {
            self.breaches.push(format!("{peer:?} was attached twice on loop {}", self.me));
        }
        self.wires.at(link).place = Some((self.me, peer));
        self.wires.inside.push(link);
    }

    fn turn_away(&mut self, link: LinkId, bytes: &[u8]) {
        self.wires.inside_send(link, bytes);
        self.wires.inside_close(link);
    }

    fn detach(&mut self, peer: Peer) -> Option<LinkId> {
        let link = self.link(peer, "detach")?;
        if self.wires.is_blocked(link) {
            self.breaches.push(format!("{peer:?} was detached with bytes unsent"));
        }
        let readable = self.wires.inside_has(link);
        if self.knows_ends && readable.end.is_some() {
            return None;
        }
        self.places.remove(&peer);
        self.wires.at(link).place = None;
        Some(link)
    }

    fn send(&mut self, peer: Peer, bytes: &[u8]) -> Sent {
        match self.link(peer, "send") {
            Some(link) if self.wires.inside_send(link, bytes) == Sent::Blocked => {
                if self.sends_late {
                    self.blocked.push(peer);
                    return Sent::All;
                }
                Sent::Blocked
            }
            Some(_) | None => Sent::All,
        }
    }

    fn has_unread(&mut self, peer: Peer) -> bool {
        self.link(peer, "has_unread").is_some_and(|link| self.wires.inside_has(link).bytes > 0)
    }

    fn resume(&mut self, peer: Peer) {
        if let Some(link) = self.link(peer, "resume") {
            self.wires.inside.push(link);
        }
    }

    fn finish(&mut self, peer: Peer) {
        if let Some(link) = self.link(peer, "finish") {
            self.wires.inside_finish(link);
        }
    }

    fn close(&mut self, peer: Peer) {
        if let Some(link) = self.link(peer, "close") {
            self.places.remove(&peer);
            self.wires.inside_close(link);
        }
    }

    fn wake(&mut self, target: Target) {
        self.wakes.push(target);
    }
}
