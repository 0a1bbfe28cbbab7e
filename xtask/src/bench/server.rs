//! The processes under measurement: a private PostgreSQL, PgBouncer, poolwarden.
//!
//! Each is a child that is told to stop, and waited for, when its value goes away.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::place::{Place, on_path, output, postgres_program};

/// Server connections of either pooler.
const POOL_SIZE: u16 = 16;
pub(crate) const DATABASE: &str = "bench";
pub(crate) const USER: &str = "bench";
/// PgBouncer keeps prepared statements apart per client in transaction mode from here on.
const PGBOUNCER_PREPARED: (u32, u32) = (1, 21);
const START_LIMIT: Duration = Duration::from_secs(30);
/// Time a child has to end after it was asked, before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Open files a pooler may need: the idle clients, twice over.
const FILES: u32 = 16_384;

pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) prepared: bool,
    child: Child,
}

impl Server {
    fn start(place: &Place, name: &'static str, port: u16, mut command: Command) -> Result<Server> {
        let log = fs::File::create(place.folder.join(format!("{name}-{port}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {name}: {:?}", command.get_program()))?;
        let mut server = Server { name, port, prepared: true, child };
        server.await_port(&place.folder.join(format!("{name}-{port}.log")))?;
        Ok(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn await_port(&mut self, log: &Path) -> Result<()> {
        let began = Instant::now();
        loop {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || began.elapsed() > START_LIMIT {
                let said = fs::read_to_string(log).unwrap_or_default();
                bail!("{} did not open port {} ({ended:?}):\n{said}", self.name, self.port);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Time on a processor of all threads so far, in nanoseconds. A thread that ended is lost:
    /// neither pooler ends threads under steady load.
    pub(crate) fn cpu_ns(&self) -> Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            let path = task?.path().join("schedstat");
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            total += text.split(' ').next().unwrap_or("").parse::<u64>().context("schedstat's first number")?;
        }
        Ok(total)
    }

    /// The process's share of memory, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.pid());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line =
            text.lines().find_map(|line| line.strip_prefix("Pss:")).with_context(|| format!("no Pss in {path}"))?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Interrupt is PostgreSQL's fast shutdown, and the end of either pooler.
        let asked = output(Command::new("kill").args(["-INT", &self.pid().to_string()]));
        let began = Instant::now();
        while asked.is_ok() && began.elapsed() < STOP_LIMIT {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Already gone, or deaf: either way nothing of it may stay.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// PostgreSQL with pgbench's tables. Durability is off: it is the pooler that is measured.
pub(crate) fn postgres(place: &Place, scale: u32) -> Result<Server> {
    let data = place.folder.join("postgres");
    let mut initdb = place.command(&postgres_program("initdb")?);
    output(initdb.arg("-D").arg(&data).args(["-U", USER, "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8"]))?;
    let port = place.free_port()?;
    let mut command = place.command(&postgres_program("postgres")?);
    command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    command.arg("-c").arg(format!("unix_socket_directories={}", place.folder.display()));
    for setting in ["fsync=off", "max_connections=200", "shared_buffers=256MB", "autovacuum=off", "jit=off"] {
        command.args(["-c", setting]);
    }
    let server = Server::start(place, "postgres", port, command)?;
    await_ready(port)?;
    let port = port.to_string();
    let connect = ["-h", "127.0.0.1", "-p", &port, "-U", USER];
    output(Command::new("psql").args(connect).args(["-d", "postgres", "-qc", &format!("create database {DATABASE}")]))?;
    output(Command::new(postgres_program("pgbench")?).args(connect).args([
        "-i",
        "-q",
        "-s",
        &scale.to_string(),
        DATABASE,
    ]))?;
    Ok(server)
}

/// The port opens before recovery is over: asks until the server answers a query.
fn await_ready(port: u16) -> Result<()> {
    let began = Instant::now();
    loop {
        let port = port.to_string();
        let answer = output(Command::new("psql").args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            USER,
            "-d",
            "postgres",
            "-qc",
            "select 1",
        ]));
        match answer {
            Ok(_) => return Ok(()),
            Err(fault) if began.elapsed() > START_LIMIT => return Err(fault),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

pub(crate) fn pgbouncer(place: &Place, postgres: u16) -> Result<Server> {
    let program = on_path("pgbouncer").context("pgbouncer is not installed: run `make setup`")?;
    let version = output(Command::new(&program).arg("--version"))?;
    let prepared = pgbouncer_version(&version).is_some_and(|version| version >= PGBOUNCER_PREPARED);
    let port = place.free_port()?;
    let users = place.write(&format!("users-{port}.txt"), &format!("\"{USER}\" \"\"\n"))?;
    let statements = if prepared { "max_prepared_statements = 200\n" } else { "" };
    let text = format!(
        "[databases]\n{DATABASE} = host=127.0.0.1 port={postgres} dbname={DATABASE}\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
         pool_mode = transaction\ndefault_pool_size = {POOL_SIZE}\nmax_client_conn = 10000\n\
         log_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n\
         server_tls_sslmode = disable\n{statements}",
        users.display()
    );
    let settings = place.write(&format!("pgbouncer-{port}.ini"), &text)?;
    let mut command = limited(place, &program);
    command.arg(settings);
    let mut server = Server::start(place, "pgbouncer", port, command)?;
    server.prepared = prepared;
    Ok(server)
}

pub(crate) fn poolwarden(place: &Place, binary: &Path, postgres: u16) -> Result<Server> {
    // The servers' user may not be able to enter the folder it was built in.
    let program = place.folder.join("poolwarden");
    fs::copy(binary, &program).with_context(|| format!("cannot copy {}: build it first", binary.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let (port, http) = (place.free_port()?, place.free_port()?);
    let folder = place.folder.display();
    let text = format!(
        "[poolwarden]\ndata_dir = \"{folder}/state\"\n\n[listen]\naddress = [\"127.0.0.1:{port}\"]\n\
         unix_socket_dir = \"{folder}\"\nhttp = \"127.0.0.1:{http}\"\n\n\
         [servers.main]\nhost = \"127.0.0.1\"\nport = {postgres}\ntls = \"disable\"\nmax_connections = 100\n\n\
         [pools.{DATABASE}]\nserver = \"main\"\ndatabase = \"{DATABASE}\"\nmode = \"transaction\"\nsize = {POOL_SIZE}\n\n\
         [auth]\nmethod = \"trust\"\n\n[limits]\nmax_clients = 10000\n"
    );
    let settings = place.write("poolwarden.toml", &text)?;
    let mut command = limited(place, &program);
    command.args(["run", "-c"]).arg(settings);
    Server::start(place, "poolwarden", port, command)
}

/// Any other pooler: a shell command in which `{port}`, `{postgres}` and `{folder}` are filled in.
/// It must end in `exec`, so that the process measured is the pooler and not the shell.
pub(crate) fn stand_in(place: &Place, template: &str, postgres: u16) -> Result<Server> {
    let port = place.free_port()?;
    let line = template
        .replace("{port}", &port.to_string())
        .replace("{postgres}", &postgres.to_string())
        .replace("{folder}", &place.folder.display().to_string());
    let mut command = limited(place, Path::new("sh"));
    command.args(["-c", &line]);
    Server::start(place, "stand-in", port, command)
}

/// Started with the open files it needs: a pooler may size itself by the limit it finds.
fn limited(place: &Place, program: &Path) -> Command {
    let mut command = place.command(Path::new("prlimit"));
    command.arg(format!("--nofile={FILES}:{FILES}")).arg(program);
    command
}

/// `PgBouncer 1.18.0` as (1, 18).
fn pgbouncer_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.lines().next()?.split(' ').nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_pgbouncer_is_read() {
        assert_eq!(pgbouncer_version("PgBouncer 1.18.0\nlibevent 2.1.12-stable\n"), Some((1, 18)));
        assert_eq!(pgbouncer_version("something else"), None);
    }
}
