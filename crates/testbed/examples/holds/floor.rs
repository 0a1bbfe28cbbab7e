//! What a refusal costs whoever is behind the socket, without a pooler: one receive and one send.
//!
//! The load of `examples/scenarios/refusals.toml`, made by the built binary, before a server that lets everybody in and answers every
//! query with the same error. It decides nothing and formats nothing, so a pooler's own cost is what it needs above this.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use poolwarden_testbed::place::Place;
use poolwarden_testbed::pooler;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use serde_json::Value;

/// AuthenticationOk and ReadyForQuery.
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
/// As long as poolwarden's own words.
const FIELDS: [&str; 6] = [
    "SERROR",
    "VERROR",
    "C53300",
    "Mpool \"app\": would wait 110ms for a server connection, longer than its max_wait: refused at once",
    "Dpool=app user=app class=default reason=hopeless limit=wait_time binding=pool_size size=2 used=2 lent=2 waiting=3 waited=0ms \
     would_wait=110ms longest_held=40ms",
    "Hfind who holds the connections (SHOW SERVERS), then raise pools.app.size (SHOW LIMITS on the console names every limit); \
     retry after 120ms",
];

/// Shares of a core for ten thousand refusals a second: as the requests come, and with a pause of a millisecond between two looks.
pub(crate) fn floor(seconds: u32) -> (f64, f64) {
    (run(seconds, Duration::ZERO), run(seconds, Duration::from_millis(1)))
}

fn run(seconds: u32, pause: Duration) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback interface");
    let address = listener.local_addr().expect("it is bound");
    let (stop, thread) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let server = std::thread::spawn({
        let (stop, thread) = (stop.clone(), thread.clone());
        move || serve(&listener, pause, &stop, &thread)
    });
    let url = format!("postgres://app@{address}/app");
    let spent = |rate: &str| {
        let before = cpu(thread.load(Ordering::Acquire));
        let said = drill(&url, seconds, rate);
        (cpu(thread.load(Ordering::Acquire)) - before, said)
    };
    let (logins, _) = spent("0/s"); // logging clients in is part of a run and not of refusing
    let (whole, said) = spent("10000/s");
    stop.store(true, Ordering::Release);
    drop(TcpStream::connect(address));
    server.join().expect("the server only fails with the machine");
    let refused: u64 =
        said["all"]["refused_attempts"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
    let cores = (whole - logins) / f64::from(seconds);
    let per_second = refused as f64 / f64::from(seconds);
    eprintln!(
        "one receive and one send, with a pause of {pause:?}: {per_second:.0} a second cost {:.1} % of a core",
        cores * 100.0
    );
    cores * 10_000.0 / per_second
}

/// What `drill run` says of the scenario with another length and rate.
fn drill(url: &str, seconds: u32, rate: &str) -> Value {
    let path = pooler::workspace().join("examples/scenarios/refusals.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let text = text.replace("for = \"20s\"", &format!("for = \"{seconds}s\"")).replace("10000/s", rate);
    let place = Place::new("floor");
    let file = place.write("scenario.toml", &text);
    let mut command = Command::new(pooler::binary());
    command.args(["drill", "run"]).arg(file).args(["--database", url, "--format", "json"]).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let value: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{command:?}: {e}\n{}", String::from_utf8_lossy(&output.stderr)));
    value["drills"][0].clone()
}

/// Seconds of a processor that a thread of this process has spent, as the scheduler counts them.
fn cpu(thread: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    let nanos: u64 = text.split_ascii_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanos).as_secs_f64()
}

fn refusal() -> Vec<u8> {
    let fields: String = FIELDS.iter().map(|field| format!("{field}\0")).collect();
    let length = u32::try_from(fields.len() + 5).expect("it is short").to_be_bytes();
    [b"E", &length[..], fields.as_bytes(), b"\0", b"Z\0\0\0\x05I"].concat()
}

/// Lets everybody in and answers what comes then with the error: one wait for many, one receive and one send for each.
fn serve(listener: &TcpListener, pause: Duration, stop: &AtomicBool, thread: &AtomicU32) {
    let own = rustix::thread::gettid().as_raw_nonzero().get();
    thread.store(u32::try_from(own).expect("numbers of threads are positive"), Ordering::Release);
    listener.set_nonblocking(true).expect("a socket can be");
    let epoll = epoll::create(CreateFlags::CLOEXEC).expect("epoll");
    epoll::add(&epoll, listener, EventData::new_u64(u64::MAX), EventFlags::IN).expect("epoll");
    let error = refusal();
    let mut clients: HashMap<u64, (TcpStream, bool)> = HashMap::new();
    let (mut events, mut buffer) = (Vec::with_capacity(256), [0; 4096]);
    while !stop.load(Ordering::Acquire) {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None).expect("epoll");
        for event in &events {
            let key = event.data.u64();
            if key == u64::MAX {
                while let Ok((socket, _)) = listener.accept() {
                    let key = u64::try_from(socket.as_raw_fd()).expect("descriptors are positive");
                    socket.set_nonblocking(true).expect("a socket can be");
                    socket.set_nodelay(true).expect("a TCP socket can");
                    let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET;
                    epoll::add(&epoll, &socket, EventData::new_u64(key), flags).expect("epoll");
                    clients.insert(key, (socket, false));
                }
                continue;
            }
            let Some((socket, known)) = clients.get_mut(&key) else { continue };
            match socket.read(&mut buffer) {
                Ok(count) if count > 0 && buffer[0] != b'X' => {
                    let answer = if std::mem::replace(known, true) { &error[..] } else { WELCOME };
                    socket.write_all(answer).expect("so little always fits");
                }
                Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => drop(clients.remove(&key)),
            }
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
}
