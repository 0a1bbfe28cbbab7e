//! poolwarden under PgBouncer's configuration: its signals, pid file, log file, unix socket and error texts.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::Duration;

use poolwarden_testbed::place::{self, Place, Port};
use poolwarden_testbed::template::PASSWORD;
use poolwarden_testbed::wire::{Address, Notice};
use poolwarden_testbed::{Fault, Login, Postgres, Say, Settings, Wire, bed, child, pooler, until};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(20);

/// poolwarden in PgBouncer's place.
struct Stand {
    // The order of the fields is the order of dropping.
    process: Option<Child>,
    place: Place,
    port: Port,
    postgres: Postgres,
}

impl Stand {
    /// With these lines more in `[pgbouncer]`; `{dir}` is a directory for its files.
    fn start(more: &str) -> Self {
        let postgres = Postgres::start(Settings::default());
        let (place, port) = (Place::new("stand"), Port::claim());
        let mut stand = Self { process: None, place, port, postgres };
        stand.write(more);
        stand.process = Some(stand.launch());
        until("poolwarden to listen", PATIENCE, || {
            let ended = stand.process.as_mut().and_then(|process| process.try_wait().expect("a child"));
            assert!(ended.is_none(), "it ended with {ended:?}:\n{}", stand.log());
            std::net::TcpStream::connect(stand.addr()).ok()
        });
        stand
    }

    fn write(&self, more: &str) -> PathBuf {
        let (dir, server) = (self.dir().display().to_string(), self.postgres.address());
        self.place.write("users", &format!("\"app\" \"{PASSWORD}\"\n"));
        let text = format!(
            "[databases]\napp = host={} port={} dbname=app\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir = {dir}\nauth_type = scram-sha-256\nauth_file = {dir}/users\npool_mode = transaction\n\
             default_pool_size = 2\nadmin_users = app\n{}\n",
            server.ip(),
            server.port(),
            self.port.number,
            more.replace("{dir}", &dir),
        );
        self.place.write("pooler.ini", &text)
    }

    fn launch(&self) -> Child {
        let mut command = child::command(child::Who::Myself, "KILL", &pooler::binary());
        command.args(["run", "--pgbouncer"]).arg(self.dir().join("pooler.ini")).env("HOME", self.dir());
        command.current_dir(self.dir());
        child::log_to(&mut command, &self.dir().join("stderr"));
        child::spawn(&mut command)
    }

    fn dir(&self) -> &Path {
        self.place.path()
    }

    fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.number).into()
    }

    fn log(&self) -> String {
        self.place.tail("stderr", usize::MAX)
    }

    fn client(&self) -> Wire {
        Wire::connect(&Address::Tcp(self.addr()), &bed::login()).expect("a client")
    }

    fn console(&self) -> Wire {
        let login = Login { database: "pgbouncer".to_string(), ..bed::login() };
        let socket = self.dir().join(format!(".s.PGSQL.{}", self.port.number));
        Wire::connect(&Address::Unix(socket), &login).expect("the console")
    }

    fn state(&self, key: &str) -> String {
        let answer = self.console().query("SHOW STATE").expect("the state");
        let row = answer.rows.iter().find(|row| row[0].as_deref() == Some(key)).expect("the key");
        row[1].clone().expect("a value")
    }

    fn signal(&self, signal: Signal) {
        child::signal(child::pid(self.process.as_ref().expect("it runs")), signal);
    }

    /// Its exit code once it has ended.
    fn end(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("it runs");
        let status = child::wait(&mut process, PATIENCE);
        status.unwrap_or_else(|| panic!("it goes on:\n{}", self.log())).code()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- poolwarden's last words ---\n{}", self.place.tail("stderr", 40));
        }
        if let Some(mut process) = self.process.take() {
            child::signal(child::pid(&process), Signal::KILL);
            let _ended = process.wait();
        }
    }
}

fn refused(outcome: Result<impl std::fmt::Debug, Fault>) -> Notice {
    match outcome {
        Err(Fault::Server(notice)) => notice,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn sigterm_waits_for_clients_and_serves_nobody_new() {
    let _machine = place::machine(false);
    let mut stand = Stand::start("");
    let (mut one, mut other) = (stand.client(), stand.client());
    stand.signal(Signal::TERM);
    until("TCP to be closed", PATIENCE, || std::net::TcpStream::connect(stand.addr()).err());
    for wire in [&mut one, &mut other] {
        assert_eq!(wire.query("select 1").expect("who is there is served").value(), "1");
    }
    let socket = Address::Unix(stand.dir().join(format!(".s.PGSQL.{}", stand.port.number)));
    let notice = refused(Wire::connect(&socket, &bed::login()).map(|_| ()));
    assert_eq!((notice.code.as_str(), notice.message.as_str()), ("57P03", "pooler is shutting down"));
    assert_eq!(stand.state("draining"), "yes", "the console still answers over the unix socket");
    drop((one, other));
    assert_eq!(stand.end(), Some(0));
}

#[test]
fn the_second_sigterm_ends_at_once() {
    let _machine = place::machine(false);
    let mut stand = Stand::start("");
    let mut busy = stand.client();
    busy.query("begin").expect("begun");
    stand.signal(Signal::TERM);
    until("TCP to be closed", PATIENCE, || std::net::TcpStream::connect(stand.addr()).err());
    stand.signal(Signal::TERM);
    assert_eq!(stand.end(), Some(0));
    assert_eq!(busy.last_words(), "E(FATAL 57P01)");
}

#[test]
fn sigint_waits_for_server_connections() {
    let _machine = place::machine(false);
    let mut stand = Stand::start("");
    let (mut idle, mut busy) = (stand.client(), stand.client());
    busy.query("begin").expect("begun");
    stand.signal(Signal::INT);
    assert_eq!(idle.last_words(), "E(FATAL 57P01)");
    assert_eq!(busy.query("select 2").expect("the transaction goes on").value(), "2");
    busy.query("commit").expect("committed");
    assert_eq!(stand.end(), Some(0));
}

#[test]
fn sigquit_ends_at_once() {
    let _machine = place::machine(false);
    let mut stand = Stand::start("");
    let mut busy = stand.client();
    busy.query("begin").expect("begun");
    stand.signal(Signal::QUIT);
    assert_eq!(stand.end(), Some(0));
    assert_eq!(busy.last_words(), "E(FATAL 57P01)");
}

#[test]
fn usr1_pauses_and_usr2_resumes() {
    let _machine = place::machine(false);
    let stand = Stand::start("");
    let mut wire = stand.client();
    wire.query("select 1").expect("served");
    stand.signal(Signal::USR1);
    until("the pause", PATIENCE, || (stand.state("paused") == "yes").then_some(()));
    wire.send(&Say::new().query("select 2").bytes).expect("sent");
    assert!(wire.silent_for(Duration::from_millis(200)), "served while paused");
    let notice = refused(stand.console().query("PAUSE"));
    assert_eq!(notice.message, "already suspended/paused");
    stand.signal(Signal::USR2);
    assert_eq!(wire.answer().expect("served").value(), "2");
    assert_eq!(stand.state("active"), "yes");
}

#[test]
fn hup_reads_the_ini_again_and_opens_the_log_file_again() {
    let _machine = place::machine(false);
    let more = "logfile = {dir}/pooler.log\nstats_period = 1\n";
    let stand = Stand::start(more);
    let log = stand.dir().join("pooler.log");
    let form = |line: &str| line.contains(" UTC [") && line.contains("] LOG ");
    until("the log file to be PgBouncer's in form", PATIENCE, || {
        fs::read_to_string(&log).ok().filter(|text| text.lines().any(form))
    });
    until("a line of averages", PATIENCE, || {
        fs::read_to_string(&log).ok().filter(|text| text.contains("LOG stats: ") && text.contains(" xacts/s, "))
    });
    fs::rename(&log, stand.dir().join("pooler.log.1")).expect("moved away");
    stand.write(&format!("{more}max_client_conn = 77\n"));
    stand.signal(Signal::HUP);
    until("a new log file", PATIENCE, || fs::read_to_string(&log).ok().filter(|text| text.contains("SIGHUP")));
    let config = stand.console().query("SHOW CONFIG").expect("the settings");
    let row = config.rows.iter().find(|row| row[0].as_deref() == Some("max_client_conn")).expect("PgBouncer's name");
    let told: Vec<_> = row.iter().map(|cell| cell.as_deref().unwrap_or_default()).collect();
    assert_eq!(told, ["max_client_conn", "77", "100", "yes"]);
}

#[test]
fn each_client_is_said_in_the_log_as_pgbouncer_says_it_unless_that_is_switched_off() {
    let _machine = place::machine(false);
    let stand = Stand::start("query_wait_timeout = 1\n");
    let lines = |stand: &Stand, text: &str| stand.log().lines().filter(|line| line.contains(text)).count();
    let mut holders = [stand.client(), stand.client()];
    for wire in &mut holders {
        wire.query("begin").expect("lent");
    }
    refused(stand.client().query("select 1"));
    for text in [
        "LOG C-0x",
        ": app/app@127.0.0.1:",
        " login attempt: db=app user=app",
        " WARNING C-0x",
        " pooler error: query_wait_timeout",
        " closing because: client close request (age=",
    ] {
        until(text, PATIENCE, || (lines(&stand, text) > 0).then_some(()));
    }
    stand.write("log_connections = 0\nlog_disconnections = 0\nlog_pooler_errors = 0\n");
    stand.console().query("RELOAD").expect("reloaded");
    until("the reload to be said", PATIENCE, || (lines(&stand, "configuration reloaded") > 0).then_some(()));
    let before = lines(&stand, " C-0x");
    drop(stand.client());
    stand.signal(Signal::HUP); // its line comes behind whatever the client would have left
    until("the second reload", PATIENCE, || (lines(&stand, "SIGHUP: configuration reloaded") > 0).then_some(()));
    assert_eq!(lines(&stand, " C-0x"), before, "said although it is switched off");
}

#[test]
fn a_pid_file_is_held_by_the_living_and_removed_at_the_end() {
    let _machine = place::machine(false);
    let mut stand = Stand::start("pidfile = {dir}/pooler.pid\n");
    let path = stand.dir().join("pooler.pid");
    let pid = child::pid(stand.process.as_ref().expect("it runs")).as_raw_nonzero();
    assert_eq!(fs::read_to_string(&path).expect("written").trim(), pid.to_string());

    // Another directory of its own, so that the pid file alone is in its way.
    let other = Place::new("second");
    let ini = fs::read_to_string(stand.dir().join("pooler.ini")).expect("the ini");
    let free = Port::claim();
    let ini = ini.replace(&format!("listen_port = {}", stand.port.number), &format!("listen_port = {}", free.number));
    let mut second = child::command(child::Who::Myself, "KILL", &pooler::binary());
    second.args(["run", "--pgbouncer"]).arg(other.write("pooler.ini", &ini)).env("HOME", other.path());
    let output = second.output().expect("it ran");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains(&format!("process {pid} is running with it")), "{said}");

    stand.signal(Signal::QUIT);
    assert_eq!(stand.end(), Some(0));
    assert!(!path.exists(), "the pid file is left");
    fs::write(&path, "999999999\n").expect("a stale one");
    stand.process = Some(stand.launch());
    until("it to replace the stale one", PATIENCE, || {
        fs::read_to_string(&path).ok().filter(|said| said.trim() != "999999999")
    });
}

#[test]
fn the_unix_socket_has_pgbouncers_name_and_the_mode_and_group_it_is_given() {
    let _machine = place::machine(false);
    let group = rustix::process::getgid().as_raw();
    let stand = Stand::start(&format!("unix_socket_mode = 0700\nunix_socket_group = {group}\n"));
    let socket = stand.dir().join(format!(".s.PGSQL.{}", stand.port.number));
    let found = fs::metadata(&socket).expect("the socket");
    assert_eq!(found.permissions().mode() & 0o777, 0o700);
    assert_eq!(std::os::unix::fs::MetadataExt::gid(&found), group);
}

#[test]
fn errors_have_pgbouncers_texts_and_the_session_lives() {
    let _machine = place::machine(false);
    let stand = Stand::start("query_wait_timeout = 1\nmax_client_conn = 4\n");
    let mut holders = [stand.client(), stand.client()];
    for wire in &mut holders {
        wire.query("begin").expect("lent");
    }
    let mut waiting = stand.client();
    let notice = refused(waiting.query("select 1"));
    assert_eq!((notice.code.as_str(), notice.message.as_str()), ("53300", "query_wait_timeout"));
    assert!(notice.detail.contains("2 of 2") && !notice.hint.is_empty(), "{notice:?}");
    let nowhere = Login { database: "nowhere".to_string(), ..bed::login() };
    let notice = refused(Wire::connect(&Address::Tcp(stand.addr()), &nowhere).map(|_| ()));
    assert_eq!((notice.code.as_str(), notice.message.as_str()), ("3D000", "no such database: nowhere"));
    let _fourth = stand.client();
    let notice = refused(Wire::connect(&Address::Tcp(stand.addr()), &bed::login()).map(|_| ()));
    assert_eq!(
        (notice.code.as_str(), notice.message.as_str()),
        ("53300", "no more connections allowed (max_client_conn)")
    );
    for wire in &mut holders {
        wire.query("commit").expect("given back");
    }
    assert_eq!(waiting.query("select 1").expect("the refused session lives").value(), "1");
    stand.console().query("DISABLE app").expect("disabled");
    drop(holders);
    let notice = until("a place to be free", PATIENCE, || {
        let notice = refused(Wire::connect(&Address::Tcp(stand.addr()), &bed::login()).map(|_| ()));
        (!notice.message.contains("max_client_conn")).then_some(notice)
    });
    assert_eq!((notice.code.as_str(), notice.message.as_str()), ("57P03", "database \"app\" is disabled"));
    let notice = refused(waiting.query("select 1"));
    assert_eq!((notice.code.as_str(), notice.message.as_str()), ("55000", "database \"app\" is disabled"));
    let notice = refused(stand.console().query("RESUME"));
    assert_eq!(notice.message, "pooler is not paused/suspended");
}

#[test]
fn set_takes_pgbouncers_names() {
    let _machine = place::machine(false);
    let stand = Stand::start("");
    stand.console().query("SET default_pool_size = 5").expect("set");
    let answer = stand.console().query("SHOW DATABASES").expect("rows");
    let at = answer.columns.iter().position(|name| name == "pool_size").expect("the column");
    let row = answer.rows.iter().find(|row| row[0].as_deref() == Some("app")).expect("its row");
    assert_eq!(row[at].as_deref(), Some("5"));
    let notice = refused(stand.console().query("SET no_such_setting = 5"));
    assert!(notice.message.contains("no_such_setting"), "{notice:?}");
}
