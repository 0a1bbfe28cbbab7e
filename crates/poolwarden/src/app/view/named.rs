//! Databases and users: those of the configuration, and those that `*` and logins brought.

use std::collections::BTreeMap;

use poolwarden_config::{Config, Pool, User};
use poolwarden_pool::PoolSnapshot;
use poolwarden_watch::{DatabaseView, UserView};

use super::Seen;
use crate::app::plan;

/// Connections there are: to PostgreSQL, and from clients.
#[derive(Clone, Copy, Debug, Default)]
struct Current {
    servers: u32,
    clients: u32,
}

fn current<'a>(seen: &'a Seen, name: impl Fn(&'a PoolSnapshot) -> &'a str) -> BTreeMap<&'a str, Current> {
    let mut all: BTreeMap<&str, Current> = BTreeMap::new();
    for pool in seen.hosts.values().flat_map(|host| &host.snapshot.pools) {
        let entry = all.entry(name(pool)).or_default();
        entry.servers += pool.slots.counted();
        entry.clients += pool.clients;
    }
    all
}

pub(super) fn databases(config: &Config, seen: &Seen) -> Vec<DatabaseView> {
    let current = current(seen, |pool| &pool.key.database);
    let mut names: Vec<&str> = config.pools.keys().map(String::as_str).collect();
    names.extend(current.keys().filter(|name| !config.pools.contains_key(**name)));
    let used = |name: &str| current.get(name).copied().unwrap_or_default();
    names
        .into_iter()
        .filter_map(|name| {
            let pool = config.pools.get(name).or_else(|| config.pools.get("*"))?;
            Some(database(config, seen, (name, pool), used(name)))
        })
        .collect()
}

fn database(config: &Config, seen: &Seen, (name, pool): (&str, &Pool), used: Current) -> DatabaseView {
    let (server, settings) = (&config.servers[pool.server], &pool.settings);
    let own = (name != "*").then(|| name.to_owned());
    DatabaseView {
        name: name.to_owned(),
        host: plan::shown_address(server),
        port: server.port,
        database: pool.database.clone().or(own),
        force_user: pool.user.clone(),
        pool_size: settings.size,
        min_pool_size: settings.min_size,
        reserve_pool_size: settings.reserve,
        server_lifetime_s: settings.lifetime.as_secs(),
        pool_mode: settings.mode,
        max_connections: settings.max_connections,
        current_connections: used.servers,
        max_client_connections: None,
        current_client_connections: used.clients,
        paused: seen.said.is_paused(name),
        disabled: settings.disabled || seen.said.is_disabled(name),
    }
}

pub(super) fn users(config: &Config, seen: &Seen) -> Vec<UserView> {
    let current = current(seen, |pool| &pool.key.user);
    let mut names: Vec<&str> = config.users.keys().map(String::as_str).collect();
    names.extend(current.keys().filter(|name| !config.users.contains_key(**name)));
    names.into_iter().map(|name| user(name, config.users.get(name), current.get(name).copied())).collect()
}

fn user(name: &str, user: Option<&User>, used: Option<Current>) -> UserView {
    let (settings, used) = (user.map(|user| &user.settings), used.unwrap_or_default());
    UserView {
        name: name.to_owned(),
        pool_size: settings.and_then(|of| of.size),
        reserve_pool_size: None,
        pool_mode: settings.and_then(|of| of.mode),
        max_connections: settings.and_then(|of| of.max_connections),
        current_connections: used.servers,
        max_client_connections: None,
        current_client_connections: used.clients,
    }
}
