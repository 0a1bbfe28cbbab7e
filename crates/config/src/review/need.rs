//! What a rule needs to know, and where each of these things comes from. A need that no input gives is a rule that never speaks:
//! the test below fails then.

use super::dossier::Dossier;

/// One thing a rule needs.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Short name, as `not_checked` lists it.
    pub name: &'static str,
    /// How to give it, for people.
    pub from: &'static str,
    /// Whether the inputs gave it, at least once.
    pub(crate) is_known: fn(&Dossier) -> bool,
}

macro_rules! needs {
    ($($constant:ident: $name:literal, $from:literal, $known:expr;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $from)]
            pub(crate) const $constant: Need = Need { name: $name, from: $from, is_known: $known };
        )*
        /// Every need once.
        pub const NEEDS: &[Need] = &[$($constant),*];
    };
}

needs! {
    POOLER: "pooler", "poolwarden.toml or pgbouncer.ini", |of| !of.poolers.is_empty();
    APP: "application", "[[topology.app]], or the application's own settings (HikariCP, SQLAlchemy, database.yml, DATABASE_URL)",
        |of| !of.apps.is_empty();
    APP_POOL_SIZE: "application pool size", "pool_size of [[topology.app]], or the application's own settings",
        |of| of.apps.iter().any(|app| app.pool_size.is_some());
    POOL_SIZE: "pool size", "poolwarden.toml, pgbouncer.ini, or the application's own settings",
        |of| !of.poolers.is_empty() || of.apps.iter().any(|app| app.pool_size.is_some());
    APP_THREADS: "application threads", "threads of [[topology.app]], or the application's own settings (Puma's, RAILS_MAX_THREADS)",
        |of| of.apps.iter().any(|app| app.threads.is_some());
    APP_INTENDED: "connections an application is meant to have", "connections of [[topology.app]]",
        |of| of.apps.iter().any(|app| app.intended.is_some());
    APP_REPLICAS: "application replicas", "replicas of [[topology.app]]", |of| of.apps.iter().any(|app| app.replicas.is_some());
    PG_MAX_CONNECTIONS: "max_connections", "[topology.postgres] max_connections, or --live postgres://…",
        |of| of.postgres.iter().any(|pg| pg.max_connections.is_some());
    PG_RESERVES: "superuser_reserved_connections", "[topology.postgres] superuser_reserved_connections, or --live postgres://…",
        |of| of.postgres.iter().any(|pg| pg.superuser_reserved.is_some());
    RDS_PROXY: "RDS Proxy", "rdsproxy.MaxConnectionsPercent = … in a file of facts (aws rds describe-db-proxy-target-groups)",
        |of| of.fact("rdsproxy.MaxConnectionsPercent").is_some()
            || of.poolers.iter().any(|pooler| matches!(pooler.kind, super::chain::Kind::RdsProxy));
    PG_SETTINGS: "pg_settings", "--live postgres://…", |of| of.postgres.iter().any(|pg| !pg.settings.is_empty());
    PG_ROLES: "roles and their limits", "--live postgres://…", |of| of.postgres.iter().any(|pg| !pg.roles.is_empty());
    PG_CORES: "cores of the PostgreSQL machine", "[topology.postgres] cores",
        |of| of.postgres.iter().any(|pg| pg.cores.is_some());
    PG_MEMORY: "memory of the PostgreSQL machine", "[topology.postgres] memory",
        |of| of.postgres.iter().any(|pg| pg.memory.is_some());
    REQUEST_TIMEOUT: "request timeout", "request_timeout of [[topology.app]]",
        |of| of.apps.iter().any(|app| app.request_timeout.is_some());
    ALERTS: "alerting rules", "--prometheus RULES", |of| !of.alerts.is_empty();
    SCRAPE: "scrape interval", "prometheus.yml, or pgbouncer.scrape_interval_ms in a file of facts",
        |of| !of.scrapes.is_empty() || of.fact("pgbouncer.scrape_interval_ms").is_some();
    RUNNING: "running pooler", "--live http://… (poolwarden) or --live postgres://…/pgbouncer (a console)",
        |of| of.facts_below("pgbouncer.").next().is_some() || of.facts_below("poolwarden.").next().is_some();
    SETTINGS: "settings", "any configuration file, or --live postgres://…", |of| !(of.texts.is_empty() && of.facts.is_empty());
    LIVE: "what runs", "--live postgres://… (PostgreSQL or a console), or --live http://… (poolwarden)",
        |of| ["pg.", "pgbouncer.", "poolwarden."].iter().any(|whose| of.facts_below(whose).next().is_some());
    CORE_BUSY: "use of the pooler's busiest core", "--live http://… of a running poolwarden, or pgbouncer.core_busy (0 to 1) in a file of facts",
        |of| of.fact("poolwarden.core_busy").is_some() || of.fact("pgbouncer.core_busy").is_some();
    CLIENT_NAMES: "clients and their application names", "--live postgres://…/pgbouncer (a console)",
        |of| ["poolwarden", "pgbouncer"].iter().any(|whose| of.fact(&format!("{whose}.clients_unnamed")).is_some());
    CLIENT_BURST: "clients that connect at once", "replicas and pool_size of [[topology.app]], or process.connects_peak_1s in a file of facts",
        |of| of.fact("process.connects_peak_1s").is_some() || of.apps.iter().any(|app| app.demand(true).is_some());
    PROCESS: "limits of the pooler's process", "--live http://… of a running poolwarden, or run it on that machine",
        |of| of.facts_below("process.").next().is_some();
    TRAFFIC: "traffic", "--recording, --live http://… of a running poolwarden, or peak_rate and hold of [[topology.app]]",
        |of| is_recorded(of) || of.apps.iter().any(|app| app.peak_rate.is_some() && app.hold.is_some());
    RECORDED: "recorded traffic", "--recording, or --live http://… of a running poolwarden",
        is_recorded;
    STATEMENTS: "prepared statements of clients", "--live postgres://…/pgbouncer (a console), or --recording",
        |of| of.facts_below("pool.").any(|(key, _)| key.ends_with(DISTINCT));
}

/// What a console tells of clients now; all other facts of pools are of traffic.
const DISTINCT: &str = ".statements_distinct";

fn is_recorded(of: &Dossier) -> bool {
    of.facts_below("pool.").any(|(key, _)| !key.ends_with(DISTINCT))
}
