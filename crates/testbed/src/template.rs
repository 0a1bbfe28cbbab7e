//! Finds PostgreSQL's programs and keeps one initialised data directory per version to copy from.
//!
//! `initdb` takes seconds and a copy a tenth of one. The template holds the roles and the
//! database every test uses; its name is a hash of how it was made, so that a change makes a new one.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::child::{self, Who};
use crate::place;

/// The password of the roles `app` and `watch`.
pub const PASSWORD: &str = "wardens-secret";

const SETUP: &str = "\
    SET password_encryption = 'scram-sha-256';\
    \nCREATE ROLE app LOGIN PASSWORD 'wardens-secret';\
    \nCREATE ROLE watch LOGIN PASSWORD 'wardens-secret' IN ROLE pg_monitor;\
    \nCREATE DATABASE app OWNER app;\n";

const HBA: &str = "\
    local all all trust\n\
    local replication all trust\n\
    host replication all 127.0.0.1/32 scram-sha-256\n\
    host all all 127.0.0.1/32 scram-sha-256\n\
    host all all ::1/128 scram-sha-256\n";

/// The directory of PostgreSQL's programs: `TESTBED_POSTGRES` (a release of the matrix), `PG_BIN`, Debian's newest, `pg_config`, or the path.
#[must_use]
pub fn programs() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let found = candidates().into_iter().find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists());
        found.expect("no PostgreSQL server programs found: install the package postgresql, or set PG_BIN")
    })
}

fn candidates() -> Vec<PathBuf> {
    let named = ["TESTBED_POSTGRES", "PG_BIN"].into_iter().filter_map(std::env::var_os);
    let mut dirs: Vec<PathBuf> = named.map(PathBuf::from).collect();
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    dirs.extend(versions.into_iter().map(|(_, dir)| dir));
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    dirs.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    dirs
}

/// Copies the template to `data`, making the template first if there is none.
pub fn copy_to(data: &Path) {
    let lock = place::lock_file("template.lock");
    lock.lock().unwrap_or_else(|e| panic!("lock the template: {e}"));
    let template = place::root().join(format!("template-{:016x}", fingerprint()));
    if !template.exists() {
        make(&template);
    }
    child::run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&template).arg(data));
}

fn fingerprint() -> u64 {
    let version = child::run(Command::new(programs().join("postgres")).arg("--version"));
    let mut hasher = DefaultHasher::new();
    (version, SETUP, HBA).hash(&mut hasher);
    hasher.finish()
}

fn make(template: &Path) {
    let scratch = place::Place::new("template");
    if rustix::process::getuid().is_root() {
        let (user, group) = child::server_user();
        child::run(Command::new("chown").arg(format!("{user}:{group}")).arg(scratch.path()));
    }
    let data = scratch.path().join("data");
    let mut initdb = child::command(Who::Server, "KILL", &programs().join("initdb"));
    initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--wal-segsize=1", "--auth=trust"]);
    child::run(initdb.args(["--username=postgres", "-D"]).arg(&data));
    fs::write(data.join("pg_hba.conf"), HBA).unwrap_or_else(|e| panic!("write pg_hba.conf: {e}"));
    // Single-user mode takes one statement a line, and needs neither a port nor a socket.
    let setup = scratch.write("setup.sql", SETUP);
    let input = fs::File::open(&setup).unwrap_or_else(|e| panic!("open {}: {e}", setup.display()));
    let mut single = child::command(Who::Server, "KILL", &programs().join("postgres"));
    single.args(["--single", "-F", "-D"]).arg(&data).arg("postgres").stdin(input);
    let output = single.output().unwrap_or_else(|e| panic!("start {single:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("ERROR"), "fill the template: {said}");
    fs::rename(&data, template).unwrap_or_else(|e| panic!("keep the template: {e}"));
}
