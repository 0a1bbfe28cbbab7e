//! A pooler started from a pgbouncer.ini: PgBouncer itself, or poolwarden in its place.
//!
//! The same text goes to both; only where they listen and keep their files is filled in.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::child::{self, Who};
use crate::place::{Place, Port};
use crate::{pgbouncer, pooler, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Who reads the ini.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The installed PgBouncer.
    PgBouncer,
    /// `poolwarden run --pgbouncer`.
    Poolwarden,
}

/// A running one.
#[derive(Debug)]
pub struct Running {
    place: Place,
    port: Port,
    process: Child,
}

impl Program {
    /// Those that can be started here: PgBouncer only where it is installed.
    #[must_use]
    pub fn both() -> Vec<Program> {
        let there = pgbouncer::installed().map(|_| Program::PgBouncer);
        there.into_iter().chain([Program::Poolwarden]).collect()
    }

    /// Starts it with `files`, of which `pgbouncer.ini` is the first to be read, and waits until it accepts connections.
    ///
    /// In each text `{dir}` is the directory of the files and `{port}` the port to listen on.
    #[must_use]
    #[track_caller]
    pub fn start(self, files: &[(&str, &str)]) -> Running {
        let (place, port) = (Place::new("ini"), Port::claim());
        for (name, text) in files {
            place.write(name, &filled(text, place.path(), port.number));
        }
        let mut command = self.command(&place);
        child::log_to(&mut command, &place.path().join("log"));
        let mut process = child::spawn(&mut command);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
        until("the pooler to listen", PATIENCE, || {
            if let Ok(Some(status)) = process.try_wait() {
                panic!("{self:?} ended with {status}:\n{}", place.tail("log", 30));
            }
            std::net::TcpStream::connect(address).ok()
        });
        Running { place, port, process }
    }

    fn command(self, place: &Place) -> Command {
        let ini = place.path().join("pgbouncer.ini");
        match self {
            Self::PgBouncer => {
                let program =
                    pgbouncer::installed().expect("PgBouncer is not installed: install the package pgbouncer");
                if rustix::process::getuid().is_root() {
                    let (user, group) = child::server_user();
                    child::run(Command::new("chown").arg("-R").arg(format!("{user}:{group}")).arg(place.path()));
                }
                let mut command = child::command(Who::Server, "KILL", &program);
                command.arg(&ini);
                command
            }
            Self::Poolwarden => {
                let mut command = child::command(Who::Myself, "KILL", &pooler::binary());
                command.args(["run", "--pgbouncer"]).arg(&ini);
                command.env("STATE_DIRECTORY", place.path().join("state")).current_dir(place.path());
                command
            }
        }
    }
}

fn filled(text: &str, dir: &Path, port: u16) -> String {
    text.replace("{dir}", &dir.display().to_string()).replace("{port}", &port.to_string())
}

/// What psql said: whether it succeeded, its output, and its errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// It ended with 0.
    pub well: bool,
    /// Rows, unaligned, without headings.
    pub rows: String,
    /// Standard error.
    pub errors: String,
}

impl Running {
    /// The directory of its files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.place.path()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Everything it has logged to standard error and output.
    #[must_use]
    pub fn log(&self) -> String {
        self.place.tail("log", usize::MAX)
    }

    /// Writes one of its files again.
    pub fn rewrite(&self, name: &str, text: &str) -> PathBuf {
        self.place.write(name, &filled(text, self.place.path(), self.port.number))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        child::signal(child::pid(&self.process), signal);
    }

    /// Runs one query by psql over TCP.
    #[must_use]
    pub fn psql(&self, user: &str, password: &str, database: &str, query: &str) -> Said {
        let output = Command::new("psql")
            .args(["-XAt", "-h", "127.0.0.1", "-p", &self.port.number.to_string(), "-U", user, "-d", database])
            .args(["-c", query])
            .env("PGPASSWORD", password)
            .env("PGCONNECT_TIMEOUT", "20")
            .env("PGSSLMODE", "disable")
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| panic!("start psql: {e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Said { well: output.status.success(), rows: text(&output.stdout), errors: text(&output.stderr) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the pooler's last words ---\n{}", self.place.tail("log", 40));
        }
        child::signal(child::pid(&self.process), Signal::KILL);
        if let Err(e) = self.process.wait() {
            eprintln!("wait for the pooler: {e}");
        }
    }
}
