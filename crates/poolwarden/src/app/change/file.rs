//! The file and what runs: whether they say the same, and the file written when a change came through here.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use poolwarden_config::{Config, diff};
use poolwarden_console::standing::Drift;

use super::super::reload::Written;
use super::wanted::Basis;
use crate::{discover, pgbouncer, whole};

/// Settings that a drift names; the rest is counted.
const MAX_KEYS: usize = 3;

/// What tells that a file is another one than before without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Mark {
    /// `None`: it is not there, or cannot be looked at.
    pub(super) fn of(file: &Written) -> Option<Self> {
        let found = std::fs::metadata(file.path()).ok()?;
        Some(Self { inode: found.ino(), length: found.len(), changed: (found.ctime(), found.ctime_nsec()) })
    }
}

/// The text of the file: of a pgbouncer.ini with all it includes, and without passwords.
pub(super) fn text(file: &Written) -> anyhow::Result<Arc<str>> {
    Ok(match file {
        Written::Toml(path) => discover::read_text(path)?.into(),
        Written::Ini(path) => {
            let sources = pgbouncer::read(path, &[])?.sources;
            sources.iter().map(|source| source.text.as_str()).collect::<Vec<_>>().join("\n").into()
        }
    })
}

/// Writes what is in force into the file, unless somebody else has changed that since it was read.
pub(super) fn write(file: &Written, known: &str, text: &str) -> Result<(), String> {
    let told = |why: anyhow::Error| format!("{}: {why:#}", file.path().display());
    match file {
        Written::Toml(path) => whole::replace(path, known, text).map_err(told),
        Written::Ini(path) => Err(format!("{}: an ini is not written here", path.display())),
    }
}

/// How the file differs from what is in force; `known`: its text when it was last read or written here.
pub(super) fn drift(file: &Written, known: &str, now: &Basis, config: &Config, since_ms: u64) -> Option<Drift> {
    let name = file.path().display();
    let why = match text(file) {
        Ok(text) if text == now.text && now.edits.is_empty() => return None,
        Ok(text) => {
            let edited = *text != *known;
            match (edited, apart(file, config)) {
                (false, Ok(keys)) => format!("{name} does not say what runs: {keys}; a restart undoes it"),
                (true, Ok(keys)) => format!(
                    "{name} has changed since it was read: {keys}; see poolwarden plan {name}, put it in force with poolwarden apply"
                ),
                (_, Err(why)) => format!("{name} is broken, a restart would fail: {why}; poolwarden check {name}"),
            }
        }
        Err(why) => format!("{name} cannot be read, a restart would fail: {why:#}"),
    };
    Some(Drift { since_ms, why })
}

/// What the file says and what runs: `pools.app.size is 40 and 20 there`.
fn apart(file: &Written, config: &Config) -> Result<String, String> {
    let loaded = match file {
        Written::Toml(path) => discover::load(path),
        Written::Ini(path) => pgbouncer::load(path, &[]),
    };
    let there = loaded.map_err(|why| first_line(&why))?.config;
    let changes = diff(&there, config);
    let shown = |value: &str| if value.is_empty() { "not set".to_owned() } else { value.to_owned() };
    let mut keys: Vec<String> = changes
        .iter()
        .take(MAX_KEYS)
        .map(|change| format!("{} is {} and {} there", change.key, shown(&change.to), shown(&change.from)))
        .collect();
    if changes.len() > MAX_KEYS {
        keys.push(format!("{} more", changes.len() - MAX_KEYS));
    }
    Ok(if keys.is_empty() { "other words for the same settings".to_owned() } else { keys.join(", ") })
}

fn first_line(why: &anyhow::Error) -> String {
    match why.downcast_ref::<discover::Faults>().and_then(|faults| faults.lines.first()) {
        Some(line) => line.clone(),
        None => format!("{why:#}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    const TEXT: &str = "[servers.main]\nhost = \"db\"\n[pools.app]\nserver = \"main\"\nsize = 20\n";

    fn file(dir: &Path, text: &str) -> (Written, PathBuf) {
        let path = dir.join("poolwarden.toml");
        fs::write(&path, text).unwrap();
        (Written::Toml(path.clone()), path)
    }

    fn config(text: &str) -> Config {
        Config::parse(text, |_| Err("no secrets here".to_owned())).0.unwrap()
    }

    #[test]
    fn a_file_that_says_what_runs_does_not_drift_and_each_way_to_differ_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (written, path) = file(dir.path(), TEXT);
        let larger = TEXT.replace("20", "40");
        let drift = |known: &str, now: &str| {
            let basis = Basis { text: now.into(), edits: Vec::new() };
            drift(&written, known, &basis, &config(now), 7).map(|drift| drift.why)
        };
        assert_eq!(drift(TEXT, TEXT), None);
        let unwritten = drift(TEXT, &larger).unwrap();
        assert!(unwritten.contains("pools.app.size is 40 and 20 there; a restart undoes it"), "{unwritten}");
        let edited = drift(&larger, &larger).unwrap();
        assert!(edited.contains("has changed since it was read: pools.app.size is 40 and 20 there"), "{edited}");
        fs::write(&path, "[pools").unwrap();
        assert!(drift(TEXT, TEXT).unwrap().contains("is broken, a restart would fail"));
        fs::remove_file(&path).unwrap();
        assert!(drift(TEXT, TEXT).unwrap().contains("cannot be read, a restart would fail"));
    }

    #[test]
    fn what_somebody_else_changed_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let (written, path) = file(dir.path(), "theirs");
        assert!(write(&written, "ours", "new").unwrap_err().contains("has changed since it was read"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        let before = Mark::of(&written);
        assert_eq!(write(&written, "theirs", "new"), Ok(()));
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_ne!(Mark::of(&written), before);
    }
}
