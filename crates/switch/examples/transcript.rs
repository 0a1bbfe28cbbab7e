//! A fixed transcript through relay, switch and core, N times: what one transaction costs in user instructions, without a kernel.
//!
//! One loop, two clients, one server connection, so that every second transaction waits for a hand-over: a simple query,
//! an unnamed statement and a named one, in turn. Counted under `valgrind --tool=callgrind` by `xtask instructions`.
//! Checkouts are recorded meanwhile, as they are unless somebody turns that off.
//! `transcript N refusals` runs N requests that are refused at once instead.

use std::hint::black_box;
use std::sync::Arc;

use poolwarden_switch::pool::{DatabaseSettings, HostId, HostSettings, LoopId, PoolKey, Time};
use poolwarden_switch::relay::pgwire::make;
use poolwarden_switch::relay::{Defaults, Server};
use poolwarden_switch::{
    Detail, Ended, Errand, Io, Joining, Mail, Newcomer, Peer, Rules, Secret, Sent, Shared, Switch, Target, TermsBook,
};

/// A world that takes everything at once and keeps nothing but its size.
#[derive(Default)]
struct Sink {
    to_clients: usize,
    to_servers: usize,
}

impl Io for Sink {
    type Link = ();

    fn attach(&mut self, _: Peer, (): ()) {}
    fn turn_away(&mut self, (): (), _: &[u8]) {}
    fn detach(&mut self, _: Peer) -> Option<()> {
        Some(())
    }
    fn send(&mut self, peer: Peer, bytes: &[u8]) -> Sent {
        match peer {
            Peer::Client(_) => self.to_clients += black_box(bytes).len(),
            Peer::Server(_) => self.to_servers += black_box(bytes).len(),
        }
        Sent::All
    }
    fn has_unread(&mut self, _: Peer) -> bool {
        false
    }
    fn resume(&mut self, _: Peer) {}
    fn finish(&mut self, _peer: Peer) {}
    fn close(&mut self, _: Peer) {}
    fn wake(&mut self, _: Target) {}
}

/// Kept of what ended, and taken after as many transactions: what a busy second gives in a tenth of it.
const RECORDED: usize = 500;

struct Scene {
    shared: Arc<Shared<()>>,
    switch: Switch<()>,
    sink: Sink,
    clock: u64,
}

impl Scene {
    fn new(max_queue: u32) -> Self {
        let any = Some(DatabaseSettings { size: 1, max_queue, ..DatabaseSettings::default() });
        let settings = HostSettings { any, max_connections: Some(10), ..HostSettings::default() };
        let shared = Arc::new(Shared::new(vec![settings], 1, 1, TermsBook::default()));
        let switch = Switch::new(LoopId(0), shared.clone(), Rules::default());
        Self { shared, switch, sink: Sink::default(), clock: 1 }
    }

    fn now(&mut self) -> Time {
        self.clock += 10_000;
        Time::from_nanos(self.clock)
    }

    fn mail(&mut self) {
        let now = self.now();
        self.switch.mail(now, &mut self.sink);
    }

    fn join(&mut self, serial: u64) {
        let joining = Joining {
            host: HostId(0),
            key: PoolKey { database: "app".into(), user: "app".into() },
            user: None,
            deadline: None,
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
        let mut desk = poolwarden_switch::Desk::new(None);
        self.shared.post(LoopId(0), Mail::Join(Box::new(joining), ()), &mut desk);
        self.mail();
    }

    /// Answers the core's wish for a server connection.
    fn connect(&mut self) {
        for errand in self.shared.errands() {
            let Errand::Open { host, conn, pool, near } = errand else { continue };
            let Some(pool) = self.shared.pool(host, pool) else { continue };
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
            let mut desk = poolwarden_switch::Desk::new(None);
            self.shared.post(near, Mail::Opened(Box::new(newcomer)), &mut desk);
        }
        self.mail();
    }

    fn receive(&mut self, peer: Peer, bytes: &[u8]) {
        let now = self.now();
        self.switch.received(now, peer, bytes, &mut self.sink);
    }
}

/// What a client sends and what the server answers.
struct Exchange {
    request: Vec<u8>,
    answer: Vec<u8>,
}

fn rows(answer: &mut Vec<u8>) {
    make::data_row(answer, &[Some(b"12345")]);
    make::command_complete(answer, "SELECT 1");
    make::ready(answer, b'I');
}

fn bind_execute_sync(request: &mut Vec<u8>, statement: &str) {
    let body = [b"\0", statement.as_bytes(), b"\0\0\0\0\x01\0\0\0\x0542424\0\0"].concat();
    request.push(b'B');
    request.extend_from_slice(&u32::try_from(body.len() + 4).unwrap_or(0).to_be_bytes());
    request.extend_from_slice(&body);
    request.extend_from_slice(b"E\0\0\0\x09\0\0\0\0\0");
    make::sync(request);
}

fn script() -> [Exchange; 3] {
    const SQL: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 42424";
    const WITH_PARAMETER: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
    let column = make::Column { name: "abalance", oid: 23, size: 4 };
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    make::query(&mut request, SQL);
    make::row_description(&mut answer, &[make::Column { ..column }]);
    rows(&mut answer);
    let simple = Exchange { request, answer };

    let (mut request, mut answer) = (Vec::new(), Vec::new());
    make::parse(&mut request, "", WITH_PARAMETER, &[]);
    bind_execute_sync(&mut request, "");
    make::parse_complete(&mut answer);
    make::bind_complete(&mut answer);
    rows(&mut answer);
    let unnamed = Exchange { request, answer };

    let (mut request, mut answer) = (Vec::new(), Vec::new());
    bind_execute_sync(&mut request, "P1");
    make::bind_complete(&mut answer);
    rows(&mut answer);
    [simple, unnamed, Exchange { request, answer }]
}

/// Simple queries that are refused at once, because one client holds the only connection and another waits already.
fn refusals(count: usize) {
    let mut scene = Scene::new(1);
    scene.join(1);
    scene.connect();
    scene.join(2);
    scene.join(3);
    let [Exchange { request, .. }, ..] = script();
    scene.receive(Peer::Client(0), &request);
    scene.receive(Peer::Client(1), &request);
    let before = scene.sink.to_clients;
    for _ in 0..count {
        scene.receive(Peer::Client(2), &request);
    }
    assert!(scene.sink.to_clients - before > count * 100, "every request is refused in words");
}

fn main() {
    #[allow(clippy::disallowed_methods, reason = "an example is run from outside, and this is how it is told")]
    let mut arguments = std::env::args().skip(1);
    let transactions: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1000);
    if arguments.next().is_some_and(|what| what == "refusals") {
        return refusals(transactions);
    }
    let mut scene = Scene::new(1000);
    scene.join(1);
    scene.connect();
    scene.join(2);
    let mut prepare = Vec::new();
    make::parse(&mut prepare, "P1", "SELECT abalance FROM pgbench_accounts WHERE aid = $1", &[]);
    make::sync(&mut prepare);
    scene.receive(Peer::Client(0), &prepare);
    let mut answer = Vec::new();
    make::parse_complete(&mut answer);
    make::ready(&mut answer, b'I');
    scene.receive(Peer::Server(0), &answer);
    // Known to be good by now: answered without the server.
    scene.receive(Peer::Client(1), &prepare);
    let script = script();
    let mut ended = Ended { records: Vec::with_capacity(RECORDED), ..Ended::default() };
    let mut recorded = 0;
    for pair in 0..transactions.div_ceil(2) {
        if pair % (RECORDED / 2) == 0 {
            scene.shared.ended(HostId(0), RECORDED, &mut ended);
            recorded += ended.records.len() as u64 + ended.lost;
        }
        let exchange = &script[pair % script.len()];
        scene.receive(Peer::Client(0), &exchange.request);
        scene.receive(Peer::Client(1), &exchange.request); // waits, and is handed the connection
        scene.receive(Peer::Server(0), &exchange.answer);
        scene.receive(Peer::Server(0), &exchange.answer);
    }
    let report = scene.switch.report(Time::from_nanos(scene.clock), Detail::Totals);
    let done: u64 = report.totals.iter().map(|(_, totals)| totals.transactions).sum();
    let expected = transactions.div_ceil(2) as u64 * 2 + 1;
    assert_eq!(done, expected, "every transaction of the transcript ends");
    scene.shared.ended(HostId(0), RECORDED, &mut ended);
    recorded += ended.records.len() as u64;
    assert!(recorded >= expected - 1 && ended.lost == 0, "every checkout is told once: {recorded}");
    assert!(scene.sink.to_clients > 0 && scene.sink.to_servers > 0);
}
