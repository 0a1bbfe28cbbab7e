//! A reload: the file as a whole, or nothing. It answers with what was raised in vain and what waits for a restart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use poolwarden_config::{Change, Config, diff};
use poolwarden_pool::{HostId, HostSnapshot};
use poolwarden_proxy::{Proxy, Reload};
use poolwarden_watch::{Field, FieldValue, Level, LogLine, raised_in_vain};

use super::certificates::Certificates;
use super::edit::Edit;
use super::log::unix_ms;
use super::plan;
use super::running::{Origin, Running, held};
use super::servers;
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

    /// A message and, where there is more to say, the rest as a hint.
    pub(super) fn told(&self) -> (String, Option<String>) {
        let Some((first, rest)) = self.faults.split_first() else {
            return ("nothing was changed".to_owned(), None);
        };
        (format!("nothing was changed: {first}"), (!rest.is_empty()).then(|| rest.join("\n")))
    }
}

/// Reads the file again and puts it in force; `by` is for the log.
pub(super) async fn reload(running: &Arc<Running>, by: &str) -> Result<Vec<String>, Refused> {
    let _alone = running.reloading.lock().await;
    let done = attempt(running, by, Vec::new()).await;
    running.reviews.reloaded(done.is_ok());
    count(running, by, &done);
    done
}

/// Puts one setting in force until the next reload, if it is one that can change while it runs.
pub(super) async fn set(running: &Arc<Running>, edit: Edit) -> Result<Vec<String>, Refused> {
    let _alone = running.reloading.lock().await;
    let mut edits = held(&running.edits).clone();
    edits.retain(|earlier| earlier.key != edit.key);
    edits.push(edit);
    let done = attempt(running, "SET", edits).await;
    running.reviews.due();
    count(running, "SET", &done);
    done
}

fn count(running: &Running, by: &str, done: &Result<Vec<String>, Refused>) {
    if let Err(refused) = done {
        running.reloads_failed.fetch_add(1, Ordering::Relaxed);
        running.log.say(
            Level::Error,
            "reload_refused",
            format!("{by}: the configuration is refused, nothing was changed"),
        );
        for fault in &refused.faults {
            running.log.say(Level::Error, "reload_refused", fault.clone());
        }
    }
}

async fn attempt(running: &Arc<Running>, by: &str, edits: Vec<Edit>) -> Result<Vec<String>, Refused> {
    let proxy = running.proxy().ok_or_else(|| Refused::one("poolwarden is starting"))?;
    let (seed, configs) = (running.seed, running.configs());
    let file = file(&running.origin, &configs.now)?;
    // Reading files and salting passwords takes a while and belongs on no worker of the runtime.
    let (set, now) = (edits.clone(), Arc::clone(&configs.now));
    let read = tokio::task::spawn_blocking(move || read(&file, &set, &now, &seed)).await;
    let read = read.map_err(|_| Refused::one("reading the configuration ended early"))?;
    let Read { config, reload, remarks, texts } = read?;
    let changes = diff(&configs.now, &config);
    if let Some(change) = changes.iter().find(|change| !edits.is_empty() && !change.live) {
        return Err(Refused::one(waits(change)));
    }
    let waiting = diff(&configs.start, &config).into_iter().filter(|change| !change.live).map(|change| waits(&change));
    let mut notices: Vec<String> = waiting.collect();
    let before = snapshots(proxy, &configs.now);
    proxy.reload(reload);
    let after = snapshots(proxy, &config);
    running.obey(Arc::clone(&config));
    servers::arrived(proxy, &configs.now, &config, &held(&running.said).clone(), &before);
    running.reviews.obey(texts);
    running.changes.note(unix_ms(), if edits.is_empty() { "reload" } else { "set" }, &changes);
    *held(&running.edits) = edits;
    running.reloads.fetch_add(1, Ordering::Relaxed);
    for server in &config.servers {
        if let (Some(before), Some(after)) = (before.get(&server.id), after.get(&server.id)) {
            notices.extend(raised_in_vain(&server.name, before, after));
        }
    }
    log(running, by, &changes, &remarks, &notices);
    Ok(notices)
}

/// What a reload reads.
#[derive(Debug)]
pub(super) enum Written {
    Toml(PathBuf),
    Ini(PathBuf),
}

impl Written {
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
        (Origin::Fixed(why), _) => Err(Refused::one(*why)),
    }
}

pub(super) fn load(file: &Written, edits: &[Edit]) -> anyhow::Result<discover::Loaded> {
    match file {
        Written::Toml(path) => discover::load(path, edits),
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

fn read(file: &Written, edits: &[Edit], now: &Config, seed: &plan::Seed) -> Result<Read, Refused> {
    prepare(load(file, edits), file.directory(), now, seed)
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

fn waits(change: &Change) -> String {
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

fn log(running: &Running, by: &str, changes: &[Change], remarks: &[String], notices: &[String]) {
    let message = format!("{by}: configuration reloaded, {} settings changed", changes.len());
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
