//! Directories, ports and locks of one test run, under one root in the temporary directory.
//!
//! A place is a directory that is removed with its value; its `alive` lock tells later runs
//! whether the owner is still there, so that what a killed run left behind is swept.
//! A port is claimed by a lock as well, so that two tests never race for one.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static SWEPT: Once = Once::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory that lives as long as the value.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    _alive: File,
}

/// A TCP port of the loopback interface that no other test takes while this value lives.
#[derive(Debug)]
pub struct Port {
    /// The port, below the range the kernel gives to outgoing connections.
    pub number: u16,
    _claim: File,
}

/// The root of everything the testbed keeps: readable by the server's user, one per user.
///
/// Always short, because a unix socket's path may have at most 107 bytes.
#[must_use]
pub fn root() -> PathBuf {
    let temp = std::env::temp_dir();
    let temp = if temp.as_os_str().len() > 40 { PathBuf::from("/tmp") } else { temp };
    let root = temp.join(format!("poolwarden-testbed-{}", rustix::process::getuid().as_raw()));
    fs::create_dir_all(&root).unwrap_or_else(|e| panic!("create {}: {e}", root.display()));
    open_to_all(&root);
    root
}

/// Lets every user enter and read `path`: the server may run as another user.
pub fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .unwrap_or_else(|e| panic!("chmod {}: {e}", path.display()));
}

/// Opens the lock file `name` under the root, without taking it.
#[must_use]
pub fn lock_file(name: &str) -> File {
    let path = root().join(name);
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .unwrap_or_else(|e| panic!("open lock {}: {e}", path.display()))
}

/// Keeps the machine for one test: tests that judge times hold it alone, the others share it.
#[must_use]
pub fn machine(alone: bool) -> File {
    let lock = lock_file("machine.lock");
    let taken = if alone { lock.lock() } else { lock.lock_shared() };
    taken.unwrap_or_else(|e| panic!("lock the machine: {e}"));
    lock
}

impl Place {
    /// Makes a new directory, after sweeping what killed runs left.
    #[must_use]
    pub fn new(kind: &str) -> Place {
        let sweeping = lock_file("sweep.lock");
        sweeping.lock().unwrap_or_else(|e| panic!("lock sweep.lock: {e}"));
        SWEPT.call_once(sweep);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = root().join(format!("run-{}-{number}-{kind}", std::process::id()));
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("create {}: {e}", dir.display()));
        open_to_all(&dir);
        let alive = File::create(dir.join("alive")).unwrap_or_else(|e| panic!("create alive: {e}"));
        alive.lock().unwrap_or_else(|e| panic!("lock alive: {e}"));
        Place { dir, _alive: alive }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Writes a file of the place and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        path
    }

    /// The last `lines` lines of a file of the place, empty if there is none.
    #[must_use]
    pub fn tail(&self, name: &str, lines: usize) -> String {
        let text = fs::read(self.dir.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            eprintln!("remove {}: {e}", self.dir.display());
        }
    }
}

fn sweep() {
    let entries = fs::read_dir(root()).unwrap_or_else(|e| panic!("read the testbed's root: {e}"));
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with("run-") {
            continue;
        }
        let owned = File::open(entry.path().join("alive")).is_ok_and(|alive| alive.try_lock().is_err());
        if !owned && let Err(e) = fs::remove_dir_all(entry.path()) {
            eprintln!("sweep {}: {e}", entry.path().display());
        }
    }
}

impl Port {
    /// Claims a port that nobody listens on.
    #[must_use]
    pub fn claim() -> Port {
        const FIRST: u32 = 20_000;
        const COUNT: u32 = 12_000; // up to 31,999: below Linux' default range for outgoing connections
        fs::create_dir_all(root().join("ports")).unwrap_or_else(|e| panic!("create ports: {e}"));
        let start = std::process::id().wrapping_mul(97);
        for step in 0..COUNT {
            let number = FIRST + (start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))) % COUNT;
            let number = u16::try_from(number).expect("below 32,000");
            let claim = lock_file(&format!("ports/{number}"));
            if claim.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Port { number, _claim: claim };
            }
            assert!(step < COUNT - 1, "no free port between {FIRST} and {}", FIRST + COUNT);
        }
        unreachable!("the loop returns or panics")
    }
}
