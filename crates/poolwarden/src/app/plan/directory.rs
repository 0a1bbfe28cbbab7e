//! Who may log in, how that is proven, and where they go, as the proxy is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use poolwarden_config::{AuthMethod, AuthQuery, Config, Pool, hba, ident};
use poolwarden_proxy::{
    AuthPlan, Demand, Directory, Door, From as Origin, IdentLine, Method, Query, Route, Rule, RuleDatabase, SystemName,
    UserEntry,
};
use poolwarden_relay::pgwire::password::Secret;
use poolwarden_relay::pgwire::scram;

use super::Seed;

pub(super) fn directory(config: &Config, seed: &Seed) -> Directory {
    let route = |pool: &Pool| Route {
        host: config.servers[pool.server].id,
        database: pool.database.clone(),
        user: pool.user.clone(),
        password: pool.password.as_ref().map(|secret| secret.reveal().to_owned()),
        startup: pool.startup.clone(),
    };
    let routes = config.pools.iter().filter(|(name, _)| *name != "*");
    Directory {
        method: method(config.auth.method),
        auth: plan(config),
        users: users(config, seed),
        routes: routes.map(|(name, of)| (name.clone(), route(of))).collect(),
        any: config.pools.get("*").map(route),
        console_admins: config.console.admins.clone(),
        console_readers: config.console.readers.clone(),
    }
}

const fn method(method: AuthMethod) -> Method {
    match method {
        AuthMethod::Trust => Method::Trust,
        AuthMethod::Password => Method::Password,
        AuthMethod::Md5 => Method::Md5,
        AuthMethod::ScramSha256 => Method::Scram,
        AuthMethod::Cert => Method::Cert,
        AuthMethod::Hba => Method::Hba,
        AuthMethod::Peer => Method::Peer,
    }
}

/// Users of the userlist, and over them those of the file itself. Passwords of the file are salted here, once; those of a
/// list, which may be long, each at its user's first login.
fn users(config: &Config, seed: &Seed) -> BTreeMap<String, UserEntry> {
    let listed = config.auth.listed.iter().map(|(name, secret)| {
        let secret = secret.as_ref().map(|text| Secret::parse(text.reveal()));
        (name.clone(), UserEntry { barred: secret.is_none(), secret })
    });
    let mut users: BTreeMap<String, UserEntry> = listed.collect();
    for (name, user) in &config.users {
        let entry = users.entry(name.clone()).or_default();
        if let Some(text) = &user.secret {
            entry.secret = Some(secret(text.reveal(), name, config.auth.method, seed));
            entry.barred = false;
        }
    }
    users
}

fn secret(text: &str, user: &str, method: AuthMethod, seed: &Seed) -> Secret {
    match (Secret::parse(text), method) {
        (Secret::Plain(plain), AuthMethod::ScramSha256 | AuthMethod::Hba) => {
            Secret::Plain(plain.with_verifier(&scram::salt(seed, user), scram::ITERATIONS))
        }
        (
            secret,
            AuthMethod::Trust
            | AuthMethod::Password
            | AuthMethod::Md5
            | AuthMethod::ScramSha256
            | AuthMethod::Cert
            | AuthMethod::Hba
            | AuthMethod::Peer,
        ) => secret,
    }
}

fn plan(config: &Config) -> AuthPlan {
    let auth = &config.auth;
    AuthPlan {
        rules: auth.rules.iter().map(rule).collect(),
        maps: auth.ident.iter().map(ident_line).collect(),
        query: auth.query.as_ref().map(|of| Arc::new(query(config, of))),
        failure_delay: auth.failure_delay,
        failures_per_minute: auth.failures_per_minute,
        known_users: auth.known_users,
    }
}

fn query(config: &Config, of: &AuthQuery) -> Query {
    // Without a password of its own, the one that the role has as a user.
    let own = config.secret(&of.user).or_else(|| config.auth.listed.get(&of.user)?.as_ref());
    Query {
        sql: of.sql.clone(),
        user: of.user.clone(),
        password: of.password.as_ref().or(own).map(|secret| secret.reveal().to_owned()),
        database: of.database.clone(),
        host: of.server.map(|server| config.servers[server].id),
        search_path: of.search_path.clone(),
        fresh: of.fresh,
        max_stale: of.max_stale,
    }
}

fn rule(of: &hba::HbaRule) -> Rule {
    let door = match of.door {
        hba::Door::Local => Door::Local,
        hba::Door::Host => Door::Host,
        hba::Door::HostSsl => Door::HostSsl,
        hba::Door::HostNoSsl => Door::HostNoSsl,
    };
    let database = |of: &hba::DatabaseName| match of {
        hba::DatabaseName::All => RuleDatabase::All,
        hba::DatabaseName::SameUser => RuleDatabase::SameUser,
        hba::DatabaseName::Replication => RuleDatabase::Replication,
        hba::DatabaseName::Name(name) => RuleDatabase::Name(name.clone()),
    };
    let user = |of: &hba::UserName| match of {
        hba::UserName::All => None,
        hba::UserName::Name(name) => Some(name.clone()),
    };
    let from = match of.source {
        hba::Source::All => Origin::All,
        hba::Source::SameHost => Origin::SameHost,
        hba::Source::Network(network) => Origin::Network(network.address, network.prefix),
    };
    let demand = match of.method {
        hba::HbaMethod::Trust => Demand::Trust,
        hba::HbaMethod::Reject => Demand::Reject,
        hba::HbaMethod::Password => Demand::Password,
        hba::HbaMethod::Md5 => Demand::Md5,
        hba::HbaMethod::Scram => Demand::Scram,
        hba::HbaMethod::Cert => Demand::Cert(of.map.clone()),
        hba::HbaMethod::Peer => Demand::Peer(of.map.clone()),
    };
    let (databases, users) = (of.databases.iter().map(database).collect(), of.users.iter().map(user).collect());
    Rule { door, databases, users, from, demand }
}

fn ident_line(of: &ident::IdentLine) -> IdentLine {
    let system = match &of.system {
        ident::SystemName::Exact(name) => SystemName::Exact(name.clone()),
        ident::SystemName::Pattern(pattern) => SystemName::Pattern(pattern.clone()),
    };
    let role = match &of.role {
        ident::RoleName::All => None,
        ident::RoleName::Named(name) => Some(name.clone()),
    };
    IdentLine { map: of.map.clone(), system, role }
}
