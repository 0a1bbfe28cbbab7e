//! The parts put together: what the topology and running processes tell goes to the servers, poolers and applications it is about.
//!
//! What a running PostgreSQL tells holds over what is declared; an application's own file holds over `[[topology.app]]`.

use super::draft::Draft;
use super::last;
use super::topology::Topology;
use super::url::environment;
use crate::finding::Severity;
use crate::review::chain::{App, Bound, Kind, Library, Maybe, Postgres};
use crate::review::dossier::Facts;
use crate::review::place::{Known, Place};

/// A host budget that is `auto` while PostgreSQL's numbers are not known; the pool's own number.
pub(super) const UNKNOWN_BUDGET: u64 = 50;
/// Slots that such a budget leaves free; the pool's own number.
const KEPT_FREE: u64 = 2;

/// Does all of it.
pub(super) fn assemble(out: &mut Draft) {
    declare(out);
    tell(out);
    environment(out);
    merge(out);
    budgets(out);
}

/// `[topology]`: those of files with servers of their own first, the others fill what is left.
fn declare(out: &mut Draft) {
    let mut topologies = std::mem::take(&mut out.topologies);
    topologies.sort_by_key(|topology| topology.servers.is_empty());
    for topology in &topologies {
        if topology.tells_of_postgres() {
            declare_postgres(out, topology);
        }
        if let Some(instances) = topology.instances.as_ref().filter(|_| !topology.has_pooler) {
            for pooler in &mut out.dossier.poolers {
                if pooler.kind == Kind::PgBouncer || !pooler.instances.is_given() {
                    pooler.instances = instances.clone();
                }
            }
        }
    }
}

fn declare_postgres(out: &mut Draft, topology: &Topology) {
    if topology.servers.is_empty() && out.dossier.postgres.is_empty() {
        let name = topology.server.as_ref().map_or("postgres", |known| &known.value).to_owned();
        out.dossier.postgres.push(Postgres { name, ..Postgres::default() });
    }
    let own: Vec<usize> = topology.servers.iter().map(|(_, index)| *index).collect();
    let mut found = false;
    for (index, server) in out.dossier.postgres.iter_mut().enumerate() {
        let named = topology.servers.iter().find(|(_, of)| *of == index).map(|(name, _)| name);
        let meant =
            topology.server.as_ref().is_none_or(|known| named == Some(&known.value) || is_called(server, &known.value));
        if !meant || !(own.is_empty() || own.contains(&index)) {
            continue;
        }
        found = true;
        let fill = |there: &mut Maybe<u64>, told: &Maybe<u64>| {
            if there.is_none() {
                there.clone_from(told);
            }
        };
        fill(&mut server.max_connections, &topology.max_connections);
        fill(&mut server.superuser_reserved, &topology.superuser_reserved);
        fill(&mut server.reserved, &topology.reserved);
        fill(&mut server.others, &topology.others);
        fill(&mut server.cores, &topology.cores);
        fill(&mut server.memory, &topology.memory);
    }
    if let Some(server) = topology.server.as_ref().filter(|_| !found) {
        let names: Vec<&str> = out.dossier.postgres.iter().map(|server| server.name.as_str()).collect();
        let fix = format!("name one of {}", names.join(", "));
        let message = format!("topology.postgres.server: there is no server `{}`", server.value);
        out.say(Severity::Error, server.place.clone(), message, fix);
    }
}

/// Whether a server is meant by a name: its own, its host, or host and port.
fn is_called(server: &Postgres, name: &str) -> bool {
    let address = server.address.as_ref();
    server.name == name || address.is_some_and(|(host, port)| host == name || format!("{host}:{port}") == name)
}

/// Facts about PostgreSQL go to their server.
fn tell(out: &mut Draft) {
    for (source, facts) in out.dossier.facts.clone().iter().enumerate() {
        if !facts.facts.keys().any(|key| key.starts_with("pg.")) {
            continue;
        }
        if out.dossier.postgres.is_empty() {
            let name = facts.facts.get("pg.address").map_or("postgres", String::as_str).to_owned();
            out.dossier.postgres.push(Postgres { name, ..Postgres::default() });
        }
        let Some(server) = about(&out.dossier.postgres, facts) else {
            let place = Place::Told { source, key: "pg.address".to_owned() };
            let message = format!("{}: of which PostgreSQL these facts are, is not told", facts.name);
            out.say(Severity::Warning, place, message, "write pg.address = host:port".to_owned());
            continue;
        };
        for (key, value) in facts.facts.iter() {
            if let Some(rest) = key.strip_prefix("pg.") {
                let known = Known { value: value.clone(), place: Place::Told { source, key: key.clone() } };
                fact(&mut out.dossier.postgres[server], rest, known);
            }
        }
    }
}

/// The server that facts are about: the one they name, the one in their source's address or name, or the only one.
fn about(servers: &[Postgres], facts: &Facts) -> Option<usize> {
    if let Some(address) = facts.facts.get("pg.address") {
        return servers.iter().position(|server| is_called(server, address)).or((servers.len() == 1).then_some(0));
    }
    if servers.len() == 1 {
        return Some(0);
    }
    let stem = last(&facts.name).split('.').next().unwrap_or_default();
    let at = facts.name.split_once("://").map(|(_, rest)| rest.split(['/', '?']).next().unwrap_or(rest));
    let host = at.map(|at| at.rsplit('@').next().unwrap_or(at));
    servers.iter().position(|server| is_called(server, stem) || host.is_some_and(|host| is_called(server, host)))
}

/// One fact, `pg.` left out.
fn fact(server: &mut Postgres, key: &str, known: Known<String>) {
    let number = || known.value.parse().ok().map(|value| Known { value, place: known.place.clone() });
    if let Some(name) = key.strip_prefix("setting.") {
        let named = match name {
            "max_connections" => Some(&mut server.max_connections),
            "superuser_reserved_connections" => Some(&mut server.superuser_reserved),
            "reserved_connections" => Some(&mut server.reserved),
            _ => None,
        };
        if let Some(there) = named {
            newer(there, number());
        }
        server.settings.insert(name.to_owned(), known);
    } else if let Some(name) = key.strip_prefix("pending_restart.") {
        if ["true", "on", "1", "t", "yes"].contains(&known.value.as_str()) {
            server.pending_restart.push(Known { value: name.to_owned(), place: known.place });
        }
    } else if let Some(rest) = key.strip_prefix("role.") {
        role(server, rest, known);
    } else if let Some(name) = key.strip_prefix("database.").and_then(|rest| rest.strip_suffix(".connection_limit")) {
        if let Ok(value) = known.value.parse() {
            server.databases.insert(name.to_owned(), Known { value, place: known.place });
        }
    } else {
        match key {
            // What is declared is the most there can be, what is told is there now: the larger counts.
            "backends.others" => {
                let declared = server.others.as_ref().map(|known| known.value);
                newer(&mut server.others, number().filter(|told| declared.is_none_or(|most| told.value > most)));
            }
            "cores" => newer(&mut server.cores, number()),
            "memory" => newer(&mut server.memory, number()),
            _ => {}
        }
    }
}

/// `NAME.connection_limit`, `NAME.uses_reserved`, `NAME.setting.PARAMETER`.
fn role(server: &mut Postgres, rest: &str, known: Known<String>) {
    let setting = rest.rfind(".setting.").map(|at| (&rest[..at], &rest[at + ".setting.".len()..]));
    let Some((name, key)) = setting.or_else(|| rest.rsplit_once('.')) else { return };
    let role = server.roles.entry(name.to_owned()).or_default();
    if setting.is_some() {
        role.settings.insert(key.to_owned(), known);
    } else if key == "connection_limit" {
        role.connection_limit = known.value.parse().ok().map(|value| Known { value, place: known.place });
    } else if key == "uses_reserved" {
        role.reserved = ["true", "on", "1", "t", "yes"].contains(&known.value.as_str());
    }
}

/// What is told takes the place of what is declared; where both say the same, the place in the file stays.
fn newer(there: &mut Maybe<u64>, told: Maybe<u64>) {
    let same = there.as_ref().map(|known| known.value) == told.as_ref().map(|known| known.value);
    if told.is_some() && !same {
        *there = told;
    }
}

/// Applications' own files and the `[[topology.app]]` of the same name become one; so do those of one file that no declaration
/// names and the only declaration that names none.
fn merge(out: &mut Draft) {
    let (declared, own): (Vec<App>, Vec<App>) =
        std::mem::take(&mut out.dossier.apps).into_iter().partition(|app| app.library == Library::Declared);
    let named = |app: &App| declared.iter().any(|declared| declared.name == app.name);
    let (mut merged, mut alone): (Vec<App>, Vec<App>) = own.into_iter().partition(|app| named(app));
    let mut left = Vec::new();
    for declared in declared {
        let count = merged.iter().filter(|app| app.name == declared.name).count();
        merged.iter_mut().filter(|app| app.name == declared.name).for_each(|app| join(app, &declared, count));
        if count == 0 {
            left.push(declared);
        }
    }
    let file = |app: &App| if let Place::Text { file, .. } = app.place { Some(file) } else { None };
    let of_one_file = !alone.is_empty() && alone.iter().all(|app| file(app) == file(&alone[0]));
    if let ([declared], true) = (left.as_slice(), of_one_file) {
        let count = alone.len();
        for app in &mut alone {
            join(app, declared, count);
            app.name.clone_from(&declared.name);
        }
        left.clear();
    }
    out.dossier.apps = left.into_iter().chain(merged).chain(alone).collect();
}

/// What an application's own file does not say, it has from its declaration, which `count` pools share.
fn join(app: &mut App, declared: &App, count: usize) {
    fn fill<T: Clone>(there: &mut Option<T>, from: &Option<T>) {
        if there.is_none() {
            there.clone_from(from);
        }
    }
    fill(&mut app.pool, &declared.pool);
    fill(&mut app.address, &declared.address);
    fill(&mut app.user, &declared.user);
    fill(&mut app.replicas, &declared.replicas);
    fill(&mut app.surge, &declared.surge);
    fill(&mut app.processes, &declared.processes);
    fill(&mut app.threads, &declared.threads);
    fill(&mut app.pool_size, &declared.pool_size);
    fill(&mut app.intended, &declared.intended);
    fill(&mut app.max_idle, &declared.max_idle);
    fill(&mut app.per_unit, &declared.per_unit);
    fill(&mut app.request_timeout, &declared.request_timeout);
    fill(&mut app.acquire_timeout, &declared.acquire_timeout);
    fill(&mut app.query_timeout, &declared.query_timeout);
    fill(&mut app.lifetime, &declared.lifetime);
    fill(&mut app.idle_timeout, &declared.idle_timeout);
    fill(&mut app.keepalive, &declared.keepalive);
    fill(&mut app.peak_rate, &declared.peak_rate);
    fill(&mut app.hold, &declared.hold);
    if app.pools.is_empty() && count == 1 {
        app.pools.clone_from(&declared.pools);
    }
}

/// What host budgets that are `auto` come to: (max_connections less both reserves, others and two) / instances, at least one.
fn budgets(out: &mut Draft) {
    let servers = &out.dossier.postgres;
    for pooler in &mut out.dossier.poolers {
        let instances = pooler.instances.value.max(1);
        for server in &pooler.auto_budgets {
            let left = servers.get(*server).and_then(Postgres::left);
            if let (Some(left), Some(known)) = (left, pooler.budgets.get_mut(server)) {
                known.value = Bound::Of((left.saturating_sub(KEPT_FREE) / instances).max(1));
            }
        }
    }
}
