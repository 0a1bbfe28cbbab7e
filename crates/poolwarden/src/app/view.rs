//! The picture of the running process, put together from what the proxy tells: pure, so that it can be tested.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use poolwarden_config::{Class, Config, Server};
use poolwarden_pool::{ClassId, HostId, HostSnapshot, Limit, PoolSnapshot, ServerFacts, Time};
use poolwarden_proxy::{Activity, Address, LoopFigures, PeerFigures, ProcessFigures};
use poolwarden_switch::LoopReport;
use poolwarden_watch::{
    Cancels, CertificateView, ChangeView, ClassView, ConfigView, HostView, LoopView, PeerView, ProbeView, ProcessState,
    ProcessView, Uses, View,
};

use super::plan;
use super::said::Said;

mod activity;
mod named;
mod rows;
mod usage;

/// What was seen at one moment.
#[derive(Default)]
pub(super) struct Seen {
    /// The process's clock.
    pub(super) now: Time,
    /// The same moment, in milliseconds since 1970 UTC.
    pub(super) now_ms: u64,
    pub(super) started_at_ms: u64,
    pub(super) draining: bool,
    pub(super) said: Said,
    /// By id; a server that comes or goes just now may be missing.
    pub(super) hosts: BTreeMap<HostId, HostSeen>,
    pub(super) probes: Vec<ProbeView>,
    pub(super) changes: Vec<ChangeView>,
    pub(super) reports: Vec<LoopReport>,
    pub(super) loops: Vec<LoopFigures>,
    pub(super) figures: ProcessFigures,
    pub(super) peers: Vec<PeerFigures>,
    pub(super) counts: Counts,
}

/// What was seen of one server.
pub(super) struct HostSeen {
    pub(super) snapshot: HostSnapshot,
    pub(super) facts: Option<ServerFacts>,
    /// Why the watch connection is not there.
    pub(super) watch_error: Option<String>,
    /// What PostgreSQL told of its backends.
    pub(super) activity: Option<Arc<Activity>>,
}

/// What the application counts itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) open_fds: u64,
    pub(super) cpu_nanos: u64,
    pub(super) log_dropped: u64,
    pub(super) facts_dropped: u64,
    pub(super) reloads: u64,
    pub(super) reloads_failed: u64,
}

/// The configuration in force, and the one of the start: what needs a restart is still as it was then.
#[derive(Clone)]
pub(super) struct Configs {
    pub(super) now: Arc<Config>,
    pub(super) start: Arc<Config>,
}

/// The whole picture; averages are filled in by who keeps them.
pub(super) fn view(configs: &Configs, seen: &Seen) -> View {
    let config = &*configs.now;
    let settings = settings(configs);
    let mut process = process(seen);
    process.config_hash = hash(&settings);
    View {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at_ms: seen.started_at_ms,
        now_ms: seen.now_ms,
        state: state(seen),
        hosts: hosts(config, seen),
        traffic: rows::traffic(config, &seen.reports),
        recent_us: 0,
        clients: rows::clients(seen),
        servers: rows::servers(config, seen),
        pins: rows::pins(seen),
        waiters: usage::waiters(seen),
        usage: usage::usage(&seen.reports),
        probes: seen.probes.clone(),
        changes: seen.changes.clone(),
        session_state: rows::session_state(&seen.reports),
        databases: named::databases(config, seen),
        users: named::users(config, seen),
        classes: classes(config, seen),
        config: settings,
        loops: seen.loops.iter().map(event_loop).collect(),
        peers: seen.peers.iter().map(peer).collect(),
        process,
    }
}

/// By id. A class is shed on all servers alike; where they differ by a moment, until the last of them.
fn classes(config: &Config, seen: &Seen) -> Vec<ClassView> {
    let shed = |id| {
        let left = seen.hosts.values().flat_map(|host| &host.snapshot.shed).filter(|(class, _)| *class == id);
        left.map(|(_, left)| seen.now_ms + millis(*left)).max()
    };
    let class = |(id, name, of): (ClassId, &str, &Class)| ClassView {
        name: name.to_owned(),
        weight: of.weight,
        reserve: of.reserve,
        shed_until_ms: shed(id),
    };
    config.classes_by_id().map(class).collect()
}

fn state(seen: &Seen) -> ProcessState {
    if seen.draining {
        ProcessState::Draining
    } else if seen.said.is_suspended() {
        ProcessState::Suspended
    } else if seen.said.all_paused() {
        ProcessState::Paused
    } else {
        ProcessState::Active
    }
}

fn hosts(config: &Config, seen: &Seen) -> Vec<HostView> {
    let host = |server: &Server| {
        let told = seen.hosts.get(&server.id)?;
        let mut snapshot = told.snapshot.clone();
        snapshot.pools = together(std::mem::take(&mut snapshot.pools));
        Some(HostView {
            id: server.id,
            name: server.name.clone(),
            address: plan::shown_address(server),
            port: server.port,
            snapshot,
            facts: told.facts.clone(),
            activity: told.activity.as_deref().map(|told| activity::activity(seen, told)),
            watch_error: told.watch_error.clone(),
        })
    };
    config.servers.iter().filter_map(host).collect()
}

/// The pools of one client each as one row per user and database, behind all others.
fn together(pools: Vec<PoolSnapshot>) -> Vec<PoolSnapshot> {
    let (alone, mut shown): (Vec<_>, Vec<_>) = pools.into_iter().partition(|pool| pool.alone);
    for mut pool in alone {
        pool.key.database = replicating(&pool.key.database);
        match shown.iter_mut().find(|other| other.alone && other.key == pool.key) {
            Some(same) => same.add(&pool),
            None => shown.push(pool),
        }
    }
    shown
}

/// What a database is called where its replication connections are meant.
fn replicating(database: &str) -> String {
    format!("{database}/replication")
}

fn peer(of: &PeerFigures) -> PeerView {
    let (host, port) = match &of.address {
        Address::Tcp { host, port } => (host.clone(), *port),
        Address::Unix(path) => (path.parent().unwrap_or(path).display().to_string(), 0),
    };
    PeerView { id: of.id, host, port, active: of.active, waiting: of.waiting }
}

/// Under PgBouncer's configuration its own names and values, which its tools look for.
fn settings(configs: &Configs) -> Vec<ConfigView> {
    if let Some(process) = &configs.now.pgbouncer {
        let start = configs.start.pgbouncer.as_ref().map(|process| &process.settings);
        let setting = |of: &poolwarden_config::pgbouncer::Standing| ConfigView {
            key: of.key.to_owned(),
            value: {
                let kept = start.filter(|_| !of.changeable).and_then(|all| all.iter().find(|kept| kept.key == of.key));
                kept.unwrap_or(of).value.clone()
            },
            default: Some(of.default.to_owned()),
            changeable: of.changeable,
        };
        return process.settings.iter().map(setting).collect();
    }
    let start: BTreeMap<&str, &str> =
        configs.start.show().iter().map(|of| (of.key.as_str(), of.value.as_str())).collect();
    let setting = |of: &poolwarden_config::Shown| {
        let kept = start.get(of.key.as_str()).filter(|_| !of.live);
        ConfigView {
            key: of.key.clone(),
            value: kept.map_or_else(|| of.value.clone(), |value| (*value).to_owned()),
            default: (!of.default.is_empty()).then(|| of.default.clone()),
            changeable: of.live,
        }
    };
    configs.now.show().iter().map(setting).collect()
}

/// FNV-1a over keys and values: tells configurations apart, and is not a secret's fingerprint, for none is in there.
fn hash(settings: &[ConfigView]) -> String {
    let (offset, prime) = (0xcbf2_9ce4_8422_2325_u64, 0x0100_0000_01b3_u64); // FNV's constants for 64 bits
    let parts = settings.iter().flat_map(|of| [of.key.as_str(), "\0", of.value.as_str(), "\0"]);
    let hash = parts.flat_map(str::bytes).fold(offset, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(prime));
    format!("{hash:016x}")
}

fn event_loop(of: &LoopFigures) -> LoopView {
    LoopView {
        clients: of.clients,
        servers: of.servers,
        busy_ratio: of.busy_ratio,
        lag_us: of.lag_nanos / 1_000,
        moved: of.moved,
    }
}

fn process(seen: &Seen) -> ProcessView {
    let (figures, counts) = (&seen.figures, seen.counts);
    let mut refused_clients = [0; Limit::ALL.len()];
    for (limit, count) in &figures.refused {
        refused_clients[limit.index()] += count;
    }
    let uses = |used: u32, max: u32| Uses { used: u64::from(used), max: Some(u64::from(max)) };
    ProcessView {
        fds: Uses { used: counts.open_fds, max: Some(figures.max_fds) },
        clients: uses(figures.clients, figures.max_clients),
        logins: uses(figures.logins, figures.max_logins),
        memory_bytes: Uses { used: figures.memory, max: Some(figures.max_memory) },
        refused_clients,
        clients_opened: figures.opened_total,
        login: figures.login_took,
        cpu_nanos: counts.cpu_nanos,
        login_failures: figures.login_failures.to_vec(),
        scram_derivations: figures.scram_derivations,
        cancels: Cancels {
            forwarded: figures.cancels.forwarded,
            answered: 0,
            refused: figures.cancels.refused,
            dropped: figures.cancels.dropped,
        },
        log_dropped: counts.log_dropped,
        facts_dropped: counts.facts_dropped,
        reloads: counts.reloads,
        reloads_failed: counts.reloads_failed,
        certificates: figures.certificates.iter().map(certificate).collect(),
        config_hash: String::new(),
    }
}

fn certificate(of: &poolwarden_proxy::tls::Expiry) -> CertificateView {
    CertificateView { place: of.place, host: of.server.clone(), subject: of.subject.clone(), not_after: of.not_after }
}

impl Seen {
    /// A moment of the process's clock, in milliseconds since 1970 UTC.
    fn unix_ms(&self, nanos: u64) -> u64 {
        let ago = self.now.since(Time::from_nanos(nanos));
        self.now_ms.saturating_sub(millis(ago))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
