//! How fast poolwarden answers about itself while everything is exhausted: fifty pools, five thousand clients that wait, and
//! every core busy with something else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::screen::Screen;
use crate::wire::{Address, Fault, Login, Wire, message};
use crate::{Bed, Plan, Target, bed, child, pooler, until};

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(30);
/// Threads that log clients in.
const HANDS: usize = 8;
/// Server connections of an exhausted pool.
const SIZE: u32 = 2;
/// Clients that keep the event loops busy besides.
const BUSY_CLIENTS: usize = 8;

/// `GET path` at `address`: status and body.
///
/// # Errors
/// Why there is no answer.
pub fn fetch(address: SocketAddr, path: &str, token: Option<&str>) -> Result<(u16, String), String> {
    let failed = |e: std::io::Error| format!("{path}: {e}");
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let bearer = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    // HTTP/1.0: the answer ends with the connection, and never comes in chunks.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{bearer}\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{path}: not HTTP: {answer}"))?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok((status.ok_or_else(|| format!("{path}: no status in {head}"))?, body.to_string()))
}

/// Everything exhausted.
pub struct Rush {
    bed: Bed,
    pools: u32,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
    clients: Vec<Wire>,
    waiting: u32,
}

fn name(pool: u32) -> String {
    format!("p{pool:02}")
}

impl Rush {
    /// Exhausts so many pools, lets so many clients wait for them, and keeps every core busy.
    #[must_use]
    #[track_caller]
    pub fn start(pools: u32, waiting: u32) -> Rush {
        let files = child::raise_open_files();
        assert!(files > u64::from(waiting) + 500, "{waiting} clients need more than the {files} open files allowed");
        let lines: Vec<String> = (0..pools)
            .map(|pool| {
                let name = name(pool);
                format!("[pools.{name}]\nserver = \"main\"\ndatabase = \"app\"\nsize = {SIZE}\nmax_wait = \"1h\"\n\n")
            })
            .collect();
        let budget = pools * SIZE + 20;
        let plan = Plan {
            size: 4,
            budget: Some(budget),
            max_connections: budget + 10,
            max_clients: 10_000,
            ..Plan::default()
        }
        .edit("[auth]\n", &format!("{}[auth]\n", lines.concat()));
        let bed = Bed::start_as(Target::Poolwarden, plan);
        let mut rush = Rush { bed, pools, stop: Arc::default(), threads: Vec::new(), clients: Vec::new(), waiting: 0 };
        rush.hold();
        rush.wait(waiting);
        rush.keep_busy();
        rush
    }

    /// Fills every pool with statements that do not end.
    fn hold(&mut self) {
        let places: Vec<String> = (0..self.pools * SIZE).map(|place| name(place / SIZE)).collect();
        let clients = log_in(&self.bed, &places, "select pg_sleep(3600)");
        self.clients.extend(clients);
        let wanted = places.len();
        until("every pool to be full", PATIENCE, || {
            let active = self.bed.postgres.backends().iter().filter(|backend| backend.state == "active").count();
            (active >= wanted).then_some(())
        });
    }

    fn wait(&mut self, count: u32) {
        let places: Vec<String> = (0..count).map(|place| name(place % self.pools)).collect();
        let clients = log_in(&self.bed, &places, "select 1");
        self.clients.extend(clients);
        until("every client to wait", PATIENCE, || {
            let rows = self.bed.show("POOLS");
            self.waiting = rows.iter().filter_map(|row| row["cl_waiting"].parse::<u32>().ok()).sum();
            (self.waiting >= count).then_some(())
        });
    }

    /// Work that never ends on every core, and clients of a pool with room.
    fn keep_busy(&mut self) {
        let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
        for _ in 0..cores {
            let stop = Arc::clone(&self.stop);
            self.threads.push(thread::spawn(move || {
                let mut number = 1_u64;
                while !stop.load(Ordering::Relaxed) {
                    number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                }
            }));
        }
        for _ in 0..BUSY_CLIENTS {
            let (stop, mut client) = (Arc::clone(&self.stop), self.bed.client());
            self.threads.push(thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) && client.query("select 1").is_ok() {}
            }));
        }
    }

    /// The worst of so many tries of everything that poolwarden is asked, in milliseconds.
    ///
    /// # Panics
    /// When something is not answered.
    #[must_use]
    pub fn worst(&self, tries: u32) -> Value {
        let http = self.bed.pooler().expect("poolwarden").http();
        let get = |path: &str| {
            let (status, body) = fetch(http, path, None).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(status, 200, "{path}: {body}");
        };
        let show = |what: &str| drop(self.bed.show(what));
        let worst = |ask: &dyn Fn()| {
            let times = (0..tries).map(|_| {
                let began = Instant::now();
                ask();
                began.elapsed()
            });
            let worst = times.max().unwrap_or_default();
            (worst.as_secs_f64() * 1e4).round() / 10.0
        };
        json!({
            "pools": self.pools, "waiting": self.waiting, "tries": tries,
            "show_pools": worst(&|| show("POOLS")),
            "show_holders": worst(&|| show("HOLDERS")),
            "show_clients": worst(&|| show("CLIENTS")),
            "why": worst(&|| get("/api/v1/why?format=json")),
            "why_text": worst(&|| get("/api/v1/why?format=text")),
            "why_of_one": worst(&|| get("/api/v1/why?pool=p00&format=json")),
            "holders": worst(&|| get("/api/v1/holders?format=json")),
            "metrics": worst(&|| get("/metrics")),
            "why_verb": worst(&|| verb(http, "why")),
            "top": worst(&|| self.top(http)),
        })
    }

    /// `top` in a terminal, from its start to the screen that shows what is wrong.
    fn top(&self, http: SocketAddr) {
        let token = self.bed.pooler().expect("poolwarden").dir().join("data/token");
        let mut command = Command::new(pooler::binary());
        command.args(["top", "--at", &format!("http://{http}"), "--token-file"]).arg(token);
        let mut screen = Screen::start(&command, (100, 30));
        let shown = screen.showing("SATURATED");
        // The pool of the busy clients may be one more, as busy as the cores are.
        let counted = [self.pools, self.pools + 1].iter().any(|pools| shown.contains(&format!("{pools} not calm")));
        assert!(counted, "{shown}");
        screen.press("q");
        assert!(screen.end().success(), "top did not end well");
    }
}

/// A verb of the binary, its own start included.
fn verb(http: SocketAddr, verb: &str) {
    let mut command = Command::new(pooler::binary());
    command.args([verb, "--at", &format!("http://{http}")]).stdin(Stdio::null());
    child::run(&mut command);
}

/// One client for each of these pools, that has sent `sql` and reads nothing.
fn log_in(bed: &Bed, places: &[String], sql: &str) -> Vec<Wire> {
    let address = bed.address();
    let share = places.len().div_ceil(HANDS).max(1);
    thread::scope(|scope| {
        let hands: Vec<_> = places.chunks(share).map(|places| scope.spawn(|| enter(&address, places, sql))).collect();
        let entered = hands.into_iter().map(|hand| hand.join().expect("it logs in"));
        entered.flat_map(|clients| clients.unwrap_or_else(|e| panic!("log in: {e}"))).collect()
    })
}

fn enter(address: &Address, places: &[String], sql: &str) -> Result<Vec<Wire>, Fault> {
    let say = message(b'Q', &[sql.as_bytes(), b"\0"].concat());
    let one = |place: &String| {
        let mut wire = Wire::connect(address, &Login { database: place.clone(), ..bed::login() })?;
        wire.send(&say)?;
        Ok(wire)
    };
    places.iter().map(one).collect()
}

impl Drop for Rush {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("a busy thread panicked");
            }
        }
    }
}
