//! Clients in other languages: a script is given the address, and prints `ok NAME` for each check.
//!
//! A check that is not printed has not passed: a script that quietly leaves one out fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::bed::Bed;
use crate::child;
use crate::pooler::workspace;
use crate::template::PASSWORD;

/// A hundred connections and an 8 MiB row take a few seconds; a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// A file that `scripts/setup-drivers.sh` provides.
#[must_use]
#[track_caller]
pub fn installed(path: &str) -> PathBuf {
    let found = if path.starts_with('/') { PathBuf::from(path) } else { workspace().join(".local").join(path) };
    assert!(found.exists(), "{} is missing: run scripts/setup-drivers.sh", found.display());
    found
}

/// A script of `clients/`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// The command with the address of `bed` in its environment, as libpq names it, and as `DATABASE_URL`.
#[must_use]
pub fn command(program: impl AsRef<std::ffi::OsStr>, bed: &Bed) -> Command {
    let mut command = Command::new(program);
    command
        .env("DATABASE_URL", bed.url())
        .env("PGHOST", bed.addr().ip().to_string())
        .env("PGPORT", bed.addr().port().to_string())
        .env("PGUSER", "app")
        .env("PGPASSWORD", PASSWORD)
        .env("PGDATABASE", "app")
        .env("PGSSLMODE", "disable")
        .stdin(Stdio::null());
    command
}

/// Runs a script and expects exactly the named checks to pass.
#[track_caller]
pub fn expect(command: &mut Command, checks: &[&str]) {
    let (passed, said) = run(command);
    let ok: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("ok ")).collect();
    let ok: Vec<&str> = ok.iter().filter_map(|line| line.split(' ').next()).collect();
    assert!(passed && ok == checks, "{command:?} passed {ok:?}, expected {checks:?}; it said:\n{said}");
    eprintln!("{said}");
}

/// Runs a command to its end: whether it succeeded, and both its outputs.
#[track_caller]
pub fn run(command: &mut Command) -> (bool, String) {
    let place = crate::place::Place::new("client");
    let log = place.path().join("log");
    child::log_to(command, &log);
    let mut process = child::spawn(command);
    let status = child::wait(&mut process, PATIENCE);
    if status.is_none() {
        child::signal(child::pid(&process), rustix::process::Signal::KILL);
        process.wait().unwrap_or_else(|e| panic!("wait for a client: {e}"));
    }
    let mut said = place.tail("log", 400);
    if status.is_none() {
        said.push_str("\nkilled after two minutes");
    }
    (status.is_some_and(|status| status.success()), said)
}
