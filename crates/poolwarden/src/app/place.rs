//! The data directory: one process at a time, its seed, its token, and the file by which verbs and tests find it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use poolwarden_config::Config;

use super::json;
use crate::discover;

/// Bytes of the seed; the token has as many, written as hexadecimal digits.
const SECRET_BYTES: usize = 32;

/// The data directory of this process, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    /// Held, never read: another process cannot take it meanwhile.
    _lock: File,
}

/// Where a process listens.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) postgres: Vec<SocketAddr>,
    pub(super) unix: Option<PathBuf>,
    pub(super) http: Option<SocketAddr>,
    pub(super) metrics: Option<SocketAddr>,
}

/// The data directory: the configuration's, or the usual one. PgBouncer's files name none and several may run on one
/// machine, so each gets a place of its own below the usual one, or below the temporary directory where that is closed.
pub(super) fn directory(config: &Config) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &config.poolwarden.data_dir {
        return Ok(dir.into());
    }
    let usual = discover::default_data_dir();
    let Some(process) = &config.pgbouncer else { return usual };
    // FNV-1a, to tell files apart: nobody gains anything by making two names alike.
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = process.conffile.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    let name = format!("pgbouncer-{hash:016x}");
    let usable = |dir: &PathBuf| DirBuilder::new().recursive(true).mode(0o700).create(dir.join(&name)).is_ok();
    if let Some(dir) = usual.ok().filter(usable) {
        return Ok(dir.join(name));
    }
    let user = rustix::process::geteuid().as_raw();
    let dir = std::env::temp_dir().join(format!("poolwarden-{user}")).join(name);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    let parent = dir.parent().unwrap_or(&dir);
    let found = fs::symlink_metadata(parent).with_context(|| format!("cannot look at {}", parent.display()))?;
    if found.uid() != user || found.mode() & 0o077 != 0 || !found.is_dir() {
        bail!("{} belongs to somebody else: remove it, or let HOME name a directory of yours", parent.display());
    }
    Ok(dir)
}

impl Place {
    /// Makes the directory (0700) unless it is there, and takes it for this process.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Self> {
        let say = || format!("data directory {}: set poolwarden.data_dir to one that can be written", dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(say)?;
        let path = dir.join("lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = opened.with_context(say)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "data directory {}: another poolwarden runs with it; stop that one, or set poolwarden.data_dir to another",
                dir.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(say),
        }
        let place = Self { dir: dir.to_owned(), _lock: lock };
        place.withdraw()?;
        Ok(place)
    }

    /// The directory itself.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the unix socket is unless the configuration says: here. `None` where its path would be too long.
    pub(super) fn socket_dir(&self) -> Option<PathBuf> {
        const LONGEST: usize = 107; // a unix socket's path on Linux, without its NUL
        let length = self.dir.join(".s.PGSQL.65535").as_os_str().len();
        (length <= LONGEST).then(|| self.dir.clone())
    }

    /// A secret that stays over restarts. From it unknown users get salts that look like those of known ones.
    pub(super) fn seed(&self) -> anyhow::Result<[u8; SECRET_BYTES]> {
        let path = self.dir.join("seed");
        match fs::read(&path) {
            Ok(bytes) => bytes.try_into().ok().with_context(|| {
                format!("{} does not hold {SECRET_BYTES} bytes: remove it, and a new one is made", path.display())
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let seed = random()?;
                self.put("seed", &seed)?;
                Ok(seed)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes a new operate token: who can read it may operate this process.
    pub(super) fn token(&self) -> anyhow::Result<String> {
        let digits: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
        self.put("token", format!("{digits}\n").as_bytes())?;
        Ok(digits)
    }

    /// Says where this process listens; called when it does.
    pub(super) fn announce(&self, addresses: &Addresses) -> anyhow::Result<()> {
        self.put("listening.json", announcement(addresses).as_bytes())
    }

    /// Takes the announcement back, its own or that of a process that was killed.
    pub(super) fn withdraw(&self) -> anyhow::Result<()> {
        let path = self.dir.join("listening.json");
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// Whole or not at all, and for our eyes only.
    fn put(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let (path, new) = (self.dir.join(name), self.dir.join(format!("{name}.new")));
        let written = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }
}

fn random() -> anyhow::Result<[u8; SECRET_BYTES]> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(bytes)
}

fn announcement(addresses: &Addresses) -> String {
    let text = |value: Option<String>| value.map_or("null".to_owned(), |value| json::quote(&value));
    let address = |value: Option<SocketAddr>| text(value.map(|address| address.to_string()));
    let postgres: Vec<String> = addresses.postgres.iter().map(|of| json::quote(&of.to_string())).collect();
    format!(
        "{{\"schema\":1,\"pid\":{},\"postgres\":[{}],\"unix\":{},\"http\":{},\"metrics\":{}}}\n",
        std::process::id(),
        postgres.join(","),
        text(addresses.unix.as_ref().map(|path| path.display().to_string())),
        address(addresses.http),
        address(addresses.metrics),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_directory_and_its_secrets_are_private_and_the_seed_stays() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new");
        let place = Place::open(&dir).unwrap();
        let seed = place.seed().unwrap();
        let given = place.token().unwrap();
        let token = fs::read_to_string(dir.join("token")).unwrap();
        assert_eq!((token.trim().len(), token.trim()), (64, given.as_str()));
        assert_eq!([dir.clone(), dir.join("seed"), dir.join("token")].map(|path| mode(&path)), [0o700, 0o600, 0o600]);
        drop(place);
        let again = Place::open(&dir).unwrap();
        assert_eq!(again.seed().unwrap(), seed);
        again.token().unwrap();
        assert_ne!(fs::read_to_string(dir.join("token")).unwrap(), token);
        fs::write(dir.join("seed"), "short").unwrap();
        assert!(again.seed().unwrap_err().to_string().contains("remove it"));
    }

    #[test]
    fn a_directory_belongs_to_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Place::open(dir.path()).unwrap();
        assert!(Place::open(dir.path()).unwrap_err().to_string().contains("another poolwarden"));
        drop(first);
        Place::open(dir.path()).unwrap();
    }

    #[test]
    fn an_announcement_says_what_there_is_and_is_withdrawn() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::open(dir.path()).unwrap();
        let postgres = vec!["127.0.0.1:41234".parse().unwrap(), "[::1]:41234".parse().unwrap()];
        let unix = Some(PathBuf::from("/run/a \"b\"/.s.PGSQL.41234"));
        place.announce(&Addresses { postgres, unix, http: None, metrics: None }).unwrap();
        let path = dir.path().join("listening.json");
        let expected = format!(
            "{{\"schema\":1,\"pid\":{},\"postgres\":[\"127.0.0.1:41234\",\"[::1]:41234\"],\
             \"unix\":\"/run/a \\\"b\\\"/.s.PGSQL.41234\",\"http\":null,\"metrics\":null}}\n",
            std::process::id()
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        place.withdraw().unwrap();
        assert!(!path.exists());
        place.withdraw().unwrap();
    }
}
