//! Processes that end with the test.
//!
//! The kernel is asked to signal a child when the thread that started it ends (`setpriv --pdeathsig`),
//! so a fixture belongs to the thread that made it: a test, not a shared static.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// Who a child runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The user of the test.
    Myself,
    /// The user of PostgreSQL where the test is root (servers refuse root), else the user of the test.
    Server,
}

/// A command that runs as `who` and gets `signal` (a name such as `QUIT`) when the calling thread ends.
#[must_use]
pub fn command(who: Who, signal: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]);
    if who == Who::Server && rustix::process::getuid().is_root() {
        let (user, group) = server_user();
        command.args(["--reuid", &user, "--regid", &group, "--clear-groups"]);
        command.env("HOME", "/tmp");
    }
    command.arg(program).stdin(Stdio::null());
    command
}

/// The same command where it may open no more than `limit` files; `prlimit` becomes it, so that the process id stays.
#[must_use]
pub fn with_open_files(limit: u64, command: &Command) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={limit}")).arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        limited.current_dir(dir);
    }
    limited.stdin(Stdio::null());
    limited
}

/// User and group id of PostgreSQL's account, or of `nobody` where it has none.
#[must_use]
pub fn server_user() -> (String, String) {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    for name in ["postgres:", "nobody:"] {
        if let Some(line) = accounts.lines().find(|line| line.starts_with(name)) {
            let fields: Vec<&str> = line.split(':').collect();
            return (fields[2].to_string(), fields[3].to_string());
        }
    }
    panic!("running as root, and neither a user postgres nor nobody exists to run PostgreSQL as")
}

/// Sends both outputs of `command` to the end of the file `log`.
pub fn log_to(command: &mut Command, log: &Path) {
    let open = || OpenOptions::new().create(true).append(true).open(log);
    let out = open().unwrap_or_else(|e| panic!("open {}: {e}", log.display()));
    let err = open().unwrap_or_else(|e| panic!("open {}: {e}", log.display()));
    command.stdout(out).stderr(err);
}

/// Starts `command`, or says which program is missing.
#[track_caller]
pub fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|e| panic!("start {command:?}: {e}"))
}

/// Runs `command` to its end and returns its standard output; panics with its errors if it fails.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed with {}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits for the end of `child`; `None` after `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if started.elapsed() > limit => return None,
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(e) => panic!("wait for a child: {e}"),
        }
    }
}

/// Lets this process open as many files as its hard limit allows, and says how many that is.
#[track_caller]
pub fn raise_open_files() -> u64 {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard })
        .unwrap_or_else(|e| panic!("raise the limit of open files: {e}"));
    hard.unwrap_or(u64::MAX)
}

/// The process id in the form the kernel calls take.
#[must_use]
pub fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Signals a process; a process that is gone is no error.
pub fn signal(pid: Pid, signal: Signal) {
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(e) => panic!("signal process {pid:?}: {e}"),
    }
}

/// The live children of a process.
#[must_use]
pub fn children(parent: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir("/proc").unwrap_or_else(|e| panic!("read /proc: {e}"));
    for entry in entries.flatten() {
        let Ok(number) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in parentheses may hold anything; state and parent follow it.
        let after = stat.rsplit(") ").next().unwrap_or_default();
        let mut fields = after.split(' ');
        let state = fields.next();
        let is_child = fields.next() == Some(&parent.as_raw_nonzero().to_string());
        if is_child && state != Some("Z") {
            found.extend(Pid::from_raw(number));
        }
    }
    found
}

/// The memory a process has in RAM now, in bytes; an error once it is gone.
pub fn memory(pid: Pid) -> io::Result<u64> {
    of_status(pid, "VmRSS:")
}

/// The most memory a process ever had in RAM, in bytes; an error once it is gone.
pub fn peak_memory(pid: Pid) -> io::Result<u64> {
    of_status(pid, "VmHWM:")
}

fn of_status(pid: Pid, name: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().map_err(io::Error::other)?;
    Ok(kib * 1024)
}
