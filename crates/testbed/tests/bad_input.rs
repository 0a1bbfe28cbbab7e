//! Broken and hostile clients are refused within bounds, and a good client never notices.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use poolwarden_testbed::crowd::{Crowd, Habit};
use poolwarden_testbed::wire::{message, startup};
use poolwarden_testbed::{Bed, Fault, Plan, Target, Wire, bed, child, place, until};

/// A good client's answer never takes longer, whatever the others do.
const BOUND: Duration = Duration::from_secs(2);
/// A refused client has been told and closed by then.
const PATIENCE: Duration = Duration::from_secs(15);
/// What the bad clients of one test may cost in memory, in bytes.
const MEMORY: u64 = 64 << 20;

/// A client that goes on working beside the bad ones.
#[derive(Default)]
struct Good {
    stop: AtomicBool,
    served: AtomicUsize,
    slowest: Mutex<Duration>,
}

impl Good {
    fn work(&self, mut wire: Wire) {
        let mut number = 0_usize;
        while !self.stop.load(Ordering::Acquire) {
            let asked = Instant::now();
            let answer = wire.query(&format!("select {number}")).expect("the good client is served");
            assert_eq!(answer.value(), number.to_string());
            let mut slowest = self.slowest.lock().expect("not poisoned");
            *slowest = asked.elapsed().max(*slowest);
            number += 1;
            self.served.store(number, Ordering::Release);
        }
    }
}

struct StopOnDrop<'a>(&'a Good);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

/// Runs `bad` while a good client works, and judges the good one's answers and the pooler's memory.
fn beside_a_good_client(bed: &Bed, bad: impl FnOnce()) {
    let good = Good::default();
    let wire = bed.client();
    let before = bed.pooler().map(|pooler| child::peak_memory(pooler.pid()).expect("poolwarden runs"));
    thread::scope(|scope| {
        let stop = StopOnDrop(&good);
        let worker = scope.spawn(|| good.work(wire));
        bad();
        let now = good.served.load(Ordering::Acquire);
        until("the good client to go on", BOUND * 5, || {
            (worker.is_finished() || good.served.load(Ordering::Acquire) > now + 10).then_some(())
        });
        drop(stop);
        worker.join().expect("the good client was disturbed");
    });
    let slowest = *good.slowest.lock().expect("not poisoned");
    eprintln!("the good client: {} answers, slowest {slowest:?}", good.served.load(Ordering::Acquire));
    assert!(slowest < BOUND, "the good client waited {slowest:?}");
    if let (Some(pooler), Some(before)) = (bed.pooler(), before) {
        let grown = child::peak_memory(pooler.pid()).expect("poolwarden runs") - before;
        eprintln!("poolwarden grew by {} KiB", grown / 1024);
        assert!(grown < MEMORY, "the bad clients cost {} MiB", grown >> 20);
    }
}

/// Says that no more comes, so that a server which waits for the rest of a message sees the end,
/// and reads until the other end has closed; panics when it does not, or talks without end.
fn until_closed(mut wire: Wire, what: &str) {
    wire.patience(PATIENCE).expect("a socket");
    wire.finish().expect("a socket");
    if let Err(fault) = wire.rest(16 << 10) {
        panic!("{what}: not closed: {fault}");
    }
}

fn length(bytes: i32) -> Vec<u8> {
    bytes.to_be_bytes().to_vec()
}

/// What may come before a login.
fn before_login() -> Vec<(&'static str, Vec<u8>)> {
    let version = [0, 3, 0, 0];
    vec![
        ("a start-up of length 0", length(0)),
        ("a start-up of length 3", length(3)),
        ("a start-up of length 7", [&length(7)[..], &[1, 2, 3]].concat()),
        ("a start-up of 2^31-1 bytes", [&length(i32::MAX)[..], &version].concat()),
        ("a start-up of negative length", [&length(-1)[..], &version].concat()),
        ("a start-up without its end", [&length(16)[..], &version, b"user\0app"].concat()),
        ("a start-up of protocol 9", [&length(9)[..], &[0, 9, 0, 0, 0]].concat()),
        ("a request of HTTP", b"GET / HTTP/1.0\r\n\r\n".to_vec()),
        ("a greeting of TLS without asking", [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc][..], &[0; 64]].concat()),
        ("zeroes", vec![0; 4096]),
    ]
}

/// What may come after the server has asked for a password.
fn during_login() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a password of length 0", [b"p", &length(0)[..]].concat()),
        ("a password of length 3", [b"p", &length(3)[..]].concat()),
        ("a password of 2^31-1 bytes", [b"p", &length(i32::MAX)[..]].concat()),
        ("a query instead of a password", message(b'Q', b"select 1\0")),
        ("an empty SASL answer", message(b'p', b"")),
        ("a SASL answer longer than it says", message(b'p', b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=x")),
        ("an unknown SASL mechanism", message(b'p', b"SCRAM-MD5\0\0\0\0\x08n,,n=,r=x")),
        ("a SCRAM message without a nonce", message(b'p', b"SCRAM-SHA-256\0\0\0\0\x03n,,")),
    ]
}

/// What may come after a login: each ends the connection.
fn after_login() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a query of length 0", [b"Q", &length(0)[..]].concat()),
        ("a query of length 3", [b"Q", &length(3)[..]].concat()),
        ("a query of 2^31-1 bytes", [b"Q", &length(i32::MAX)[..]].concat()),
        ("a bind of negative length", [b"B", &length(-5)[..]].concat()),
        ("an unknown message", message(b'!', b"what")),
        ("a message of tag zero", [&[0][..], &length(4)].concat()),
        ("a sync of 2^31-1 bytes", [b"S", &length(i32::MAX)[..]].concat()),
    ]
}

#[test]
fn malformed_starts_are_closed_and_logged_with_their_address() {
    let _machine = place::machine(false);
    let bed = Bed::start(Plan::default());
    let mut ports = Vec::new();
    beside_a_good_client(&bed, || {
        for (what, bytes) in before_login() {
            let mut wire = Wire::dial(&bed.address()).expect("connect");
            ports.push(wire.local_port());
            wire.send(&bytes).expect("the first bytes are always taken");
            until_closed(wire, what);
        }
        for (what, bytes) in during_login() {
            let mut wire = Wire::dial(&bed.address()).expect("connect");
            ports.push(wire.local_port());
            wire.send(&startup(&bed::login())).expect("a start-up is taken");
            let (tag, _) = wire.receive().expect("a request for a password");
            assert_eq!(tag, b'R');
            wire.send(&bytes).expect("the first bytes are always taken");
            until_closed(wire, what);
        }
    });
    if let Some(pooler) = bed.pooler() {
        // Repeats are folded, so not every one of them has a line of its own; a line is written a moment later.
        until("an address in the log", PATIENCE, || {
            let log = pooler.log();
            ports.iter().any(|port| log.contains(&format!("127.0.0.1:{port}"))).then_some(())
        });
    }
}

#[test]
fn malformed_messages_after_the_login_end_their_own_session_alone() {
    let _machine = place::machine(false);
    let bed = Bed::start(Plan::default());
    beside_a_good_client(&bed, || {
        for (what, bytes) in after_login() {
            let mut wire = bed.client();
            wire.send(&bytes).expect("the first bytes are always taken");
            until_closed(wire, what);
        }
    });
}

/// Frames that are whole, with contents that are not: the server's own 08P01 or 22P03, and the session goes on.
#[test]
fn malformed_contents_are_answered_with_an_error_and_the_session_goes_on() {
    let _machine = place::machine(false);
    let bed = Bed::start(Plan::default());
    let sync = message(b'S', b"");
    let bodies: [(&str, u8, &[u8]); 6] = [
        ("a bind whose counts promise more", b'B', b"\0\0\0\0\x7f\xff"),
        ("a bind without a body", b'B', b""),
        ("a parse without its end", b'P', b"name without end"),
        ("a parse that promises types", b'P', b"\0select 1\0\x00\x05"),
        ("a describe of an unknown kind", b'D', b"X\0"),
        ("an execute of no portal", b'E', b"nowhere\0\0\0\0\0"),
    ];
    beside_a_good_client(&bed, || {
        for (what, tag, body) in bodies {
            let mut wire = bed.client();
            wire.send(&[message(tag, body), sync.clone()].concat()).expect("sent");
            match wire.answer() {
                Err(Fault::Server(notice)) if notice.severity == "ERROR" => {
                    assert_eq!(wire.query("select 5").expect("served after the error").value(), "5", "{what}");
                }
                Err(Fault::Server(_) | Fault::Closed) => {}
                other => panic!("{what}: {other:?}"),
            }
        }
    });
}

#[test]
fn a_gigabyte_of_password_is_refused_after_a_few_bytes() {
    let _machine = place::machine(false);
    let bed = Bed::start(Plan::default());
    beside_a_good_client(&bed, || {
        let mut wire = Wire::dial(&bed.address()).expect("connect");
        wire.patience(PATIENCE).expect("a socket");
        wire.send(&startup(&bed::login())).expect("a start-up is taken");
        let (tag, _) = wire.receive().expect("a request for a password");
        assert_eq!(tag, b'R');
        wire.send(&[b"p", &length(1 << 30)[..]].concat()).expect("the header is taken");
        let chunk = vec![b'x'; 64 << 10];
        let started = Instant::now();
        // The socket's own buffers take some megabytes after the other end has stopped reading.
        let taken = (0..1024_u32).find(|_| wire.send(&chunk).is_err());
        let taken = taken.expect("64 MiB of a password were taken");
        assert!(started.elapsed() < PATIENCE, "refused only after {:?}", started.elapsed());
        eprintln!("refused after {} KiB, buffers included", u64::from(taken) * 64);
    });
}

#[test]
fn ten_thousand_silent_connections_keep_nobody_from_working() {
    let _machine = place::machine(true);
    let target = Target::chosen();
    let bed = Bed::start(Plan { max_clients: 12_000, ..Plan::default() });
    beside_a_good_client(&bed, || {
        let program = Path::new(env!("CARGO_BIN_EXE_crowd"));
        let crowd = Crowd::start(program, bed.addr(), target.crowd(10_000), Habit::Silent);
        for number in 0..20 {
            let asked = Instant::now();
            let mut wire = bed.client();
            assert_eq!(wire.query("select 5").expect("served").value(), "5");
            assert!(asked.elapsed() < BOUND, "login {number} beside {} took {:?}", crowd.size, asked.elapsed());
        }
        crowd.vanish();
    });
    assert_eq!(bed.client().query("select 5").expect("served").value(), "5");
}
