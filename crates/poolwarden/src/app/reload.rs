//! What was loaded made ready to be put in force, as a whole or not at all, and what the log says of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use poolwarden_config::{Change, Config};
use poolwarden_pool::{HostId, HostSnapshot};
use poolwarden_proxy::{Proxy, Reload};
use poolwarden_watch::{Field, FieldValue, Level, LogLine};

use super::certificates::Certificates;
use super::edit::Edit;
use super::plan;
use super::running::{Origin, Running};
use crate::{discover, pgbouncer};

/// More changes than this at once are summed up: the file itself says it better.
const MAX_CHANGES: usize = 50;

/// Why nothing was changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// One line per fault, the first one most worth reading.
    faults: Vec<String>,
}

impl Refused {
    /// What is wrong, and what to do instead.
    pub(super) fn with_fix((fault, fix): (String, String)) -> Self {
        Self { faults: vec![fault, fix] }
    }

    pub(super) fn one(fault: impl Into<String>) -> Self {
        Self { faults: vec![fault.into()] }
    }

    /// One fault a line, the first one most worth reading; not empty.
    pub(super) fn all(faults: Vec<String>) -> Self {
        Self { faults }
    }

    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// A message and, where there is more to say, the rest as a hint.
    pub(super) fn told(&self) -> (String, Option<String>) {
        let Some((first, rest)) = self.faults.split_first() else {
            return ("nothing was changed".to_owned(), None);
        };
        (format!("nothing was changed: {first}"), (!rest.is_empty()).then(|| rest.join("\n")))
    }
}

/// What a reload reads.
#[derive(Debug)]
pub(super) enum Written {
    Toml(PathBuf),
    Ini(PathBuf),
}

impl Written {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Toml(path) | Self::Ini(path) => path,
        }
    }

    /// Where paths of the file start.
    pub(super) fn directory(&self) -> &Path {
        match self {
            Self::Toml(path) => path.parent().unwrap_or(Path::new(".")),
            Self::Ini(_) => Path::new("."), // PgBouncer's paths start where the process does
        }
    }
}

pub(super) fn file(origin: &Origin, now: &Config) -> Result<Written, Refused> {
    match (origin, &now.pgbouncer) {
        (Origin::File(path), _) => Ok(Written::Toml(path.clone())),
        (Origin::Ini, Some(process)) => Ok(Written::Ini(PathBuf::from(&process.conffile))),
        (Origin::Ini, None) => Err(Refused::one("the configuration in force does not say which ini it is of")),
        (Origin::Made(made), _) => Err(Refused::one(format!("there is no file to read again: {}", made.why))),
    }
}

pub(super) fn load(file: &Written, edits: &[Edit]) -> anyhow::Result<discover::Loaded> {
    match file {
        Written::Toml(path) => discover::load(path),
        Written::Ini(path) => {
            let set: Vec<_> = edits.iter().map(|edit| (edit.key.clone(), edit.value.clone())).collect();
            pgbouncer::load(path, &set)
        }
    }
}

/// What was read, ready to be put in force.
pub(super) struct Read {
    pub(super) config: Arc<Config>,
    pub(super) reload: Reload,
    pub(super) remarks: Vec<String>,
    pub(super) texts: Vec<(String, String)>,
}

/// What was loaded, ready to be put in force: its certificates read, its servers and classes known by the numbers they run under.
pub(super) fn prepare(
    loaded: anyhow::Result<discover::Loaded>,
    directory: &Path,
    now: &Config,
    seed: &plan::Seed,
) -> Result<Read, Refused> {
    let mut loaded = loaded.map_err(|error| match error.downcast_ref::<discover::Faults>() {
        Some(faults) => Refused { faults: faults.lines.clone() },
        None => Refused::one(format!("{error:#}")),
    })?;
    loaded.config.keep_server_ids(now).map_err(|count| {
        Refused::one(format!(
            "{count} servers have come and gone since the start, and there are numbers for {}; restart poolwarden to put it in force",
            HostId::MOST
        ))
    })?;
    loaded.config.keep_class_ids(now);
    let certificates = Certificates::load(&loaded.config, directory);
    let mut reload = plan::reload(&loaded.config, seed);
    certificates.map_err(|faults| Refused { faults })?.put(&mut reload.tls, &mut reload.hosts);
    Ok(Read { config: Arc::new(loaded.config), reload, remarks: loaded.lines, texts: loaded.texts })
}

/// What the cores of a configuration's servers know now; of those only that run.
pub(super) fn snapshots(proxy: &Proxy, config: &Config) -> BTreeMap<HostId, HostSnapshot> {
    plan::host_ids(config).filter_map(|id| Some((id, proxy.host(id)?.0))).collect()
}

/// What a change that cannot be live comes to.
pub(super) fn waits(change: &Change) -> String {
    format!(
        "{} waits for a restart: {} stays in force, the file says {}",
        change.key,
        shown(&change.from),
        shown(&change.to)
    )
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "nothing" } else { value }
}

/// Says in the log what changed.
pub(super) fn log(running: &Running, by: &str, changes: &[Change], remarks: &[String], notices: &[String]) {
    let settings = if changes.len() == 1 { "setting" } else { "settings" };
    let message = format!("{by}: configuration reloaded, {} {settings} changed", changes.len());
    let count = Field { name: "changes", value: FieldValue::Number(changes.len() as u64) };
    running.log.write(LogLine { level: Level::Info, event: "reloaded", message, fields: vec![count] });
    for change in changes.iter().take(MAX_CHANGES) {
        let message = format!("{} was {} and is {}", change.key, shown(&change.from), shown(&change.to));
        let text = |name, value: &str| Field { name, value: FieldValue::Text(value.to_owned()) };
        let fields = vec![text("key", &change.key), text("from", &change.from), text("to", &change.to)];
        running.log.write(LogLine { level: Level::Info, event: "changed", message, fields });
    }
    if changes.len() > MAX_CHANGES {
        running.log.say(Level::Info, "changed", format!("and {} more", changes.len() - MAX_CHANGES));
    }
    for line in remarks.iter().chain(notices) {
        running.log.say(Level::Warn, "reloaded", line.clone());
    }
}

#[cfg(test)]
mod tests {
    use poolwarden_config::diff;

    use super::*;

    fn config(servers: &str) -> Config {
        let (config, _) = Config::parse(servers, |_| Err("no secrets here".to_owned()));
        config.unwrap()
    }

    #[test]
    fn a_refusal_tells_its_first_fault_and_hints_at_the_rest() {
        let refused = Refused { faults: vec!["x".to_owned(), "y".to_owned(), "z".to_owned()] };
        assert_eq!(refused.told(), ("nothing was changed: x".to_owned(), Some("y\nz".to_owned())));
        assert_eq!(Refused::one("x").told(), ("nothing was changed: x".to_owned(), None));
    }

    #[test]
    fn what_waits_for_a_restart_says_both_values() {
        let old = config("[servers.a]\nhost = \"a\"\n");
        let new = config("[servers.a]\nhost = \"a\"\n[listen]\nhttp = \"off\"\n[limits]\nmax_clients = 7\n");
        let lines: Vec<_> = diff(&old, &new).iter().filter(|change| !change.live).map(waits).collect();
        assert_eq!(lines, ["listen.http waits for a restart: 127.0.0.1:9432 stays in force, the file says off"]);
    }
}
