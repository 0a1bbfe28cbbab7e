//! The data directory: made once, beside its passwords; half-made ones are thrown away, never used.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::account::Account;
use super::binary::Binaries;

/// Role of the watch connection, a member of pg_monitor.
pub(super) const WATCH_USER: &str = "poolwarden_watch";
/// Kept in the socket's name only; nothing listens on TCP.
pub(super) const PORT: u16 = 5432;
/// Longest path of a unix socket on Linux, without its NUL.
const MAX_SOCKET_PATH: usize = 107;

/// Where everything of the embedded PostgreSQL lives.
pub(super) struct Cluster {
    dir: PathBuf,
    pub(super) account: Account,
}

/// Generated once, kept in files of mode 0600.
pub(super) struct Passwords {
    pub(super) app: String,
    pub(super) watch: String,
}

impl Cluster {
    /// Makes `dir` and the socket's directory.
    pub(super) fn new(dir: &Path, account: Account) -> anyhow::Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("cannot make the data directory {}", dir.display()))?;
        account.let_through(dir)?;
        let dir = dir.canonicalize().with_context(|| format!("cannot use the data directory {}", dir.display()))?;
        let cluster = Self { dir, account };
        let socket = cluster.socket();
        if socket.as_os_str().len() > MAX_SOCKET_PATH {
            bail!(
                "{} is too long for a unix socket ({MAX_SOCKET_PATH} bytes): use a shorter data directory",
                socket.display()
            );
        }
        cluster.private_dir(&cluster.socket_dir())?;
        Ok(cluster)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    pub(super) fn socket_dir(&self) -> PathBuf {
        self.dir.join("socket")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.socket_dir().join(format!(".s.PGSQL.{PORT}"))
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    /// Major version of what made the data; `None` where there is none yet.
    pub(super) fn version(&self) -> anyhow::Result<Option<u32>> {
        let file = self.data().join("PG_VERSION");
        if !self.data().exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        text.trim().parse().map(Some).with_context(|| format!("{} holds no version", file.display()))
    }

    /// Makes the data unless it is there; its passwords either way.
    pub(super) fn ensure(&self, binaries: &Binaries) -> anyhow::Result<Passwords> {
        if self.data().exists() {
            return Ok(Passwords { app: self.stored("app")?, watch: self.stored("watch")? });
        }
        let made = self.dir.join("postgres.new");
        if made.exists() {
            fs::remove_dir_all(&made).with_context(|| format!("cannot remove the half-made {}", made.display()))?;
        }
        self.private_dir(&made)?;
        let superuser = self.store("superuser")?;
        let passwords = Passwords { app: self.store("app")?, watch: self.store("watch")? };
        self.initdb(binaries, &made, &superuser)?;
        self.roles(binaries, &made, &passwords)?;
        // Only a whole cluster gets the name that is used.
        fs::rename(&made, self.data()).context("cannot put the new cluster in its place")?;
        Ok(passwords)
    }

    fn initdb(&self, binaries: &Binaries, data: &Path, password: &str) -> anyhow::Result<()> {
        // initdb reads it as the account; it stands in a directory only that account and we can enter.
        let file = self.socket_dir().join("initdb.password");
        write_private(&file, password)?;
        self.account.give(&file)?;
        let mut command = self.account.command(&binaries.initdb);
        command.arg("-D").arg(data).arg("--pwfile").arg(&file);
        command.args(["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C"]);
        let made = run("initdb", &mut command, &self.dir, "");
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        made
    }

    /// One statement a line, in a server without clients: nobody can come in between.
    fn roles(&self, binaries: &Binaries, data: &Path, passwords: &Passwords) -> anyhow::Result<()> {
        let mut command = self.account.command(&binaries.postgres);
        command.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(data).arg("postgres");
        let statements = format!(
            "CREATE ROLE app LOGIN PASSWORD '{}'\n\
             CREATE ROLE {WATCH_USER} LOGIN PASSWORD '{}' IN ROLE pg_monitor\n\
             CREATE DATABASE app OWNER app\n",
            passwords.app, passwords.watch
        );
        run("postgres --single", &mut command, &self.dir, &statements)
    }

    fn private_dir(&self, path: &Path) -> anyhow::Result<()> {
        if !path.exists() {
            let made = DirBuilder::new().mode(0o700).create(path);
            made.with_context(|| format!("cannot make {}", path.display()))?;
        }
        self.account.give(path)
    }

    fn password_file(&self, user: &str) -> PathBuf {
        self.dir.join(format!("{user}.password"))
    }

    fn stored(&self, user: &str) -> anyhow::Result<String> {
        let file = self.password_file(user);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Ok(text.trim_end().to_owned())
    }

    fn store(&self, user: &str) -> anyhow::Result<String> {
        let password = random_password()?;
        write_private(&self.password_file(user), &password)?;
        Ok(password)
    }
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    // A left-over would keep its own mode and owner.
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{text}"));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// 128 bits in hexadecimal: needs no quoting in SQL, URLs or shells.
fn random_password() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("no randomness")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs a command to its end with this input; its error output is the error. Input holds secrets and is never shown.
fn run(name: &str, command: &mut Command, directory: &Path, input: &str) -> anyhow::Result<()> {
    command.current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A child that ended early has said why on its error output.
        let written = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().with_context(|| format!("{name} was lost"))?;
        if output.status.success() {
            return written.with_context(|| format!("{name} did not read its input"));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.lines().filter(|line| !line.contains("PASSWORD '")).collect();
        bail!("{name} failed ({}): {}", output.status, said.join("\n"));
    }
    bail!("{name} has no input")
}
