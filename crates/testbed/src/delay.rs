//! A TCP relay that makes every new connection take its time, as a distant PostgreSQL would,
//! and some of them hang or fail, as a troubled one would.

use std::io;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::wire::message;

/// A relay at work; it ends with its process, and its threads with their connections.
#[derive(Debug)]
pub struct Delay {
    address: SocketAddr,
    trouble: Arc<Trouble>,
}

/// What happens to the connections that come next.
#[derive(Debug, Default)]
struct Trouble {
    /// So many are accepted and never hear a word.
    stall: AtomicU32,
    /// So many are told this error.
    refuse: AtomicU32,
    error: Mutex<Vec<u8>>,
    /// Accepted so far.
    accepted: AtomicU32,
}

impl Delay {
    /// Relays to `to`, holding the first bytes of each connection back for `pause`.
    #[must_use]
    #[track_caller]
    pub fn start(to: SocketAddr, pause: Duration) -> Delay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|e| panic!("listen: {e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("own address: {e}"));
        let trouble = Arc::new(Trouble::default());
        let mine = Arc::clone(&trouble);
        thread::spawn(move || {
            let mut stalled = Vec::new();
            for client in listener.incoming().flatten() {
                mine.accepted.fetch_add(1, Ordering::AcqRel);
                if one_less(&mine.stall) {
                    stalled.push(client);
                    continue;
                }
                let refusal = one_less(&mine.refuse).then(|| mine.told());
                thread::spawn(move || {
                    thread::sleep(pause);
                    // Either side's end is the other's; the pooler judges what that means.
                    let _ended = match refusal {
                        Some(error) => refuse(client, &error),
                        None => join(client, to),
                    };
                });
            }
        });
        Delay { address, trouble }
    }

    /// The next `count` connections are accepted and never hear a word.
    pub fn stall(&self, count: u32) {
        self.trouble.stall.store(count, Ordering::Release);
    }

    /// The next `count` connections are told a FATAL error instead of a login, and closed; 0 ends that.
    pub fn refuse(&self, count: u32, sqlstate: &str, text: &str) {
        let body = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{text}\0\0");
        *self.trouble.error.lock().unwrap_or_else(PoisonError::into_inner) = message(b'E', body.as_bytes());
        self.trouble.refuse.store(count, Ordering::Release);
    }

    /// How many connections have come so far.
    #[must_use]
    pub fn accepted(&self) -> u32 {
        self.trouble.accepted.load(Ordering::Acquire)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}

impl Trouble {
    fn told(&self) -> Vec<u8> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn one_less(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
}

fn refuse(mut client: TcpStream, error: &[u8]) -> io::Result<()> {
    client.write_all(error)?;
    client.shutdown(Shutdown::Write)?;
    // The start-up message is read, so that closing does not take the error with it.
    io::copy(&mut client, &mut io::sink()).map(|_| ())
}

fn join(client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(to)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from, into) = (client.try_clone()?, server.try_clone()?);
    let up = thread::spawn(move || pump(from, into));
    let down = pump(server, client);
    up.join().map_err(|_| io::Error::other("the relay panicked"))?.and(down)
}

fn pump(mut from: TcpStream, mut into: TcpStream) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut into);
    // Close both ways, so that the other direction ends too.
    let closed = into.shutdown(Shutdown::Both).and(from.shutdown(Shutdown::Both));
    copied.and(closed)
}
