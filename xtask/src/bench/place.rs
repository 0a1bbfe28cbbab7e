//! A throwaway folder, the user its programs run as, and ports nobody uses.
//!
//! PostgreSQL and PgBouncer refuse to run as root: then they run as the system's `postgres` user.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

/// Below the ports the system gives to outgoing connections, which could take one between choice and use.
const PORTS: std::ops::Range<u32> = 20_000..32_000;

pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    /// Set when we are root: whom to run servers as.
    user: Option<&'static str>,
}

impl Place {
    pub(crate) fn new() -> Result<Place> {
        let folder = std::env::temp_dir().join(format!("poolwarden-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let user = (output(Command::new("id").arg("-u"))?.trim() == "0").then_some("postgres");
        let place = Place { folder, user };
        place.give(&place.folder)?;
        Ok(place)
    }

    /// Hands a file or folder to the user the servers run as.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        if let Some(user) = self.user {
            output(Command::new("chown").arg("-R").arg(format!("{user}:")).arg(path))?;
        }
        Ok(())
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        self.give(&path)?;
        Ok(path)
    }

    /// A command as the servers' user, which is told to stop if we die.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = match self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid", user, "--regid", user, "--init-groups", "--pdeathsig", "INT", "--"])
                    .arg(program);
                command
            }
        };
        command.current_dir(&self.folder).env("HOME", &self.folder);
        command
    }

    pub(crate) fn free_port(&self) -> Result<u16> {
        static TRIES: AtomicU32 = AtomicU32::new(0);
        let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
        let start = std::process::id().wrapping_mul(2_654_435_761).wrapping_add(clock);
        for _ in 0..1000 {
            let step = TRIES.fetch_add(1, Ordering::Relaxed).wrapping_mul(7919);
            let port = u16::try_from(PORTS.start + start.wrapping_add(step) % (PORTS.end - PORTS.start))?;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
        bail!("no free port between {} and {}", PORTS.start, PORTS.end)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(fault) = fs::remove_dir_all(&self.folder) {
            eprintln!("bench: {} is left behind: {fault}", self.folder.display());
        }
    }
}

/// Standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program of PostgreSQL: on the path, or in the newest of Debian's folders.
pub(crate) fn postgres_program(name: &str) -> Result<PathBuf> {
    if let Some(found) = on_path(name) {
        return Ok(found);
    }
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            let program = path.join("bin").join(name);
            program.exists().then_some((version, program))
        })
        .collect();
    versions.sort();
    let (_, newest) = versions.pop().with_context(|| format!("{name} is not installed: run `make setup`"))?;
    Ok(newest)
}

pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}
