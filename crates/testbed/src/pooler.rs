//! A running poolwarden: the built binary, a file of PRODUCT's configuration, and its readiness file.
//!
//! It listens on ports the kernel chose and writes them to `<data_dir>/listening.json` once
//! everything listens. It dies with its value and with the thread that made it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::bed::Plan;
use crate::child::{self, Who};
use crate::disk::Disk;
use crate::place::Place;
use crate::template::PASSWORD;
use crate::until;

/// Start and drain stay below this on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running poolwarden.
#[derive(Debug)]
pub struct Pooler {
    place: Place,
    process: Option<Child>,
    pid: Pid,
    listening: Listening,
    disk: Option<Disk>,
}

#[derive(Debug)]
struct Listening {
    postgres: SocketAddr,
    unix: Option<PathBuf>,
    http: SocketAddr,
}

/// The binary under test: `POOLWARDEN_BIN`, else the release build, else the debug build.
#[must_use]
#[track_caller]
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("POOLWARDEN_BIN") {
        return PathBuf::from(named);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let built = ["release", "debug"].map(|profile| target.join(profile).join("poolwarden"));
    let found = built.into_iter().find(|path| path.exists());
    found.expect("no poolwarden binary: run cargo build --release -p poolwarden, or set POOLWARDEN_BIN")
}

/// The repository's root.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The configuration file for `plan`, before the server at `server`.
#[must_use]
pub fn configuration(plan: &Plan, server: SocketAddr, dir: &Path) -> String {
    let mut text = String::new();
    let dir = dir.display();
    let wait = plan.max_wait.as_secs();
    let mode = plan.mode.name();
    let budget = plan.budget.unwrap_or(plan.size + 10);
    let (host, port, size, clients) = (server.ip(), server.port(), plan.size, plan.max_clients);
    write!(
        text,
        "[poolwarden]\ndata_dir = \"{dir}/data\"\n\n\
         [listen]\naddress = [\"127.0.0.1:0\"]\nunix_socket_dir = \"{dir}\"\nhttp = \"127.0.0.1:0\"\n\n\
         [console]\nadmins = [\"app\"]\n\n\
         [servers.main]\nhost = \"{host}\"\nport = {port}\ntls = \"disable\"\nmax_connections = {budget}\n\n\
         [servers.main.watch]\nuser = \"watch\"\npassword_env = \"WATCH_PASSWORD\"\ndatabase = \"app\"\n\n\
         [pools.app]\nserver = \"main\"\ndatabase = \"app\"\nmode = \"{mode}\"\nsize = {size}\nmax_wait = \"{wait}s\"\n\n\
         [auth]\nmethod = \"scram-sha-256\"\n\n\
         [limits]\nmax_clients = {clients}\n\n\
         [users.app]\nscram_file = \"{dir}/app.password\"\n"
    )
    .expect("writing to a string");
    if let Some(limit) = plan.user_limit {
        writeln!(text, "max_connections = {limit}").expect("writing to a string");
    }
    for (from, to) in &plan.edits {
        assert!(text.contains(from), "the configuration has no {from:?}:\n{text}");
        text = text.replacen(from, &to.replace("{dir}", &dir.to_string()), 1);
    }
    text
}

impl Pooler {
    /// Starts the binary before the server at `server` and waits until it listens.
    #[must_use]
    #[track_caller]
    pub fn start(plan: &Plan, server: SocketAddr) -> Pooler {
        let place = Place::new("pw");
        std::fs::create_dir(place.path().join("data")).unwrap_or_else(|e| panic!("create data: {e}"));
        place.write("app.password", PASSWORD);
        for (name, text) in &plan.files {
            place.write(name, text);
        }
        place.write("poolwarden.toml", &configuration(plan, server, place.path()));
        let disk = plan.disk_kib.map(|kib| Disk::mount(&place.path().join("data"), kib));
        let (process, pid, listening) = launch(&place, disk.as_ref(), plan);
        Pooler { place, process: Some(process), pid, listening, disk }
    }

    /// Starts it again on its file and its data after it ended.
    #[track_caller]
    pub fn start_again(&mut self, plan: &Plan) {
        assert!(self.process.is_none(), "poolwarden runs already");
        let (process, pid, listening) = launch(&self.place, self.disk.as_ref(), plan);
        (self.process, self.pid, self.listening) = (Some(process), pid, listening);
    }

    /// Ends it with SIGKILL.
    #[track_caller]
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("poolwarden runs");
        process.kill().unwrap_or_else(|e| panic!("kill poolwarden: {e}"));
        process.wait().unwrap_or_else(|e| panic!("wait for poolwarden: {e}"));
    }

    /// The file system of its data directory, where the plan wants one.
    #[must_use]
    #[track_caller]
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("the plan has a disk of its own")
    }

    /// Its data directory, as its own process sees it.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        data(&self.place, self.pid)
    }

    /// Where it listens for PostgreSQL clients.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listening.postgres
    }

    /// Its unix socket.
    #[must_use]
    pub fn unix(&self) -> Option<&Path> {
        self.listening.unix.as_deref()
    }

    /// Where it answers HTTP.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.listening.http
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Replaces the configuration file, without telling the process.
    pub fn rewrite(&self, plan: &Plan, server: SocketAddr) {
        self.rewrite_text(&configuration(plan, server, self.place.path()));
    }

    /// Replaces the configuration file with any text.
    pub fn rewrite_text(&self, text: &str) {
        self.place.write("poolwarden.toml", text);
    }

    /// The directory of its file, secrets and unix socket.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.place.path()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        child::signal(self.pid, signal);
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.place.tail("log", usize::MAX)
    }

    /// Asks it to end (SIGTERM) and waits for that.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("poolwarden runs");
        child::signal(self.pid, Signal::TERM);
        child::wait(&mut process, PATIENCE).unwrap_or_else(|| {
            self.process = Some(process);
            panic!("poolwarden did not end within {PATIENCE:?} of SIGTERM")
        })
    }

    /// A number of `/metrics`: all samples of this name whose labels say so, together.
    #[must_use]
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.get("/metrics");
        let ours = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let samples: Vec<f64> = text
            .lines()
            .filter(ours)
            .filter(|line| line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        assert!(!samples.is_empty(), "/metrics has no {name} with {labels:?}:\n{text}");
        samples.iter().sum()
    }

    /// The body of `GET path`; panics unless the answer is 200.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> String {
        http_get(self.http(), path)
    }
}

fn data(place: &Place, pid: Pid) -> PathBuf {
    let inside = place.path().strip_prefix("/").unwrap_or(place.path());
    Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("root").join(inside).join("data")
}

#[track_caller]
fn launch(place: &Place, disk: Option<&Disk>, plan: &Plan) -> (Child, Pid, Listening) {
    let file = place.path().join("poolwarden.toml");
    let mut command = child::command(Who::Myself, "KILL", &binary());
    command
        .args(["run", "-c"])
        .arg(&file)
        .env("WATCH_PASSWORD", PASSWORD)
        .env("WRONG_PASSWORD", "not-the-one")
        .current_dir(place.path());
    if let Some(limit) = plan.open_files {
        command = child::with_open_files(limit, &command);
    }
    if let Some(disk) = disk {
        command = disk.command(&command);
    }
    child::log_to(&mut command, &place.path().join("log"));
    let mut process = child::spawn(&mut command);
    let pid = child::pid(&process);
    let listening = until("poolwarden to listen", PATIENCE, || {
        if let Ok(Some(status)) = process.try_wait() {
            panic!("poolwarden ended with {status}:\n{}", place.tail("log", 20));
        }
        let text = std::fs::read_to_string(data(place, pid).join("listening.json")).ok()?;
        // the announcement of one that was killed is there until its successor takes it back
        let own = serde_json::from_str::<Value>(&text).ok()?["pid"] == pid.as_raw_nonzero().get();
        own.then(|| Listening::read(&text))
    });
    (process, pid, listening)
}

impl Listening {
    #[track_caller]
    fn read(text: &str) -> Listening {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("listening.json: {e}: {text}"));
        let address = |value: &Value| {
            let parsed = value.as_str().and_then(|text| text.parse().ok());
            parsed.unwrap_or_else(|| panic!("listening.json: no address in {text}"))
        };
        Listening {
            postgres: address(&value["postgres"][0]),
            unix: value["unix"].as_str().map(PathBuf::from),
            http: address(&value["http"]),
        }
    }
}

/// The body of `GET path` at `address`.
#[must_use]
#[track_caller]
pub fn http_get(address: SocketAddr, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap_or_else(|e| panic!("connect to {address}: {e}"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap_or_else(|e| panic!("set a timeout: {e}"));
    // HTTP/1.0: the answer ends with the connection, and never comes in chunks.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap_or_else(|e| panic!("ask {path}: {e}"));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap_or_else(|e| panic!("read {path}: {e}"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: not HTTP: {answer}"));
    assert!(head.split(' ').nth(1) == Some("200"), "{path} answered {head}");
    body.to_string()
}

impl Drop for Pooler {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- poolwarden's last words ---\n{}", self.place.tail("log", 40));
        }
        if let Some(mut process) = self.process.take() {
            child::signal(self.pid, Signal::KILL);
            if let Err(e) = process.wait() {
                eprintln!("wait for poolwarden: {e}");
            }
        }
    }
}
