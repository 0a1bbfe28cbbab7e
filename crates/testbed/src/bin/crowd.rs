//! The process behind `poolwarden_testbed::crowd`: `crowd silent|mid-query ADDRESS SIZE`.
//!
//! Prints `ready SIZE` when every client stands there, then waits to be killed.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use poolwarden_testbed::wire::{Address, Fault, Login, Wire, message};
use poolwarden_testbed::{bed, child};

/// Logins are mostly waiting: a few threads keep a pooler busy.
const THREADS: u32 = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, habit, address, size] = &arguments[..] else {
        panic!("usage: crowd silent|mid-query ADDRESS SIZE");
    };
    let address: SocketAddr = address.parse().expect("an address such as 127.0.0.1:6432");
    let size: u32 = size.parse().expect("a number of clients");
    let files = child::raise_open_files();
    assert!(files > u64::from(size) + 100, "{size} clients need more than the {files} open files allowed (ulimit -Hn)");
    let silent = habit == "silent";
    let (sender, receiver) = mpsc::channel();
    for thread in 0..THREADS {
        let share = size / THREADS + u32::from(thread < size % THREADS);
        let sender = sender.clone();
        thread::spawn(move || sender.send(gather(address, share, silent)));
    }
    drop(sender);
    // The clients stay open until the end of the process.
    let mut standing = Vec::new();
    for gathered in receiver {
        standing.extend(gathered.expect("a client could not take its place"));
    }
    let mut out = std::io::stdout();
    writeln!(out, "ready {}", standing.len()).and_then(|()| out.flush()).expect("tell the test");
    // The end of the input means that the test has gone.
    let _ended = std::io::stdin().read_to_end(&mut Vec::new());
}

fn gather(address: SocketAddr, share: u32, silent: bool) -> Result<Vec<Wire>, Fault> {
    let address = Address::Tcp(address);
    let login = Login { password: std::env::var("PGPASSWORD").unwrap_or_default(), ..bed::login() };
    (0..share)
        .map(|_| {
            if silent {
                return Wire::dial(&address);
            }
            let mut wire = Wire::connect(&address, &login)?;
            wire.send(&message(b'Q', b"select pg_sleep(60)\0"))?;
            Ok(wire)
        })
        .collect()
}
