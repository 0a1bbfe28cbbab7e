//! A PgBouncer of the same plan, to prove the tests and to print its figure beside poolwarden's.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::Signal;

use crate::bed::Plan;
use crate::child::{self, Who};
use crate::place::{Place, Port};
use crate::template::PASSWORD;
use crate::until;

/// A running PgBouncer.
#[derive(Debug)]
pub struct PgBouncer {
    place: Place,
    port: Port,
    process: Child,
}

/// The installed PgBouncer, if there is one.
#[must_use]
pub fn installed() -> Option<PathBuf> {
    ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].iter().map(PathBuf::from).find(|path| path.exists())
}

impl PgBouncer {
    /// Starts PgBouncer before the server at `server` and waits until it accepts connections.
    #[must_use]
    #[track_caller]
    pub fn start(plan: &Plan, server: SocketAddr) -> PgBouncer {
        let program = installed().expect("PgBouncer is not installed: install the package pgbouncer");
        let place = Place::new("pb");
        let port = Port::claim();
        place.write("users", &format!("\"app\" \"{PASSWORD}\"\n"));
        let file = place.write("pgbouncer.ini", &configuration(plan, server, port.number, place.path()));
        if rustix::process::getuid().is_root() {
            let (user, group) = child::server_user();
            child::run(Command::new("chown").arg("-R").arg(format!("{user}:{group}")).arg(place.path()));
        }
        let mut command = child::command(Who::Server, "KILL", &program);
        command.arg(&file);
        child::log_to(&mut command, &place.path().join("log"));
        let mut process = child::spawn(&mut command);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number));
        until("PgBouncer to listen", Duration::from_secs(30), || {
            if let Ok(Some(status)) = process.try_wait() {
                panic!("PgBouncer ended with {status}:\n{}", place.tail("log", 20));
            }
            std::net::TcpStream::connect(address).ok()
        });
        PgBouncer { place, port, process }
    }

    /// Its file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.place.path().join("pgbouncer.ini")
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.place.tail("log", usize::MAX)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }
}

fn configuration(plan: &Plan, server: SocketAddr, port: u16, dir: &Path) -> String {
    let (size, mode, clients) = (plan.size, plan.mode.name(), plan.max_clients);
    let limit = plan.user_limit.unwrap_or(0);
    format!(
        "[databases]\napp = host={} port={} dbname=app\n\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = scram-sha-256\nauth_file = {}/users\npool_mode = {mode}\ndefault_pool_size = {size}\n\
         max_client_conn = {clients}\nmax_user_connections = {limit}\nquery_wait_timeout = {}\n\
         admin_users = app\nlog_connections = 0\nlog_disconnections = 0\nserver_login_retry = 1\n\
         ignore_startup_parameters = extra_float_digits,search_path,statement_timeout,options\n",
        server.ip(),
        server.port(),
        dir.display(),
        plan.max_wait.as_secs(),
    )
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- PgBouncer's last words ---\n{}", self.place.tail("log", 20));
        }
        child::signal(child::pid(&self.process), Signal::KILL);
        if let Err(e) = self.process.wait() {
            eprintln!("wait for PgBouncer: {e}");
        }
    }
}
