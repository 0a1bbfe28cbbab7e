//! Where the configuration comes from: which file, its secrets, and the data directory where nothing says one.

use std::ffi::OsString;
use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use poolwarden_config::{Config, Finding, SecretRef, render};
use rustix::fs::Access;

pub(crate) const CANDIDATES: [&str; 2] = ["poolwarden.toml", "/etc/poolwarden/poolwarden.toml"];
/// Set by service managers: there nobody sees a banner, and a private PostgreSQL would hide a missing file.
const SERVICE_MANAGERS: [&str; 3] = ["INVOCATION_ID", "NOTIFY_SOCKET", "KUBERNETES_SERVICE_HOST"];
/// Far above any configuration, so that a wrong path (a device, a dump) ends soon.
pub(crate) const MAX_FILE_BYTES: u64 = 4 << 20;
/// A SCRAM secret is about 130 bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// What `run` without options starts from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    File(PathBuf),
    Embedded,
}

/// A configuration that was read, and remarks about it: ready to print, and one per line.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) remarks: String,
    pub(crate) lines: Vec<String>,
    /// What was read, by the names of the files: the first was asked for, the others it names. Passwords are not legible in it.
    pub(crate) texts: Vec<(String, String)>,
}

/// Why a file was refused: ready to print, and one fault per line for the log and the SQL console.
#[derive(Debug)]
pub(crate) struct Faults {
    rendered: String,
    pub(crate) lines: Vec<String>,
}

impl Faults {
    /// `findings` as they are rendered, and one a line.
    pub(crate) fn new(name: &str, findings: &str, lines: Vec<String>) -> Self {
        Self { rendered: format!("{name} is refused\n\n{}", findings.trim_end()), lines }
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.rendered)
    }
}

impl std::error::Error for Faults {}

/// `./poolwarden.toml`, then /etc; the embedded default only if neither exists and no service manager started us.
pub(crate) fn discover() -> anyhow::Result<Found> {
    choose(&CANDIDATES.map(PathBuf::from), |name| std::env::var_os(name))
}

fn choose(candidates: &[PathBuf], variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Found> {
    // A file that cannot be looked at exists: better its error than another configuration.
    if let Some(path) = candidates.iter().find(|path| path.try_exists().unwrap_or(true)) {
        return Ok(Found::File(path.clone()));
    }
    let Some(manager) = SERVICE_MANAGERS.into_iter().find(|name| variable(name).is_some()) else {
        return Ok(Found::Embedded);
    };
    let tried = candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" nor ");
    bail!(
        "no configuration: neither {tried} exists, and under a service manager ({manager} is set) no PostgreSQL is made up; write one of them or pass -c FILE"
    )
}

/// Reads a configuration file with its secrets; what it says wrong comes as [`Faults`].
pub(crate) fn load(path: &Path) -> anyhow::Result<Loaded> {
    parse(&path.display().to_string(), &read_text(path)?, path.parent().unwrap_or(Path::new(".")))
}

/// The text of a configuration file.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let bytes = read_bounded(path, MAX_FILE_BYTES).with_context(|| format!("cannot read {name}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow!("{name}:{line}: not UTF-8 text (byte {at}): save the file as UTF-8")
    })
}

/// The same of a text that is in no file yet; its secrets are looked for from `directory`.
pub(crate) fn parse(name: &str, text: &str, directory: &Path) -> anyhow::Result<Loaded> {
    parse_with(name, text, |wanted| resolve(directory, &wanted))
}

fn parse_with(
    name: &str,
    text: &str,
    resolve: impl FnMut(SecretRef) -> Result<String, String>,
) -> anyhow::Result<Loaded> {
    let texts = vec![(name.to_owned(), text.to_owned())];
    let (config, findings) = Config::parse(text, resolve);
    let rendered = render(name, text, &findings);
    let lines = findings.iter().map(|finding| one_line(name, finding)).collect();
    match config {
        Some(config) => Ok(Loaded { config, remarks: rendered, lines, texts }),
        None => Err(Faults::new(name, &rendered, lines).into()),
    }
}

/// A configuration that stands in no file: its text, and the secrets it names.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) text: String,
    /// By the names of the variables that stand for them.
    pub(crate) secrets: Vec<(String, String)>,
    /// Why there is no file, in words.
    pub(crate) why: &'static str,
}

impl Made {
    /// What the URL of a PostgreSQL says.
    pub(crate) fn of_url(url: &str) -> anyhow::Result<Self> {
        let (text, password) = Config::file_of_url(url).map_err(|why| anyhow!("--database: {why}"))?;
        let secrets = password.map(|password| ("url".to_owned(), password)).into_iter().collect();
        Ok(Self { text, secrets, why: "started with --database" })
    }

    /// Reads a text in place of its own.
    pub(crate) fn load(&self, text: &str) -> anyhow::Result<Loaded> {
        parse_with("the configuration", text, |wanted| {
            let SecretRef::Env(name) = &wanted else { return resolve(Path::new("."), &wanted) };
            let own = self.secrets.iter().find(|(of, _)| of == name);
            own.map_or_else(|| resolve(Path::new("."), &wanted), |(_, secret)| Ok(secret.clone()))
        })
    }
}

/// A finding on one line, for the log and the SQL console.
pub(crate) fn one_line(name: &str, finding: &Finding) -> String {
    let Finding { line, column, message, fix, .. } = finding;
    let fix = if fix.is_empty() { String::new() } else { format!("; {fix}") };
    format!("{name}:{line}:{column}: {message}{fix}")
}

/// Gets a secret from its file (relative to the configuration's directory) or its variable. Errors never hold it.
fn resolve(directory: &Path, wanted: &SecretRef) -> Result<String, String> {
    match wanted {
        SecretRef::File(path) => text(&directory.join(path), MAX_SECRET_BYTES),
        SecretRef::Text(path) => text(&directory.join(path), MAX_FILE_BYTES),
        SecretRef::Env(name) => match std::env::var(name) {
            Ok(value) => Ok(value),
            Err(std::env::VarError::NotPresent) => Err(format!("the environment variable {name} is not set")),
            Err(std::env::VarError::NotUnicode(_)) => Err(format!("the environment variable {name} is not UTF-8 text")),
        },
    }
}

fn text(path: &Path, most: u64) -> Result<String, String> {
    let bytes = read_bounded(path, most).map_err(|error| format!("{}: {error:#}", path.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", path.display()))
}

/// A file that is not larger than `most` bytes.
pub(crate) fn read_bounded(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        bail!("larger than {most} bytes");
    }
    Ok(bytes)
}

/// The service manager's state directory where it gives one; else /var/lib/poolwarden where it can be written (root may
/// create it), else poolwarden below the XDG state directory.
pub(crate) fn default_data_dir() -> anyhow::Result<PathBuf> {
    let given = std::env::var_os("STATE_DIRECTORY").and_then(|dirs| std::env::split_paths(&dirs).next());
    if let Some(given) = given.filter(|dir| dir.is_absolute()) {
        return Ok(given);
    }
    let system = PathBuf::from("/var/lib/poolwarden");
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&system);
    let usable = made.is_ok() && rustix::fs::access(&system, Access::WRITE_OK).is_ok();
    if usable {
        return Ok(system);
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state
        .map(|state| state.join("poolwarden"))
        .context("no data directory: /var/lib/poolwarden cannot be written, and neither XDG_STATE_HOME nor HOME is set")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn the_first_file_that_exists_is_taken_and_none_means_embedded_unless_managed() {
        let dir = directory();
        let candidates = [dir.path().join("near.toml"), dir.path().join("far.toml")];
        let nothing = |_: &str| None;
        assert_eq!(choose(&candidates, nothing).expect("no manager"), Found::Embedded);
        for manager in SERVICE_MANAGERS {
            let set = |name: &str| (name == manager).then(|| OsString::from("x"));
            let error = choose(&candidates, set).expect_err("managed").to_string();
            assert!(error.contains(manager) && error.contains("far.toml"), "{error}");
        }
        fs::write(&candidates[1], "").expect("a file");
        assert_eq!(choose(&candidates, nothing).expect("a file"), Found::File(candidates[1].clone()));
        fs::write(&candidates[0], "").expect("a file");
        assert_eq!(choose(&candidates, |_| Some(OsString::new())).expect("a file"), Found::File(candidates[0].clone()));
    }

    #[test]
    fn secrets_are_read_beside_the_file_and_faults_name_the_place() {
        let dir = directory();
        let path = dir.path().join("poolwarden.toml");
        let text = "[servers.main]\nhost = \"db\"\n[users.app]\nscram_file = \"app.secret\"\n";
        fs::write(&path, text).expect("a file");
        let error = load(&path).map(|_| ()).expect_err("no secret yet").to_string();
        assert!(error.contains("poolwarden.toml:4:14") && error.contains("app.secret"), "{error}");
        let error = load(&path).map(|_| ()).expect_err("no secret yet");
        let faults = &error.downcast_ref::<Faults>().expect("faults of the file").lines;
        assert!(faults.len() == 1 && faults[0].contains("poolwarden.toml:4:14: "), "{faults:?}");
        fs::write(dir.path().join("app.secret"), "hunter2\n").expect("a secret");
        let loaded = load(&path).expect("a good file");
        assert_eq!(loaded.config.secret("app").map(poolwarden_config::Secret::reveal), Some("hunter2"));
        assert_eq!(loaded.remarks, "");
    }

    #[test]
    fn files_that_are_no_text_or_too_large_are_refused() {
        let dir = directory();
        let path = dir.path().join("poolwarden.toml");
        fs::write(&path, b"[listen]\n# \xff\n").expect("a file");
        let error = load(&path).map(|_| ()).expect_err("not UTF-8").to_string();
        assert!(error.contains(":2: not UTF-8"), "{error}");
        let large = usize::try_from(MAX_FILE_BYTES).expect("fits") + 1;
        fs::write(&path, vec![b'#'; large]).expect("a file");
        assert!(format!("{:#}", load(&path).map(|_| ()).expect_err("too large")).contains("larger than"));
        assert!(load(dir.path()).is_err(), "a directory");
        assert!(load(&dir.path().join("missing.toml")).is_err());
    }
}
