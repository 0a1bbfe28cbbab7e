//! A small file system in a mount namespace of its own, which can be filled and emptied while processes work on it.
//!
//! It lives as long as its value; nothing is left behind however the test ends. It needs the right to mount.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;

use crate::child;
use crate::until;

const PATIENCE: Duration = Duration::from_secs(20);
/// What takes the room.
const BALLAST: &str = "ballast";
/// Written when it is mounted.
const READY: &str = "mounted";

/// A file system in memory of a few KiB.
#[derive(Debug)]
pub struct Disk {
    holder: Child,
    pid: Pid,
    path: PathBuf,
}

/// Whether this user may mount.
#[must_use]
pub fn can_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

impl Disk {
    /// A file system of `kib` over the directory `path`.
    #[must_use]
    #[track_caller]
    pub fn mount(path: &Path, kib: u32) -> Disk {
        let script = format!(
            "mount -t tmpfs -o size={kib}k,mode=0700 tmpfs \"$0\" && touch \"$0/{READY}\" && exec sleep infinity"
        );
        let mut command = child::command(child::Who::Myself, "KILL", Path::new("unshare"));
        command.args(["-m", "sh", "-c", &script]).arg(path);
        let holder = child::spawn(&mut command);
        let disk = Disk { pid: child::pid(&holder), holder, path: path.to_path_buf() };
        until("the disk to be mounted", PATIENCE, || disk.inside(READY).exists().then_some(()));
        disk
    }

    /// The same command, where the file system is mounted; `nsenter` becomes it, so that the process id stays.
    #[must_use]
    pub fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg("-t").arg(self.pid.as_raw_nonzero().to_string()).arg("-m");
        if let Some(dir) = command.get_current_dir() {
            inside.arg(format!("--wd={}", dir.display())).current_dir(dir);
        }
        inside.arg(command.get_program()).args(command.get_args());
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside.stdin(Stdio::null());
        inside
    }

    /// Leaves no room.
    #[track_caller]
    pub fn fill(&self) {
        let path = self.inside(BALLAST);
        let mut file = File::create(&path).unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
        for chunk in [4_096, 1] {
            while file.write_all(&vec![0; chunk]).is_ok() {}
        }
    }

    /// Gives the room back.
    #[track_caller]
    pub fn empty(&self) {
        let path = self.inside(BALLAST);
        fs::remove_file(&path).unwrap_or_else(|e| panic!("remove {}: {e}", path.display()));
    }

    fn inside(&self, name: &str) -> PathBuf {
        let below = self.path.strip_prefix("/").unwrap_or(&self.path);
        Path::new("/proc").join(self.pid.as_raw_nonzero().to_string()).join("root").join(below).join(name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(e) = self.holder.kill().and_then(|()| self.holder.wait()) {
            eprintln!("end the holder of {}: {e}", self.path.display());
        }
    }
}
