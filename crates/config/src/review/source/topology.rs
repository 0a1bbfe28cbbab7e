//! `[topology]`: what the review cannot see elsewhere, as its owner declares it.

use super::draft::{Draft, app};
use super::keys::{Keys, Table, bound, limit, limit_or_off, number, ratio, text, time};
use crate::review::chain::{App, Library, Maybe};
use crate::review::place::Known;
use crate::walk::Named;

/// `[topology.postgres]` and `[topology.pooler]` of one file; its applications are in the dossier.
#[derive(Debug, Default)]
pub(super) struct Topology {
    /// Servers of the same file: their names there and their indices; empty: it is about the servers of the other files.
    pub(super) servers: Vec<(String, usize)>,
    /// Whether the same file configures a pooler.
    pub(super) has_pooler: bool,
    /// Which server it is about.
    pub(super) server: Maybe<String>,
    /// `max_connections`.
    pub(super) max_connections: Maybe<u64>,
    /// `superuser_reserved_connections`.
    pub(super) superuser_reserved: Maybe<u64>,
    /// `reserved_connections`.
    pub(super) reserved: Maybe<u64>,
    /// Backends of others.
    pub(super) others: Maybe<u64>,
    /// CPU cores.
    pub(super) cores: Maybe<u64>,
    /// Bytes of memory.
    pub(super) memory: Maybe<u64>,
    /// Instances of the pooler.
    pub(super) instances: Maybe<u64>,
}

impl Topology {
    /// Whether anything is said about PostgreSQL.
    pub(super) fn tells_of_postgres(&self) -> bool {
        let all =
            [&self.max_connections, &self.superuser_reserved, &self.reserved, &self.others, &self.cores, &self.memory];
        all.into_iter().any(Option::is_some)
    }
}

/// Reads it, with its applications.
pub(super) fn read(keys: &Keys<'_>, out: &mut Draft) -> Topology {
    for named in keys.names("topology.app") {
        let app = declared(keys, named);
        out.dossier.apps.push(app);
    }
    let postgres = Table::top("topology.postgres");
    let of = |key: &str| number(keys.written(&postgres, key));
    Topology {
        servers: Vec::new(),
        has_pooler: false,
        server: text(keys.written(&postgres, "server")),
        max_connections: of("max_connections"),
        superuser_reserved: of("superuser_reserved_connections"),
        reserved: of("reserved_connections"),
        others: of("others"),
        cores: of("cores"),
        memory: of("memory"),
        instances: number(keys.written(&Table::top("topology.pooler"), "instances")),
    }
}

/// One `[[topology.app]]`: what is not written is not known.
fn declared(keys: &Keys<'_>, named: &Named) -> App {
    let table = Table::item("topology.app", &named.name);
    let of = |key: &str| keys.written(&table, key);
    let name = text(of("name")).map_or_else(|| format!("app {}", named.name), |name| name.value);
    let pools = number(of("pools")).map_or_else(Vec::new, |known| {
        let one = |n: u64| Known { value: format!("pool {n}"), place: known.place.clone() };
        (1..=known.value).map(one).collect()
    });
    App {
        pool: text(of("pool")),
        user: text(of("user")),
        replicas: bound(of("replicas")),
        surge: ratio(of("surge")),
        processes: number(of("processes")),
        pools,
        threads: number(of("threads")),
        pool_size: bound(of("pool_size")),
        intended: number(of("connections")),
        max_idle: number(of("max_idle")),
        per_unit: number(of("connections_per_unit")),
        request_timeout: limit_or_off(of("request_timeout")),
        acquire_timeout: limit_or_off(of("acquire_timeout")),
        query_timeout: limit_or_off(of("query_timeout")),
        lifetime: limit_or_off(of("lifetime")),
        idle_timeout: limit_or_off(of("idle_timeout")),
        keepalive: limit(of("keepalive")),
        peak_rate: ratio(of("peak_rate")),
        hold: time(of("hold")),
        ..app(name, Library::Declared, keys.file, named.span.clone())
    }
}
