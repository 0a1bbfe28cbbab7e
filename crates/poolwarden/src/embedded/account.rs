//! Who the private PostgreSQL runs as: PostgreSQL refuses root, so root gives it to `postgres`, else to `nobody`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use super::binary;

/// Another user to become, or none.
pub(super) struct Account {
    other: Option<(u32, u32)>,
    setpriv: Option<std::path::PathBuf>,
}

impl Account {
    pub(super) fn choose() -> anyhow::Result<Self> {
        let setpriv = binary::on_path("setpriv");
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { other: None, setpriv });
        }
        if setpriv.is_none() {
            bail!(
                "PostgreSQL refuses to run as root, and setpriv is not there to become another user: apt install util-linux, or start poolwarden as another user"
            );
        }
        let other = ["postgres", "nobody"].into_iter().find_map(ids);
        let other = other.context("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody: start poolwarden as another user")?;
        Ok(Self { other: Some(other), setpriv })
    }

    /// A command that runs `program` as this account, without PostgreSQL's environment variables.
    pub(super) fn command(&self, program: &Path) -> Command {
        self.prepare(program, false)
    }

    /// As [`Account::command`], and the kernel asks it to end (SIGINT: fast shutdown) when the calling thread ends.
    pub(super) fn mortal_command(&self, program: &Path) -> Command {
        self.prepare(program, true)
    }

    fn prepare(&self, program: &Path, mortal: bool) -> Command {
        let mut command = match &self.setpriv {
            Some(setpriv) if mortal || self.other.is_some() => {
                let mut command = Command::new(setpriv);
                if let Some((user, group)) = self.other {
                    command.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--clear-groups"]);
                }
                if mortal {
                    command.args(["--pdeathsig", "INT"]);
                }
                command.arg("--").arg(program);
                command
            }
            Some(_) | None => Command::new(program),
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C");
        command
    }

    /// Lets this account pass through a directory that stays ours. What is in there keeps its own, private mode.
    pub(super) fn let_through(&self, directory: &Path) -> anyhow::Result<()> {
        /// Enter, without reading what there is.
        const ENTER: u32 = 0o011;
        let opened = || -> std::io::Result<()> {
            let mut permissions = fs::metadata(directory)?.permissions();
            if self.other.is_some() && permissions.mode() & ENTER != ENTER {
                permissions.set_mode(permissions.mode() | ENTER);
                fs::set_permissions(directory, permissions)?;
            }
            Ok(())
        };
        opened().with_context(|| format!("cannot open {} to PostgreSQL's user", directory.display()))
    }

    /// Gives a path to this account.
    pub(super) fn give(&self, path: &Path) -> anyhow::Result<()> {
        let Some((user, group)) = self.other else { return Ok(()) };
        chown(path, Some(user), Some(group)).with_context(|| format!("cannot give {} away", path.display()))
    }
}

fn ids(user: &str) -> Option<(u32, u32)> {
    let ask = |flag: &str| -> Option<u32> {
        let output = Command::new("id").args([flag, user]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    Some((ask("-u")?, ask("-g")?))
}
