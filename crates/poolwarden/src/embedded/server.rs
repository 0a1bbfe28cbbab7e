//! The running postmaster: started, awaited, stopped; nothing of it stays behind.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::binary::Binaries;
use super::cluster::{Cluster, PORT};

/// Crash recovery of a small database fits; a hung start does not.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// A server of a process that was killed is on its way out.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(15);
/// A fast shutdown writes a checkpoint; after that the immediate one.
const FAST_TIMEOUT: Duration = Duration::from_secs(20);
const IMMEDIATE_TIMEOUT: Duration = Duration::from_secs(10);
/// Short against all of these, long against the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A postmaster that is ours.
pub(super) struct Server {
    child: Child,
    stopped: bool,
}

impl Server {
    /// Starts it in a process group of its own, so that Ctrl-C reaches only us, and waits until it answers.
    pub(super) fn start(cluster: &Cluster, binaries: &Binaries) -> anyhow::Result<Self> {
        await_predecessor(&cluster.data())?;
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(cluster.log());
        let log = log.with_context(|| format!("cannot write {}", cluster.log().display()))?;
        let log_start = log.metadata().map_or(0, |metadata| metadata.len());
        let mut command = cluster.account.mortal_command(&binaries.postgres);
        command.arg("-D").arg(cluster.data());
        // Socket directories are a list in PostgreSQL's eyes: quoted, a comma or blank in the path is just a letter.
        let sockets = format!("unix_socket_directories=\"{}\"", cluster.socket_dir().display());
        for setting in [
            "listen_addresses=",
            &sockets,
            "unix_socket_permissions=0700",
            "max_connections=100",
            "cluster_name=poolwarden",
            "logging_collector=off",
        ] {
            command.args(["-c", setting]);
        }
        command.args(["-p", &PORT.to_string()]).current_dir(cluster.dir()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().context("cannot start postgres")?;
        let mut server = Self { child, stopped: false };
        server.await_ready(cluster, log_start)?;
        Ok(server)
    }

    fn await_ready(&mut self, cluster: &Cluster, log_start: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("postgres was lost")? {
                self.stopped = true;
                let said = tail(&cluster.log(), log_start);
                bail!("postgres ended while starting ({status}); its log says:\n{said}");
            }
            let ready = pid_file(&cluster.data()).is_some_and(|(pid, ready)| ready && pid == self.child.id());
            if ready && UnixStream::connect(cluster.socket()).is_ok() {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("postgres does not answer after {}s; see {}", START_TIMEOUT.as_secs(), cluster.log().display())
    }

    /// Fast shutdown, then the immediate one, then none at all; waits until the process is gone.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        if self.stopped {
            return Ok(());
        }
        for (signal, timeout) in [(Signal::INT, FAST_TIMEOUT), (Signal::QUIT, IMMEDIATE_TIMEOUT)] {
            self.signal(signal)?;
            if self.wait(timeout)?.is_some() {
                self.stopped = true;
                return Ok(());
            }
        }
        self.child.kill().context("cannot kill postgres")?;
        let status = self.child.wait().context("postgres was lost")?;
        self.stopped = true;
        bail!("postgres did not shut down and was killed ({status}); it recovers at its next start")
    }

    /// Its process id.
    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        // Not reaped yet, so the number is still this child's.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("postgres has no process id")?;
        match kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("cannot signal postgres"),
        }
    }

    fn wait(&mut self, timeout: Duration) -> anyhow::Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            let status = self.child.try_wait().context("postgres was lost")?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("poolwarden: {error:#}");
        }
    }
}

/// A server that still runs on this data: of a poolwarden that was killed a moment ago, or of one that runs now.
fn await_predecessor(data: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + PREDECESSOR_TIMEOUT;
    while let Some((pid, _)) = pid_file(data).filter(|(pid, _)| runs_on(*pid, data)) {
        if Instant::now() >= deadline {
            bail!("another PostgreSQL (pid {pid}) already runs on {}: is poolwarden running already?", data.display());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Whether that process is a postmaster of this data: PostgreSQL's working directory is its data.
fn runs_on(pid: u32, data: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == data)
}

/// Process id and readiness, from PostgreSQL's own postmaster.pid (its first and eighth line).
fn pid_file(data: &Path) -> Option<(u32, bool)> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    Some((pid, lines.nth(6).is_some_and(|status| status.trim() == "ready")))
}

/// The last lines since `start`.
fn tail(log: &Path, start: u64) -> String {
    const LINES: usize = 20;
    let mut text = Vec::new();
    let read = fs::File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.take(1 << 20).read_to_end(&mut text)
    });
    if let Err(error) = read {
        return format!("(cannot read {}: {error})", log.display());
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
