//! A private PostgreSQL of its own data directory, port and socket.
//!
//! It dies with its value, with a panic, and with the thread that made it. After `kill9` its
//! System V segment is removed here, since nobody else would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::Signal;

use crate::child::{self, Who};
use crate::place::{Place, Port};
use crate::template;
use crate::until;
use crate::wire::{Address, Answer, Login, Wire};

/// Start, stop and crash recovery together stay below this on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test wants of its server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// PostgreSQL's `max_connections`.
    pub max_connections: u32,
    /// Further settings, name and value.
    pub more: Vec<(&'static str, String)>,
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    place: Place,
    port: Port,
    settings: Settings,
    process: Option<Child>,
}

/// One row of `pg_stat_activity` that belongs to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// Its process id.
    pub pid: i32,
    /// `active`, `idle`, `idle in transaction` ...
    pub state: String,
    /// The statement it runs or ran last.
    pub query: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { max_connections: 150, more: Vec::new() }
    }
}

impl Postgres {
    /// Starts a server and waits until it answers.
    #[must_use]
    #[track_caller]
    pub fn start(settings: Settings) -> Postgres {
        let place = Place::new("pg");
        template::copy_to(&place.path().join("data"));
        let sockets = place.path().join("s");
        std::fs::create_dir(&sockets).unwrap_or_else(|e| panic!("create {}: {e}", sockets.display()));
        if rustix::process::getuid().is_root() {
            let (user, group) = child::server_user();
            child::run(Command::new("chown").arg(format!("{user}:{group}")).arg(&sockets));
        }
        let mut postgres = Postgres { place, port: Port::claim(), settings, process: None };
        postgres.restart();
        postgres
    }

    /// Starts the server again after `stop` or `kill9`, on the same port and data.
    #[track_caller]
    pub fn restart(&mut self) {
        self.launch();
        until("PostgreSQL to answer", PATIENCE, || {
            let process = self.process.as_mut().expect("launched above");
            if let Ok(Some(status)) = process.try_wait() {
                panic!("PostgreSQL ended with {status}:\n{}", self.place.tail("log", 20));
            }
            Wire::connect(&self.socket(), &superuser("postgres")).ok()
        });
    }

    /// Starts the server without waiting for it.
    #[track_caller]
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "PostgreSQL runs already");
        let mut command = child::command(Who::Server, "QUIT", &template::programs().join("postgres"));
        command.arg("-D").arg(self.place.path().join("data"));
        for (name, value) in self.options() {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        child::log_to(&mut command, &self.place.path().join("log"));
        self.process = Some(child::spawn(&mut command));
    }

    fn options(&self) -> Vec<(&'static str, String)> {
        let sockets = self.place.path().join("s").display().to_string();
        let mut options = vec![
            ("listen_addresses", "127.0.0.1".to_string()),
            ("port", self.port.number.to_string()),
            ("unix_socket_directories", sockets),
            ("max_connections", self.settings.max_connections.to_string()),
            ("log_line_prefix", "%m [%p] %q%u@%d ".to_string()),
        ];
        let fixed = [
            ("fsync", "off"),
            ("full_page_writes", "off"),
            ("synchronous_commit", "off"),
            ("shared_buffers", "32MB"),
            // Files in the data directory, so that a killed server leaves nothing in /dev/shm.
            ("dynamic_shared_memory_type", "mmap"),
            ("wal_level", "minimal"),
            ("max_wal_senders", "0"),
            ("max_wal_size", "64MB"),
            ("log_timezone", "UTC"),
            ("log_connections", "on"),
            ("log_disconnections", "on"),
            ("jit", "off"),
        ];
        options.extend(fixed.map(|(name, value)| (name, value.to_string())));
        options.extend(self.settings.more.iter().cloned());
        options
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// The TCP address, which asks for SCRAM.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// The unix socket, which trusts everyone.
    #[must_use]
    pub fn socket(&self) -> Address {
        Address::Unix(self.place.path().join("s").join(format!(".s.PGSQL.{}", self.port.number)))
    }

    /// The directory of the unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.place.path().join("s")
    }

    /// A superuser's connection past every pooler.
    #[must_use]
    #[track_caller]
    pub fn direct(&self, database: &str) -> Wire {
        Wire::connect(&self.socket(), &superuser(database)).unwrap_or_else(|e| panic!("connect to PostgreSQL: {e}"))
    }

    /// Runs statements as a superuser in the database `app`.
    #[track_caller]
    pub fn sql(&self, text: &str) -> Answer {
        self.direct("app").query(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    /// The backends that serve the user `app`.
    #[must_use]
    #[track_caller]
    pub fn backends(&self) -> Vec<Backend> {
        let answer = self.sql(
            "select pid, coalesce(state, ''), query from pg_stat_activity \
             where usename = 'app' and backend_type = 'client backend' order by pid",
        );
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        answer
            .rows
            .iter()
            .map(|row| Backend {
                pid: text(&row[0]).parse().expect("a process id is a number"),
                state: text(&row[1]),
                query: text(&row[2]),
            })
            .collect()
    }

    /// Its first process.
    #[must_use]
    #[track_caller]
    pub fn postmaster(&self) -> rustix::process::Pid {
        child::pid(self.process.as_ref().expect("PostgreSQL runs"))
    }

    /// Everything the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let log = std::fs::read(self.place.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Shuts the server down, ending its sessions.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("PostgreSQL runs");
        child::signal(child::pid(&process), Signal::INT);
        let ended = child::wait(&mut process, PATIENCE);
        assert!(ended.is_some(), "PostgreSQL did not stop within {PATIENCE:?}");
    }

    /// Kills the server with signal 9, the postmaster first and then every backend.
    #[track_caller]
    pub fn kill9(&mut self) {
        let mut process = self.process.take().expect("PostgreSQL runs");
        let postmaster = child::pid(&process);
        // Stopped first, it cannot start another backend between the look and the blow.
        child::signal(postmaster, Signal::STOP);
        let backends = child::children(postmaster);
        child::signal(postmaster, Signal::KILL);
        backends.iter().for_each(|backend| child::signal(*backend, Signal::KILL));
        process.wait().unwrap_or_else(|e| panic!("wait for PostgreSQL: {e}"));
        until("the backends to be gone", PATIENCE, || {
            let gone = |pid: &rustix::process::Pid| !is_alive(pid.as_raw_nonzero().get());
            backends.iter().all(gone).then_some(())
        });
    }

    /// Removes the System V segment a killed server left; its id stands in the seventh line of its pid file.
    fn remove_segment(&self) {
        let pid_file = std::fs::read_to_string(self.place.path().join("data/postmaster.pid")).unwrap_or_default();
        if let Some(id) = pid_file.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            let removed = Command::new("ipcrm").args(["-m", id]).output();
            if let Ok(output) = removed
                && !output.status.success()
            {
                eprintln!("ipcrm -m {id}: {}", String::from_utf8_lossy(&output.stderr).trim());
            }
        }
    }
}

/// A superuser's login over the unix socket.
#[must_use]
pub fn superuser(database: &str) -> Login {
    Login { user: "postgres".to_string(), password: String::new(), database: database.to_string() }
}

/// A process that is neither gone nor waiting to be reaped.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- PostgreSQL's last words ---\n{}", self.place.tail("log", 20));
        }
        if let Some(mut process) = self.process.take() {
            child::signal(child::pid(&process), Signal::QUIT);
            if child::wait(&mut process, Duration::from_secs(10)).is_some() {
                return;
            }
            self.process = Some(process);
            self.kill9();
        }
        self.remove_segment();
    }
}
