//! A small pool around the relay: clients with scripts, server connections with model backends, and bytes in flight between them.
//!
//! It does what the switch does (lend, hand over, release, next) and checks at each release that the backend is clean.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use poolwarden_relay::{Client, Defaults, Farewell, Fault, Idle, Keep, Out, Server, Settings, Terms, Texts, Turn};

use super::backend::Backend;
use super::script::{Direct, Script, tell};

/// How bytes are cut on their way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    Whole,
    EveryByte,
    Random,
}

/// A generator of the order in which things happen.
#[derive(Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// A server connection and its backend.
#[derive(Debug)]
pub struct Seat {
    pub server: Server,
    pub backend: Backend,
    pub to_server: Vec<u8>,
    pub to_relay: Vec<u8>,
    pub lent: Option<usize>,
    /// The client is gone, and what it left is being finished.
    pub draining: bool,
    pub used: usize,
}

/// A client and its script.
#[derive(Debug)]
pub struct Peer {
    pub client: Client,
    pub parts: VecDeque<Vec<u8>>,
    pub sent_parts: usize,
    pub direct: Direct,
    pub replies: Vec<u8>,
    pub ended: bool,
    pub fault: Option<Fault>,
    /// The server's error about its settings.
    pub unset: Option<Vec<u8>>,
}

#[derive(Debug)]
pub struct Wire {
    pub seats: Vec<Seat>,
    pub peers: Vec<Peer>,
    pub texts: Texts,
    pub terms: Terms,
    pub cut: Cut,
    pub chance: Chance,
    pub catalog: Rc<Cell<u16>>,
    pub waiting: VecDeque<usize>,
    pub now: u64,
    /// How many leases ended clean.
    pub released: usize,
    /// How many connections were given up.
    pub dropped: usize,
    /// Grants go to waiting clients by themselves.
    pub grants: bool,
}

#[derive(Clone, Copy, Debug)]
enum Move {
    Send(usize),
    Arrive(usize),
    Answer(usize),
    Grant(usize),
}

impl Wire {
    pub fn new(seats: usize, terms: Terms, cut: Cut, seed: u64) -> Self {
        let catalog = Rc::new(Cell::new(1));
        Self {
            seats: (0..seats).map(|_| Seat::new(&catalog)).collect(),
            peers: vec![],
            texts: Texts::new(1, 64 << 20),
            terms,
            cut,
            chance: Chance(seed | 1),
            catalog,
            waiting: VecDeque::new(),
            now: 0,
            released: 0,
            dropped: 0,
            grants: true,
        }
    }

    pub fn join(&mut self, script: &Script) -> usize {
        let settings = Settings::new(script.settings.iter().copied());
        let mut client = Client::new(settings);
        client.greeted(None);
        self.peers.push(Peer {
            client,
            parts: script.parts.iter().cloned().collect(),
            sent_parts: 0,
            direct: script.direct(),
            replies: vec![],
            ended: false,
            fault: None,
            unset: None,
        });
        self.peers.len() - 1
    }

    /// Lets things happen until nothing more can.
    pub fn settle(&mut self) {
        for _ in 0..2_000_000 {
            let moves = self.moves();
            if moves.is_empty() {
                return;
            }
            let chosen = moves[self.chance.below(moves.len())];
            self.now += 1000;
            self.act(chosen);
        }
        panic!("no end: {self:?}");
    }

    /// At most `count` things happen.
    pub fn steps(&mut self, count: usize) {
        for _ in 0..count {
            let moves = self.moves();
            if moves.is_empty() {
                return;
            }
            let chosen = moves[self.chance.below(moves.len())];
            self.act(chosen);
        }
    }

    /// Everything: when nothing can happen any more, clients that have sent all leave, one by one.
    pub fn run(&mut self) {
        loop {
            self.settle();
            let done = |at: &usize| !self.peers[*at].ended && self.peers[*at].parts.is_empty();
            let holder = (0..self.peers.len()).filter(done).max_by_key(|at| self.seat_of(*at).is_some());
            let Some(at) = holder else { break };
            self.leave(at);
        }
    }

    pub fn seat_of(&self, peer: usize) -> Option<usize> {
        self.seats.iter().position(|seat| seat.lent == Some(peer))
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (at, peer) in self.peers.iter().enumerate() {
            let heard = peer.sent_parts == 0 || peer.replies.len() >= peer.direct.marks[peer.sent_parts - 1];
            if !peer.ended && heard && !peer.parts.is_empty() {
                moves.push(Move::Send(at));
            }
        }
        for (at, seat) in self.seats.iter().enumerate() {
            if !seat.to_server.is_empty() {
                moves.push(Move::Arrive(at));
            }
            if !seat.to_relay.is_empty() {
                moves.push(Move::Answer(at));
            }
            if self.grants && seat.is_free() && !self.waiting.is_empty() {
                moves.push(Move::Grant(at));
            }
        }
        moves
    }

    fn portion(&mut self, length: usize) -> usize {
        match self.cut {
            Cut::Whole => length,
            Cut::EveryByte => 1.min(length),
            Cut::Random if self.chance.below(3) == 0 => length,
            Cut::Random => 1 + self.chance.below(length.min(40)),
        }
    }

    fn act(&mut self, chosen: Move) {
        match chosen {
            Move::Send(at) => {
                let length = self.peers[at].parts[0].len();
                let portion = if length == 0 { 0 } else { self.portion(length) };
                let part = &mut self.peers[at].parts[0];
                let bytes: Vec<u8> = part.drain(..portion).collect();
                if part.is_empty() {
                    self.peers[at].parts.pop_front();
                    self.peers[at].sent_parts += 1;
                }
                self.say(at, &bytes);
            }
            Move::Arrive(at) => {
                let portion = self.portion(self.seats[at].to_server.len());
                let seat = &mut self.seats[at];
                let bytes: Vec<u8> = seat.to_server.drain(..portion).collect();
                seat.backend.receive(&bytes);
                seat.to_relay.append(&mut seat.backend.output());
            }
            Move::Answer(at) => {
                let portion = self.portion(self.seats[at].to_relay.len());
                let bytes: Vec<u8> = self.seats[at].to_relay.drain(..portion).collect();
                self.hear(at, &bytes);
            }
            Move::Grant(at) => self.grant(at),
        }
    }

    /// Client `at` says something.
    pub fn say(&mut self, at: usize, bytes: &[u8]) {
        self.peers[at].client.keep(bytes);
        self.pump(at);
    }

    /// Hands over what client `at` has pending.
    pub fn pump(&mut self, at: usize) {
        let others_wait = !self.waiting.is_empty();
        let seat = self.seat_of(at);
        let peer = &mut self.peers[at];
        let input = std::mem::take(&mut peer.client.pending);
        let Some(seat) = seat else {
            if self.waiting.contains(&at) {
                peer.client.keep(&input);
                return;
            }
            let looked = peer.client.idle_input(&input, &mut peer.replies);
            match looked {
                Ok((taken, idle)) => {
                    peer.client.keep(&input[taken..]);
                    match idle {
                        Idle::Wants => self.waiting.push_back(at),
                        Idle::Leaves => drop(self.leave(at)),
                        Idle::Nothing => peer.client.rest(),
                    }
                }
                Err(fault) => self.expel(at, fault),
            }
            return;
        };
        let seat = &mut self.seats[seat];
        seat.server.others_wait = others_wait;
        let mut out = Out::default();
        let taken = seat.server.from_client(self.now, &mut peer.client, &mut self.texts, &input, &mut out);
        seat.to_server.extend_from_slice(out.server.bytes(&input));
        peer.replies.extend_from_slice(out.client.bytes(&input));
        match taken {
            Ok(taken) => peer.client.keep(&input[taken..]),
            Err(Fault::Leaves) => drop(self.leave(at)),
            Err(fault) => self.expel(at, fault),
        }
    }

    fn expel(&mut self, at: usize, fault: Fault) {
        self.peers[at].fault = Some(fault);
        self.leave(at);
    }

    /// Seat `at` hears from its backend.
    pub fn hear(&mut self, at: usize, bytes: &[u8]) {
        let others_wait = !self.waiting.is_empty();
        let seat = &mut self.seats[at];
        seat.server.others_wait = others_wait;
        let mut input = std::mem::take(&mut seat.server.pending);
        input.extend_from_slice(bytes);
        let mut out = Out::default();
        let lent = seat.lent;
        let client = lent.map(|peer| (&mut self.peers[peer].client, &mut self.texts));
        let heard = seat.server.from_server(self.now, client, &input, &mut out);
        let (taken, turn) = match heard {
            Ok(heard) => heard,
            Err(Fault::Server(what)) if seat.draining && what.contains("interrupted COPY") => return self.replace(at),
            Err(fault) => panic!("{fault} {seat:?}"),
        };
        seat.to_server.extend_from_slice(out.server.bytes(&input));
        if let Some(peer) = lent {
            self.peers[peer].replies.extend_from_slice(out.client.bytes(&input));
        } else {
            assert!(out.client.is_empty(), "something for a client that is gone");
        }
        seat.server.pending = input[taken..].to_vec();
        match turn {
            Turn::More => {}
            Turn::Opened => {
                self.pump(lent.expect("a gate opens for a client"));
                if !self.seats[at].server.pending.is_empty() {
                    return self.hear(at, &[]);
                }
            }
            Turn::Released => self.release(at),
            Turn::Spoiled => {
                let peer = lent.expect("a client was served");
                self.replace(at);
                return self.pump(peer);
            }
            Turn::SetupFailed => {
                let peer = lent.expect("settings are made for a client");
                self.peers[peer].unset = self.seats[at].server.failure();
                self.end(peer);
                self.replace(at);
                return;
            }
        }
        let seat = &self.seats[at];
        if seat.backend.closed && seat.to_relay.is_empty() && seat.server.pending.is_empty() {
            assert!(seat.server.said_fatal(), "the model closes only after a FATAL: {seat:?}");
            if let Some(peer) = seat.lent {
                self.end(peer);
            }
            self.replace(at);
        }
    }

    fn release(&mut self, at: usize) {
        let lent = self.seats[at].lent.take();
        let was_draining = std::mem::take(&mut self.seats[at].draining);
        let seat = &mut self.seats[at];
        assert!(lent.is_some() || was_draining, "released by nobody");
        assert_eq!(seat.backend.unclean(&seat.to_server), None);
        if self.terms.keep == Keep::Session && lent.is_none() && seat.used > 0 {
            let mut out = Out::default();
            seat.used = 0;
            seat.server.reset(self.now, "discard all", &mut out);
            seat.to_server.extend_from_slice(out.server.bytes(&[]));
            seat.draining = true;
            return;
        }
        if self.terms.keep == Keep::Session {
            seat.server.was_reset();
        }
        for (name, ..) in super::backend::REPORTED {
            let known = seat.server.settings().value(name).or_else(|| seat.server.defaults().value(name));
            assert_eq!(known, Some(seat.backend.setting(name)), "what is known of {name}");
        }
        assert_eq!(seat.backend.left_behind(seat.server.settings()), None);
        let end = seat.server.settle(self.now);
        assert!(end.held >= end.on_server + end.idle_in_transaction, "{end:?}");
        self.released += 1;
        if !seat.server.pending.is_empty() || !seat.to_relay.is_empty() {
            self.hear(at, &[]);
        }
        if let Some(peer) = lent {
            self.pump(peer);
        }
    }

    /// Lends seat `at` to who waits longest.
    pub fn grant(&mut self, at: usize) {
        let peer = self.waiting.pop_front().expect("somebody waits");
        let seat = &mut self.seats[at];
        seat.lent = Some(peer);
        seat.used += 1;
        let mut out = Out::default();
        seat.server.lend(self.now, self.terms, &mut self.peers[peer].client, &mut out);
        seat.to_server.extend_from_slice(out.server.bytes(&[]));
        self.pump(peer);
    }

    /// Client `at` goes.
    pub fn leave(&mut self, at: usize) -> Option<Farewell> {
        self.waiting.retain(|peer| *peer != at);
        let seat = self.seat_of(at);
        let farewell = seat.map(|seat| self.farewell(seat, at));
        self.end(at);
        farewell
    }

    fn farewell(&mut self, at: usize, peer: usize) -> Farewell {
        let cancels = self.chance.below(2) == 0;
        let seat = &mut self.seats[at];
        let mut out = Out::default();
        let farewell = seat.server.client_gone(self.now, &self.peers[peer].client, &mut out);
        seat.to_server.extend_from_slice(out.server.bytes(&[]));
        seat.lent = None;
        seat.draining = true;
        match farewell {
            Farewell::Clean => self.release(at),
            Farewell::Broken => self.replace(at),
            Farewell::Draining { cancel } => {
                if cancel && cancels {
                    seat.backend.cancel();
                    seat.to_relay.append(&mut seat.backend.output());
                }
            }
        }
        farewell
    }

    fn end(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        peer.ended = true;
        peer.parts.clear();
        peer.client.leave(&mut self.texts);
        for seat in &mut self.seats {
            if seat.lent == Some(at) {
                seat.lent = None;
            }
        }
    }

    fn replace(&mut self, at: usize) {
        self.seats[at] = Seat::new(&self.catalog);
        self.dropped += 1;
    }

    /// Every client has heard what it would have heard alone, and every connection is at rest.
    pub fn check(&self) {
        for (at, peer) in self.peers.iter().enumerate() {
            assert_eq!(peer.fault, None, "client {at}");
            assert!(
                peer.replies == peer.direct.replies,
                "client {at}\n through the relay: {}\n directly:          {}",
                tell(&peer.replies),
                tell(&peer.direct.replies)
            );
        }
        for seat in &self.seats {
            assert!(seat.is_free(), "left busy: {seat:?}");
            assert_eq!(seat.backend.unclean(&seat.to_server), None);
        }
    }
}

impl Seat {
    fn new(catalog: &Rc<Cell<u16>>) -> Self {
        let backend = Backend::new(catalog.clone(), &[]);
        let server = Server::new(Some(1), vec![0; 4], Arc::new(Defaults::new(&backend.parameters())));
        Self { server, backend, to_server: vec![], to_relay: vec![], lent: None, draining: false, used: 0 }
    }

    pub fn is_free(&self) -> bool {
        self.lent.is_none() && !self.draining && !self.backend.closed
    }
}

/// Runs the scripts together, cut in every way, over one and several connections.
pub fn same(scripts: &[Script]) {
    same_under(Terms::default(), scripts);
}

pub fn same_under(terms: Terms, scripts: &[Script]) {
    for cut in [Cut::Whole, Cut::EveryByte, Cut::Random] {
        for seats in 1..=3 {
            for seed in [3, 0x9e37_79b9_7f4a_7c15, 77] {
                let mut wire = Wire::new(seats, terms, cut, seed);
                for script in scripts {
                    wire.join(script);
                }
                wire.run();
                wire.check();
            }
        }
    }
}
