//! One loop with one server connection and two clients, in a world that keeps what it is given.

#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::{DatabaseSettings, HostId, HostSettings, LoopId, Mode, PoolKey, Time};
use poolwarden_switch::relay::pgwire::make;
use poolwarden_switch::relay::{Defaults, Keep, Server};
use poolwarden_switch::{
    Desk, Errand, Io, Joining, Mail, Newcomer, Peer, PoolTerms, Rules, Secret, Sent, Shared, Switch, Target, TermsBook,
};

pub const FIRST: Peer = Peer::Client(0);
pub const SECOND: Peer = Peer::Client(1);
pub const SERVER: Peer = Peer::Server(0);

/// A world that keeps what it is given.
#[derive(Default)]
pub struct World {
    pub sent: BTreeMap<Peer, Vec<u8>>,
    pub finished: BTreeSet<Peer>,
    pub closed: BTreeSet<Peer>,
    /// Those who do not read.
    pub deaf: BTreeSet<Peer>,
}

impl Io for World {
    type Link = ();

    fn attach(&mut self, _: Peer, (): ()) {}
    fn turn_away(&mut self, (): (), _: &[u8]) {}
    fn detach(&mut self, _: Peer) -> Option<()> {
        Some(())
    }
    fn send(&mut self, peer: Peer, bytes: &[u8]) -> Sent {
        self.sent.entry(peer).or_default().extend_from_slice(bytes);
        if self.deaf.contains(&peer) { Sent::Blocked } else { Sent::All }
    }
    fn has_unread(&mut self, _: Peer) -> bool {
        false
    }
    fn resume(&mut self, _: Peer) {}
    fn finish(&mut self, peer: Peer) {
        self.finished.insert(peer);
    }
    fn close(&mut self, peer: Peer) {
        self.closed.insert(peer);
    }
    fn wake(&mut self, _: Target) {}
}

/// One loop, one server connection, two clients that have been welcomed.
pub struct Scene {
    pub shared: Arc<Shared<()>>,
    pub switch: Switch<()>,
    pub world: World,
    pub now: Time,
}

impl Scene {
    pub fn new(keep: Keep, mode: Mode) -> Self {
        let any = DatabaseSettings { size: 1, mode, max_wait: Duration::from_secs(600), ..Default::default() };
        Self::under(any, TermsBook { any: PoolTerms { keep, ..PoolTerms::default() }, ..TermsBook::default() })
    }

    pub fn under(any: DatabaseSettings, book: TermsBook) -> Self {
        let settings =
            HostSettings { any: Some(any), max_connections: Some(10), guard: book.guard, ..HostSettings::default() };
        let shared = Arc::new(Shared::new(vec![settings], 1, 1, book));
        let switch = Switch::new(LoopId(0), shared.clone(), Rules::default());
        let mut scene = Self { shared, switch, world: World::default(), now: Time::ZERO };
        scene.join(1);
        scene.connect();
        scene.join(2);
        scene.world.sent.clear();
        scene
    }

    pub fn mail(&mut self, mail: Mail<()>) {
        self.shared.post(LoopId(0), mail, &mut Desk::new(None));
        self.switch.mail(self.now, &mut self.world);
    }

    /// What every client's cancel key has.
    pub fn secret(&self) -> Secret {
        Secret::new([7; 32], 0, None)
    }

    pub fn join(&mut self, serial: u64) {
        self.join_with(serial, None);
    }

    pub fn join_with(&mut self, serial: u64, deadline: Option<Duration>) {
        self.join_as(serial, deadline, Vec::new());
    }

    pub fn join_as(&mut self, serial: u64, deadline: Option<Duration>, settings: Vec<(String, String)>) {
        let joining = Joining {
            host: HostId(0),
            key: PoolKey { database: "app".into(), user: "app".into() },
            user: None,
            deadline,
            settings,
            leftover: Vec::new(),
            alone: None,
            secret: self.secret(),
            serial,
            connected_at: 0,
            remote: None,
            local: None,
            tls: None,
        };
        self.mail(Mail::Join(Box::new(joining), ()));
    }

    /// Answers the core's wish for a server connection.
    pub fn connect(&mut self) {
        for errand in self.shared.errands() {
            let Errand::Open { host, conn, pool, .. } = errand else { continue };
            let pool = self.shared.pool(host, pool).unwrap();
            let defaults = pool.learn(Defaults::new(&[("TimeZone".into(), "UTC".into())]));
            let server = Server::new(Some(1), vec![0; 4], defaults);
            let newcomer = Newcomer {
                host,
                conn,
                pool,
                server,
                opened_at: 0,
                serial: 9,
                remote: None,
                local: None,
                tls: None,
                link: (),
            };
            self.mail(Mail::Opened(Box::new(newcomer)));
        }
    }

    pub fn receive(&mut self, peer: Peer, bytes: &[u8]) {
        self.switch.received(self.now, peer, bytes, &mut self.world);
    }

    /// What was sent to `peer`, behind `already`.
    pub fn said(&self, peer: Peer, already: &[u8]) -> &[u8] {
        self.world.sent[&peer].strip_prefix(already).unwrap()
    }
}

pub fn query(sql: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    make::query(&mut bytes, sql);
    bytes
}
