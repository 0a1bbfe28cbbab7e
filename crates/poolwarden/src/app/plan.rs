//! What the proxy is told, made from the configuration: pure, once at the start and once per reload.

mod directory;

use std::path::Path;
use std::sync::Arc;

use poolwarden_config::{Class, Config, Guard, Host, Pool, Server, User};
use poolwarden_pool::{Guard as CoreGuard, HostId, HostSettings, Mode};
use poolwarden_proxy::{Address, HostPlan, ProcessLimits, Reload, Settings, WatchLogin};
use poolwarden_relay::{Keep, SessionState};
use poolwarden_switch::{ClassRule, ClassRules, Patience, Pattern, PoolTerms, TermsBook, UserTerms, Voice};

/// Secret of this installation, from which salts are made.
pub(super) type Seed = [u8; 32];

/// Everything the proxy starts with.
pub(super) fn settings(config: &Config, seed: Seed) -> Settings {
    let Reload { limits, hosts, directory, terms, proxy_protocol, peers, tls } = reload(config, &seed);
    let listen = &config.listen;
    Settings {
        listen: listen.addresses.clone(),
        unix: listen.unix_socket_dir.as_ref().map(Into::into),
        unix_port: listen.unix_port(),
        unix_mode: config.pgbouncer.as_ref().map_or(0o777, |process| process.unix_socket_mode),
        unix_group: None, // its number is the system's to tell
        voice: if config.pgbouncer.is_some() { Voice::PgBouncer } else { Voice::Own },
        backlog: listen.backlog,
        reuse_port: listen.reuse_port,
        proxy_protocol,
        tls,
        loops: config.poolwarden.loops,
        limits,
        hosts,
        directory,
        terms,
        instance: config.poolwarden.instance_id,
        peers,
        seed,
    }
}

/// Everything that can change while it runs.
pub(super) fn reload(config: &Config, seed: &Seed) -> Reload {
    let limits = &config.limits;
    Reload {
        limits: ProcessLimits {
            max_clients: limits.max_clients,
            max_logins: limits.max_logins,
            login_timeout: limits.login_timeout,
            memory: limits.memory_bytes,
        },
        hosts: config.servers.iter().enumerate().map(|(index, server)| host(config, index, server)).collect(),
        directory: directory::directory(config, seed),
        terms: terms(config),
        proxy_protocol: config.listen.proxy_protocol.iter().map(|of| (of.address, of.prefix)).collect(),
        peers: config.peers.iter().map(|(id, peer)| (*id, at(&peer.host, peer.port))).collect(),
        tls: None, // its files are read elsewhere
    }
}

/// The ids of all servers of a configuration.
pub(super) fn host_ids(config: &Config) -> impl Iterator<Item = HostId> {
    config.servers.iter().map(|server| server.id)
}

/// Host and port as people are shown them.
pub(super) fn shown_address(server: &Server) -> String {
    match &server.host {
        Host::Name(name) => name.clone(),
        Host::Address(address) => address.to_string(),
        Host::Socket(directory) => directory.clone(),
    }
}

/// A host of the configuration as the proxy reaches it.
fn at(host: &Host, port: u16) -> Address {
    match host {
        Host::Name(name) => Address::Tcp { host: name.clone(), port },
        Host::Address(address) => Address::Tcp { host: address.to_string(), port },
        Host::Socket(directory) => Address::Unix(Path::new(directory).join(format!(".s.PGSQL.{port}"))),
    }
}

/// A server as the proxy reaches it.
pub(super) fn host(config: &Config, index: usize, server: &Server) -> HostPlan {
    let address = at(&server.host, server.port);
    let login = |watch: &poolwarden_config::WatchLogin| WatchLogin {
        user: watch.user.clone(),
        password: watch.password.as_ref().map(|secret| secret.reveal().to_owned()),
        database: watch.database.clone(),
    };
    HostPlan {
        id: server.id,
        name: server.name.clone(),
        address,
        core: core(config, index),
        connect_timeout: server.connect_timeout,
        tcp_user_timeout: server.tcp_user_timeout,
        keepalive: server.keepalive.map(|keepalive| keepalive.idle),
        tls: Arc::default(), // its files are read elsewhere
        minor: server.max_protocol_minor,
        watch: server.watch.as_ref().map(login),
    }
}

/// What the core obeys. It asks for a reset where some user's effective mode is session and there is something to run.
fn core(config: &Config, index: usize) -> HostSettings {
    let mut settings = config.host_settings(index);
    for (name, database) in &mut settings.databases {
        database.reset = config.pools.get(name).is_some_and(|pool| resets(config, pool));
    }
    if let Some(any) = &mut settings.any {
        any.reset = config.pools.get("*").is_some_and(|pool| resets(config, pool));
    }
    settings
}

fn resets(config: &Config, pool: &Pool) -> bool {
    let session = |mode: Mode| mode == Mode::Session;
    let anybody = config.users.values().any(|user| user.settings.mode.is_some_and(session));
    pool.reset_always || pool.reset_query.is_some() && (session(pool.settings.mode) || anybody)
}

fn terms(config: &Config) -> TermsBook {
    let ids = config.class_ids();
    let class = |name: &Option<String>| name.as_deref().and_then(|name| ids.get(name).copied());
    let terms = |pool: &Pool| PoolTerms { class: class(&pool.class), ..pool_terms(pool) };
    let databases = config.pools.iter().filter(|(name, _)| *name != "*");
    let own = |(name, user): (&String, &User)| {
        let own = UserTerms {
            keep: user.settings.mode.map(keep),
            patience: patience(user.patience),
            class: class(&user.class),
            trust_labels: user.trust_labels,
        };
        (own != UserTerms::default()).then(|| (name.clone(), own))
    };
    TermsBook {
        databases: databases.map(|(name, pool)| (name.clone(), terms(pool))).collect(),
        any: config.pools.get("*").map(terms).unwrap_or_default(),
        users: config.users.iter().filter_map(own).collect(),
        classes: ClassRules {
            classes: config.classes_by_id().map(|(_, name, class)| class_rule(name, class)).collect(),
        },
        guard: match config.poolwarden.guard {
            Guard::Enforce => CoreGuard::Enforce,
            Guard::Observe => CoreGuard::Observe,
        },
    }
}

fn class_rule(name: &str, class: &Class) -> ClassRule {
    ClassRule {
        name: name.to_owned(),
        weight: class.weight,
        reserve: class.reserve,
        applications: class.applications.iter().map(|pattern| Pattern::new(pattern)).collect(),
        networks: class.networks.iter().map(|network| (network.address, network.prefix)).collect(),
        patience: patience(class.patience),
    }
}

fn pool_terms(pool: &Pool) -> PoolTerms {
    PoolTerms {
        keep: keep(pool.settings.mode),
        // A u32 fits into a usize wherever this runs.
        statements: usize::try_from(pool.max_prepared_statements).unwrap_or(usize::MAX),
        track: pool.track.clone().into(),
        reset_query: pool.reset_query.clone().unwrap_or_default(),
        reset_always: pool.reset_always,
        session_state: if pool.refuse_state { SessionState::Refuse } else { SessionState::Pin },
        startup: pool.startup.clone(),
        patience: patience(pool.patience),
        class: None, // its number is not the pool's to know
    }
}

const fn patience(limits: poolwarden_config::Patience) -> Patience {
    let poolwarden_config::Patience { query, transaction, idle_in_transaction, client_idle } = limits;
    Patience { query, transaction, idle_in_transaction, client_idle }
}

const fn keep(mode: Mode) -> Keep {
    match mode {
        Mode::Session => Keep::Session,
        Mode::Transaction => Keep::Transaction,
        Mode::Statement => Keep::Statement,
    }
}

#[cfg(test)]
mod tests;
