//! What to look at when a limit binds: the setting it comes from and the next step, per limit.
//!
//! One place for the log, SHOW LIMITS and notices, so that they never give different advice.

use poolwarden_pool::{Limit, PoolKey};

/// The setting a limit comes from: a path in poolwarden's file, or PostgreSQL's or the system's own words.
#[must_use]
pub fn setting(limit: Limit, host: &str, pool: &PoolKey) -> String {
    let PoolKey { database, user } = pool;
    match limit {
        Limit::PoolSize => format!("pools.{database}.size"),
        Limit::Reserve => format!("pools.{database}.reserve"),
        Limit::ClassShare => "classes".into(),
        Limit::User => format!("users.{user}.max_connections"),
        Limit::Database => format!("pools.{database}.max_connections"),
        Limit::HostBudget => format!("servers.{host}.max_connections"),
        Limit::Connects => format!("servers.{host}.connects_max"),
        Limit::Breaker => format!("the reachability of server \"{host}\""),
        Limit::MaxClients => "limits.max_clients".into(),
        Limit::PgRole => format!("PostgreSQL's connection limit of role \"{user}\""),
        Limit::PgDatabase => format!("PostgreSQL's connection limit of database \"{database}\""),
        Limit::PgSlots => format!("PostgreSQL's max_connections on server \"{host}\""),
        Limit::Fds => "the process's limit of open files".into(),
        Limit::Memory => "limits.memory".into(),
        Limit::QueueLength => format!("pools.{database}.max_queue"),
        Limit::WaitTime => format!("pools.{database}.max_wait"),
    }
}

/// What an operator can do when it binds, in half a sentence.
#[must_use]
pub fn next_step(limit: Limit, host: &str, pool: &PoolKey) -> String {
    let setting = setting(limit, host, pool);
    match limit {
        Limit::PoolSize | Limit::User | Limit::Database | Limit::HostBudget => {
            format!("raise {setting}, or shorten the hold time")
        }
        Limit::Reserve => format!("the reserve opens after its delay; raise {setting} if it must be larger"),
        Limit::ClassShare => format!("see the weights and reserves in [{setting}]"),
        Limit::Connects => {
            format!("connections open as fast as the pacing allows, which passes by itself; {setting} is its most")
        }
        Limit::Breaker => format!("see why server \"{host}\" refuses or cannot be reached; connects are tried again"),
        Limit::MaxClients => format!("raise {setting}, or let fewer clients connect"),
        Limit::PgRole => format!("alter role \"{}\" connection limit N in PostgreSQL", pool.user),
        Limit::PgDatabase => "alter database ... connection limit N in PostgreSQL".into(),
        Limit::PgSlots => format!("let others use fewer, or raise {setting} (needs a PostgreSQL restart)"),
        Limit::Fds => format!("raise {setting} (LimitNOFILE, ulimit -n)"),
        Limit::Memory => format!("raise {setting}, or let clients read faster"),
        Limit::QueueLength | Limit::WaitTime => {
            format!("look at the limit that bound while they waited (SHOW WAITS), not at {setting}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_names_something_of_its_own() {
        let pool = PoolKey { database: "app".into(), user: "web".into() };
        let mut settings: Vec<_> = Limit::ALL.iter().map(|&limit| setting(limit, "main", &pool)).collect();
        assert_eq!(settings[Limit::User.index()], "users.web.max_connections");
        assert_eq!(settings[Limit::HostBudget.index()], "servers.main.max_connections");
        settings.sort();
        settings.dedup();
        assert_eq!(settings.len(), Limit::ALL.len());
        for limit in Limit::ALL {
            assert!(!next_step(limit, "main", &pool).is_empty());
        }
    }
}
