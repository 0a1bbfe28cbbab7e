//! The pid file of PgBouncer's configuration: one living process holds it, a stale one is replaced, ours is removed at the end.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Held for as long as the process lives.
#[derive(Debug)]
pub(super) struct Pidfile {
    path: PathBuf,
}

impl Pidfile {
    /// Writes this process's id.
    ///
    /// # Errors
    /// A living process is named there already, or the file cannot be written.
    pub(super) fn take(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        loop {
            let opened = OpenOptions::new().create_new(true).write(true).mode(0o644).open(path);
            match opened {
                Ok(mut file) => {
                    writeln!(file, "{}", std::process::id())
                        .with_context(|| format!("pidfile {shown}: cannot write"))?;
                    return Ok(Self { path: path.to_owned() });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("pidfile {shown}: cannot create")),
            }
            let said = fs::read_to_string(path).unwrap_or_default();
            if let Some(pid) = living(&said) {
                bail!(
                    "pidfile {shown}: process {pid} is running with it; stop that one, or remove the file if it is another program"
                );
            }
            // Whoever wrote it is gone. That two find it stale at once is decided by the creation above.
            match fs::remove_file(path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("pidfile {shown}: stale, and cannot be removed"));
                }
            }
        }
    }

    /// Removes it, unless it names another process by now.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) fn release(self) -> anyhow::Result<()> {
        let own = fs::read_to_string(&self.path).is_ok_and(|said| said.trim() == std::process::id().to_string());
        if !own {
            return Ok(());
        }
        fs::remove_file(&self.path).with_context(|| format!("pidfile {}: cannot remove", self.path.display()))
    }
}

/// The process a pid file names, if it lives; one of another user lives as well. This very process does not count: a
/// container's first process has the same id after each restart.
fn living(said: &str) -> Option<i32> {
    let number: i32 = said.trim().parse().ok().filter(|number| *number > 0)?; // below are groups, and no process
    let pid = Pid::from_raw(number).filter(|pid| *pid != rustix::process::getpid())?;
    match test_kill_process(pid) {
        Ok(()) | Err(Errno::PERM) => Some(number),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_keeps_it_and_a_stale_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pooler.pid");
        let held = Pidfile::take(&path).unwrap();
        let own = format!("{}\n", std::process::id());
        assert_eq!(fs::read_to_string(&path).unwrap(), own);
        held.release().unwrap();
        assert!(!path.exists());

        fs::write(&path, "1\n").unwrap();
        let refused = Pidfile::take(&path).unwrap_err().to_string();
        assert!(refused.contains("process 1 is running with it"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");

        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        for stale in [format!("{gone}\n"), "no number".to_owned(), String::new(), "-1\n".to_owned(), own.clone()] {
            fs::write(&path, &stale).unwrap();
            let held = Pidfile::take(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), own, "{stale:?}");
            held.release().unwrap();
        }
    }

    #[test]
    fn one_that_names_somebody_else_by_now_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pooler.pid");
        let held = Pidfile::take(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        held.release().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        assert!(Pidfile::take(&dir.path().join("nowhere/pooler.pid")).is_err());
    }
}
