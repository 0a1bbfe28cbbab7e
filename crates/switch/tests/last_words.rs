//! What is said last: to a client that must go, and to the server connection it leaves behind.

#![allow(clippy::unwrap_used)] // a test may end where its premise fails

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::{ClassId, DatabaseSettings, HostId, HostSettings, LoopId, Mode, PoolKey, Time};
use poolwarden_switch::relay::pgwire::{frame, make, read};
use poolwarden_switch::relay::{Defaults, Keep, Server};
use poolwarden_switch::{
    Desk, Errand, Io, Joining, Mail, Newcomer, Peer, PoolTerms, Rules, Secret, Sent, Shared, Switch, Target, TermsBook,
};

const FIRST: Peer = Peer::Client(0);
const SECOND: Peer = Peer::Client(1);
const SERVER: Peer = Peer::Server(0);

/// A world that keeps what it is given.
#[derive(Default)]
struct World {
    sent: BTreeMap<Peer, Vec<u8>>,
    finished: BTreeSet<Peer>,
    closed: BTreeSet<Peer>,
    /// Those who do not read.
    deaf: BTreeSet<Peer>,
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
struct Scene {
    shared: Arc<Shared<()>>,
    switch: Switch<()>,
    world: World,
    now: Time,
}

impl Scene {
    fn new(keep: Keep, mode: Mode) -> Self {
        let any = Some(DatabaseSettings { size: 1, mode, max_wait: Duration::from_secs(600), ..Default::default() });
        let settings = HostSettings { any, max_connections: Some(10), ..HostSettings::default() };
        let book = TermsBook { any: PoolTerms { keep, ..PoolTerms::default() }, ..TermsBook::default() };
        let shared = Arc::new(Shared::new(vec![settings], 1, 1, book));
        let switch = Switch::new(LoopId(0), shared.clone(), Rules::default());
        let mut scene = Self { shared, switch, world: World::default(), now: Time::ZERO };
        scene.join(1);
        scene.connect();
        scene.join(2);
        scene.world.sent.clear();
        scene
    }

    fn mail(&mut self, mail: Mail<()>) {
        self.shared.post(LoopId(0), mail, &mut Desk::new(None));
        self.switch.mail(self.now, &mut self.world);
    }

    fn join(&mut self, serial: u64) {
        let joining = Joining {
            host: HostId(0),
            key: PoolKey { database: "app".into(), user: "app".into() },
            class: ClassId(0),
            settings: Vec::new(),
            leftover: Vec::new(),
            alone: None,
            secret: Secret::new([7; 32], 0, None),
            serial,
            connected_at: 0,
            remote: None,
            local: None,
            tls: None,
        };
        self.mail(Mail::Join(Box::new(joining), ()));
    }

    /// Answers the core's wish for a server connection.
    fn connect(&mut self) {
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

    fn receive(&mut self, peer: Peer, bytes: &[u8]) {
        self.switch.received(self.now, peer, bytes, &mut self.world);
    }

    /// The first client asks, does not read its reply, which is `reply`, and the second waits, until the first one's time is up.
    fn stall(&mut self, reply: &[u8]) {
        self.receive(FIRST, &query("select 1"));
        self.world.deaf.insert(FIRST);
        self.receive(SERVER, reply);
        self.receive(SECOND, &query("select 2"));
        self.now = self.switch.poll_timeout().unwrap();
        self.switch.timeout(self.now, &mut self.world);
        assert!(self.world.closed.contains(&FIRST), "it still holds what the second waits for");
    }

    /// What was sent to `peer`, behind `already`.
    fn said(&self, peer: Peer, already: &[u8]) -> &[u8] {
        self.world.sent[&peer].strip_prefix(already).unwrap()
    }
}

fn query(sql: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    make::query(&mut bytes, sql);
    bytes
}

fn row() -> Vec<u8> {
    let mut bytes = Vec::new();
    make::data_row(&mut bytes, &[Some(b"12345")]);
    bytes
}

#[test]
fn nothing_is_said_behind_half_a_request_of_a_client_that_broke_the_rules() {
    let mut scene = Scene::new(Keep::Statement, Mode::Statement);
    let mut both = query("begin");
    let half = b"E\0\0\0\x09\0\0\0\0\0"; // an Execute, which needs no reading; a query is held until it was read
    both.extend_from_slice(&half[..half.len() - 2]);
    scene.receive(FIRST, &both);
    let mut reply = Vec::new();
    make::command_complete(&mut reply, "BEGIN");
    make::ready(&mut reply, b'T');
    scene.receive(SERVER, &reply);
    assert!(scene.world.closed.contains(&FIRST), "statement mode knows no transactions");
    assert_eq!(scene.said(SERVER, &both), b"", "it would be taken for the rest of the request");
    assert!(scene.world.finished.contains(&SERVER), "the end of the stream is the end of the request");
}

#[test]
fn a_server_connection_that_waits_for_nothing_is_told_to_end() {
    let mut scene = Scene::new(Keep::Statement, Mode::Statement);
    let begin = query("begin");
    scene.receive(FIRST, &begin);
    let mut reply = Vec::new();
    make::command_complete(&mut reply, "BEGIN");
    make::ready(&mut reply, b'T');
    scene.receive(SERVER, &reply);
    let mut terminate = Vec::new();
    make::terminate(&mut terminate);
    assert_eq!(scene.said(SERVER, &begin), terminate);
}

#[test]
fn a_client_that_does_not_read_while_others_wait_is_told_why_it_goes() {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    scene.stall(&row());
    let word = scene.said(FIRST, &row());
    let header = frame::header(word).unwrap().unwrap();
    let fields = read::report(&word[frame::HEADER..]);
    assert_eq!((header.tag, header.total()), (b'E', word.len()));
    assert_eq!((&*fields.severity, &*fields.sqlstate), ("FATAL", "57P01"));
    assert!(fields.message.contains("not being read"), "{}", fields.message);
}

#[test]
fn a_client_that_stopped_reading_in_the_middle_of_a_row_is_told_nothing_in_it() {
    let mut scene = Scene::new(Keep::Transaction, Mode::Transaction);
    let row = row();
    let half = &row[..row.len() - 2];
    scene.stall(half);
    assert_eq!(scene.said(FIRST, half), b"");
}

#[test]
fn what_a_session_left_is_reset_under_the_terms_it_had() {
    let mut scene = Scene::new(Keep::Session, Mode::Session);
    let shared = PoolTerms { keep: Keep::Transaction, reset_query: String::new(), ..PoolTerms::default() };
    scene.shared.retune(TermsBook { any: shared, ..TermsBook::default() });
    scene.receive(FIRST, b"X\0\0\0\x04");
    assert!(scene.world.closed.contains(&FIRST));
    assert_eq!(
        scene.said(SERVER, b""),
        query("DISCARD ALL"),
        "those who share the connection from now on find nothing of it"
    );
}
