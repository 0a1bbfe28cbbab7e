//! A TCP relay that makes every new connection take its time, as a distant PostgreSQL would.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// A relay at work; it ends with its process, and its threads with their connections.
#[derive(Debug)]
pub struct Delay {
    address: SocketAddr,
}

impl Delay {
    /// Relays to `to`, holding the first bytes of each connection back for `pause`.
    #[must_use]
    #[track_caller]
    pub fn start(to: SocketAddr, pause: Duration) -> Delay {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|e| panic!("listen: {e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("own address: {e}"));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                thread::spawn(move || {
                    thread::sleep(pause);
                    // Either side's end is the other's; the pooler judges what that means.
                    let _ended = join(client, to);
                });
            }
        });
        Delay { address }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
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
