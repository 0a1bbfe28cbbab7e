//! A small web application: `/health` needs no database, `/orders` asks it through the pooler. Either can be told to fail by
//! itself. It counts its own answers.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::books::{Books, lock};
use crate::bed;
use crate::wire::{Address, Wire};

/// An order that takes longer is answered as an error; below a probe's own timeout, so that both count the same.
const PATIENCE: Duration = Duration::from_millis(700);

/// Between two looks for the database.
const PAUSE: Duration = Duration::from_millis(5);

/// Its two routes, in the order of [`Web::counts`].
pub const ROUTES: [&str; 2] = ["/health", "/orders"];

/// A running web application; it ends with its process.
#[derive(Debug)]
pub struct Web {
    address: SocketAddr,
    inside: Arc<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    database: Mutex<Option<SocketAddr>>,
    books: Mutex<Option<Arc<Books>>>,
    broken: [AtomicBool; 2],
    good: [AtomicU64; 2],
    bad: [AtomicU64; 2],
}

/// Answers of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// 200.
    pub good: u64,
    /// 500.
    pub bad: u64,
}

impl Web {
    /// Starts it; `/orders` fails until it knows a database.
    #[must_use]
    #[track_caller]
    pub fn start() -> Web {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|e| panic!("listen: {e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("own address: {e}"));
        let inside = Arc::new(Inside::default());
        let mine = Arc::clone(&inside);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inside = Arc::clone(&mine);
                // Who hangs up before the answer has none; the prober counts that, and so does the test.
                thread::spawn(move || drop(inside.answer(stream)));
            }
        });
        Web { address, inside }
    }

    /// Where `/orders` finds its database, and whose books say when the first request failed.
    pub fn connect(&self, database: SocketAddr, books: &Arc<Books>) {
        *lock(&self.inside.database) = Some(database);
        *lock(&self.inside.books) = Some(Arc::clone(books));
    }

    /// Makes a route fail by itself, or not any more.
    pub fn break_route(&self, route: usize, broken: bool) {
        self.inside.broken[route].store(broken, Ordering::Release);
    }

    /// What each route has answered.
    #[must_use]
    pub fn counts(&self) -> [Answers; 2] {
        let of = |route: usize| Answers {
            good: self.inside.good[route].load(Ordering::Acquire),
            bad: self.inside.bad[route].load(Ordering::Acquire),
        };
        [of(0), of(1)]
    }

    /// The configuration's lines that probe both routes so often.
    #[must_use]
    pub fn probes(&self, every: Duration) -> String {
        let (every, address) = (every.as_millis(), self.address);
        let of = |name: &str, route: &str, database: bool| {
            format!(
                "[[probe]]\nname = \"{name}\"\nurl = \"http://{address}{route}\"\nexpect = 200\nevery = \"{every}ms\"\n\
                 timeout = \"3s\"\ndatabase = {database}\n\n"
            )
        };
        of("health", ROUTES[0], false) + &of("orders", ROUTES[1], true)
    }
}

impl Inside {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        head.read_line(&mut line)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_string();
        // The head goes to its empty line, so that closing does not reset what was sent.
        while line.trim_end() != "" {
            line.clear();
            head.read_line(&mut line)?;
        }
        let Some(route) = ROUTES.iter().position(|route| *route == path) else {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        let good = !self.broken[route].load(Ordering::Acquire) && (route == 0 || self.order());
        let counter = if good { &self.good[route] } else { &self.bad[route] };
        counter.fetch_add(1, Ordering::AcqRel);
        if !good && let Some(books) = lock(&self.books).as_ref() {
            books.note(Instant::now());
        }
        let status = if good { "200 OK" } else { "500 Internal Server Error" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes())
    }

    /// Asks the database, as an application does for a page.
    fn order(&self) -> bool {
        let Some(database) = self.known() else { return false };
        let asked = Wire::dial(&Address::Tcp(database)).and_then(|mut wire| {
            wire.patience(PATIENCE).map_err(crate::Fault::Io)?;
            let login = bed::login();
            wire.send(&crate::wire::startup_with(&login, &[("application_name", "web")]))?;
            wire.log_in(&login)?;
            wire.query("select 1")
        });
        asked.is_ok()
    }

    /// The pooler asks before the test knows its address.
    fn known(&self) -> Option<SocketAddr> {
        let began = Instant::now();
        loop {
            let known = *lock(&self.database);
            if known.is_some() || began.elapsed() > PATIENCE {
                return known;
            }
            thread::sleep(PAUSE);
        }
    }
}
