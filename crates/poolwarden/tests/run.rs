//! The running process from outside, with a PostgreSQL that is not there: what it says, how it reloads, how it ends.

#![allow(clippy::unwrap_used)] // a test may end where its premise fails

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A busy machine is slow; a hang is longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until there is something, for at most as long as the patience.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

struct Running {
    dir: tempfile::TempDir,
    child: Child,
    http: SocketAddr,
    notify: UnixDatagram,
}

/// Nothing listens there: port 1 is a privilege nobody uses.
const SERVERS: &str = "[servers.main]\nhost = \"127.0.0.1\"\nport = 1\nmax_connections = 5\n";

fn file(dir: &Path, more: &str) -> PathBuf {
    let (path, data) = (dir.join("poolwarden.toml"), dir.join("data"));
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n{SERVERS}[users.app]\n{more}\n[poolwarden]\n\
         data_dir = \"{}\"\ndrain_delay = \"1h\"\n",
        data.display()
    );
    fs::write(&path, text).unwrap();
    path
}

fn command(dir: &Path, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolwarden"));
    let log = fs::File::create(dir.join("log")).unwrap();
    command.args(["run", "-c"]).arg(file).stdin(Stdio::null()).stderr(log).env_remove("NOTIFY_SOCKET");
    command
}

impl Running {
    fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("notify");
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = command(dir.path(), &file(dir.path(), more)).env("NOTIFY_SOCKET", &socket).spawn().unwrap();
        let none: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let mut running = Self { dir, child, http: none, notify };
        let text = until("listening.json", || {
            assert!(running.child.try_wait().unwrap().is_none(), "it ended:\n{}", running.log());
            fs::read_to_string(running.dir.path().join("data/listening.json")).ok()
        });
        let after = text.split_once("\"http\":\"").expect("an http address").1;
        running.http = after.split_once('"').expect("its end").0.parse().unwrap();
        assert!(text.contains(&format!("\"pid\":{}", running.child.id())), "{text}");
        running
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn logged(&self, what: &str) -> String {
        until(what, || self.log().lines().find(|line| line.contains(what)).map(str::to_owned))
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn told(&self) -> String {
        let mut bytes = [0; 64];
        let length = self.notify.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn end(&mut self) -> ExitStatus {
        until("its end", || self.child.try_wait().unwrap())
    }

    /// Status and body.
    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, as most tests want it to.
        let _ended = self.child.kill();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_stop_is_announced_first_and_a_second_signal_hurries_it() {
    let mut running = Running::start("");
    assert_eq!(running.told(), "READY=1");
    assert_eq!([running.get("/healthz").0, running.get("/readyz").0], [200, 200]);
    running.signal(Signal::TERM);
    assert_eq!(running.told(), "STOPPING=1");
    let (status, body) = until("it to be not ready", || Some(running.get("/readyz")).filter(|got| got.0 != 200));
    assert_eq!((status, body.as_str()), (503, "draining\n"));
    assert_eq!(running.get("/healthz").0, 200);
    assert!(running.get("/metrics").1.contains("poolwarden_state{state=\"draining\"} 1"));
    running.logged("going on for 1h");
    running.signal(Signal::INT);
    assert_eq!(running.end().code(), Some(0));
    assert!(!running.dir.path().join("data/listening.json").exists());
    assert!(running.log().trim_end().ends_with("stopped  event=stopped"), "{}", running.log());
}

#[test]
fn a_server_that_is_not_there_keeps_nobody_from_starting_and_is_named_in_the_log() {
    let mut running = Running::start("[servers.main.watch]\nuser = \"watch\"");
    let blind = running.logged("event=watch_lost");
    assert!(blind.contains("WARN") && blind.contains("servers.main.watch"), "{blind}");
    assert_eq!(running.get("/readyz").0, 200);
    running.signal(Signal::QUIT);
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn a_reload_changes_what_it_can_and_a_broken_file_nothing() {
    let mut running = Running::start("");
    file(running.dir.path(), "[limits]\nmax_cliens = 7\n[pools.app]\nsize = 3");
    running.signal(Signal::HUP);
    // that the file is broken is told as a drift as well, whichever is first
    let refused = until("the refusal", || {
        let is_refusal = |line: &&str| line.contains("event=reload_refused") && line.contains("did you mean");
        running.log().lines().find(is_refusal).map(str::to_owned)
    });
    assert!(
        refused.contains("ERROR") && refused.contains("max_clients") && refused.contains("poolwarden.toml:"),
        "{refused}"
    );
    let metrics = running.get("/metrics").1;
    assert!(metrics.contains("poolwarden_process_capacity{limit=\"max_clients\"} 10000"), "{metrics}");
    assert!(metrics.contains("result=\"failed\"} 1"), "{metrics}");
    file(running.dir.path(), "[limits]\nmax_clients = 7\n[log]\nformat = \"json\"");
    running.signal(Signal::HUP);
    let changed = running.logged("limits.max_clients was 10000 and is 7");
    assert!(changed.starts_with("{\"time\":\"") && changed.contains("\"event\":\"changed\""), "{changed}");
    assert!(running.get("/metrics").1.contains("poolwarden_process_capacity{limit=\"max_clients\"} 7"));
    running.signal(Signal::QUIT);
    assert_eq!(running.end().code(), Some(0));
}

#[test]
fn what_keeps_it_from_starting_is_named_with_the_next_step() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let http = format!("http = \"{address}\"");
    let cases = [
        ("http = \"127.0.0.1:0\"", http.as_str(), [address.as_str(), "listen.http"]),
        ("address = \"127.0.0.1:0\"", &format!("address = \"{address}\""), [address.as_str(), "[listen]"]),
        ("[users.app]", "[limits]\nmax_clients = 10000000", ["open files", "limits.max_clients"]),
        ("data_dir = \"", "data_dir = \"/dev/null/", ["/dev/null/", "poolwarden.data_dir"]),
    ];
    for (line, instead, says) in cases {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace(line, instead)).unwrap();
        let status = command(dir.path(), &path).status().unwrap();
        let said = fs::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(status.code(), Some(2), "{instead}: {said}");
        assert!(says.iter().all(|part| said.contains(part)), "{instead}: {said}");
        assert!(!dir.path().join("data/listening.json").exists());
    }
}

#[test]
fn a_second_process_with_the_same_data_is_refused() {
    let running = Running::start("");
    let path = file(running.dir.path(), "");
    let output = command(running.dir.path(), &path).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("another poolwarden"), "{said}");
    assert!(running.dir.path().join("data/listening.json").exists(), "the first one's announcement stays");
}

/// A verb, with the running process's token and address unless `args` say others.
fn verb(running: &Running, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_poolwarden"));
    command.args(args).current_dir(running.dir.path()).env_remove("POOLWARDEN_TOKEN").stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn is_shed(running: &Running, class: &str) -> bool {
    running.get("/metrics").1.contains(&format!("poolwarden_class_shed{{class=\"{class}\"}} 1"))
}

#[test]
fn a_class_is_shed_by_the_verb_stays_so_over_a_reload_and_is_given_back() {
    let running = Running::start("[classes.late]\nweight = 2");
    let (url, token) = (format!("http://{}", running.http), "data/token");
    let at = ["--at", url.as_str(), "--token-file", token];
    let shed = |class: &str, length: &str, to: &[&str]| {
        verb(&running, &[&["shed", "--class", class, "--for", length][..], to].concat())
    };
    let (code, said, wrong) = shed("late", "10m", &at);
    assert_eq!(code, Some(0), "{wrong}");
    assert!(
        said.starts_with(&format!("{}: class late is shed until 20", running.http)) && said.ends_with("Z\n"),
        "{said}"
    );
    let logged = running.logged("class late is shed until");
    assert!(logged.contains("by http from 127.0.0.1:") && logged.contains("event=shed"), "{logged}");
    assert!(is_shed(&running, "late") && !is_shed(&running, "batch"));

    file(running.dir.path(), "[classes.late]\nweight = 2\n[classes.early]\nweight = 2");
    running.signal(Signal::HUP);
    running.logged("configuration reloaded");
    assert!(is_shed(&running, "late") && !is_shed(&running, "early"), "a new class takes nobody's place");

    let given = fs::read_to_string(running.dir.path().join(token)).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_poolwarden"))
        .args(["shed", "--class", "late", "--for", "20m", "--at", &url])
        .current_dir(elsewhere.path())
        .env("POOLWARDEN_TOKEN", given)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    let (code, said, wrong) = shed("late", "0s", &["-c", "poolwarden.toml", "--format", "json"]);
    assert_eq!(code, Some(0), "{wrong}");
    assert!(said.contains("\"schema\":1") && said.contains("\"until\":null"), "{said}");
    assert!(!is_shed(&running, "late"));
    running.logged("class late is shed no longer, by http from");
}

#[test]
fn a_verb_that_cannot_do_it_says_why_and_changes_nothing() {
    let running = Running::start("");
    fs::write(running.dir.path().join("other"), "0123456789abcdef\n").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string(); // free again
    let here = running.http.to_string();
    let table: [(&str, &str, &str, &str, &str); 6] = [
        ("bacth", "10m", &here, "data/token", "did you mean batch?"),
        ("batch", "25h", &here, "data/token", "write 1d or less"),
        ("batch", "10", &here, "data/token", "10m"),
        ("batch", "10m", &here, "other", "this is not the operate token"),
        ("batch", "10m", &here, "missing", "no operate token in missing"),
        ("batch", "10m", &nobody, "data/token", "nothing listens at"),
    ];
    for (class, length, at, token, expected) in table {
        let (code, said, wrong) =
            verb(&running, &["shed", "--class", class, "--for", length, "--at", at, "--token-file", token]);
        assert!(wrong.contains(expected) && said.is_empty(), "{class} {length} {token}: {said}{wrong}");
        assert_eq!(code, Some(2), "{wrong}");
    }
    assert!(!is_shed(&running, "batch"));
}
