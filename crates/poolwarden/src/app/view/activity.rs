//! PostgreSQL's own view of its backends, in the picture's words.

use poolwarden_proxy as proxy;
use poolwarden_watch::{Activity, Backend, BackendState, Quota};

use super::Seen;

pub(super) fn activity(seen: &Seen, of: &proxy::Activity) -> Activity {
    Activity {
        seen_at_ms: seen.unix_ms(of.seen_at.as_nanos()),
        took_us: of.took_us,
        max_connections: of.max_connections,
        reserved: of.reserved,
        roles: of.roles.iter().map(quota).collect(),
        databases: of.databases.iter().map(quota).collect(),
        backends: of.backends.iter().map(backend).collect(),
        unlisted: of.unlisted,
    }
}

fn quota(of: &proxy::Quota) -> Quota {
    Quota { name: of.name.clone(), size: of.size, used: of.used }
}

fn backend(of: &proxy::Backend) -> Backend {
    Backend {
        pid: of.pid,
        role: of.role.clone(),
        database: of.database.clone(),
        application: of.application.clone(),
        addr: of.addr.clone(),
        own: of.own,
        state: match of.state {
            proxy::BackendState::Active => BackendState::Active,
            proxy::BackendState::Idle => BackendState::Idle,
            proxy::BackendState::IdleInTransaction => BackendState::IdleInTransaction,
            proxy::BackendState::Other => BackendState::Other,
        },
        state_us: of.state_us,
        transaction_us: of.transaction_us,
        wait: of.wait.clone(),
        blocked_by: of.blocked_by.clone(),
        query: of.query.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use poolwarden_config::Config;
    use poolwarden_pool::{HostId, Time};
    use poolwarden_switch::{Shared, TermsBook};

    use super::*;
    use crate::app::plan;
    use crate::app::view::{Configs, HostSeen, view};

    /// Two servers, of which the second has answered a second ago.
    #[test]
    fn each_server_has_its_own_backends_with_every_value_and_the_moment_they_were_seen() {
        let text = "[servers.a]\nhost = \"a\"\n[servers.b]\nhost = \"b\"\n[pools.x]\nserver = \"b\"\n";
        let (config, _) = Config::parse(text, |_| Err("no secrets here".to_owned()));
        let config = Arc::new(config.unwrap());
        let cores = plan::settings(&config, [0; 32]).hosts.into_iter().map(|host| host.core).collect();
        let shared: Shared<()> = Shared::new(cores, 1, 1, TermsBook::default());
        let now = Time::from_nanos(5_000_000_000);
        let told = proxy::Activity {
            seen_at: Time::from_nanos(4_000_000_000),
            took_us: 7,
            max_connections: 100,
            reserved: 3,
            roles: vec![proxy::Quota { name: "app".into(), size: 5, used: 4 }],
            databases: vec![proxy::Quota { name: "shop".into(), size: 9, used: 8 }],
            backends: vec![proxy::Backend {
                pid: 42,
                role: "app".into(),
                database: "shop".into(),
                application: "web".into(),
                addr: "10.0.0.1".into(),
                own: true,
                state: proxy::BackendState::IdleInTransaction,
                state_us: 1,
                transaction_us: Some(2),
                wait: ("Lock".into(), "tuple".into()),
                blocked_by: vec![17],
                query: "select 1".into(),
            }],
            unlisted: 6,
        };
        let told = Arc::new(told);
        let seen = |id: u16| {
            let activity = (id == 1).then(|| Arc::clone(&told));
            let snapshot = shared.snapshot(now, HostId(id))?;
            Some((HostId(id), HostSeen { snapshot, facts: None, watch_error: None, activity }))
        };
        let seen = Seen { now, now_ms: 1_000_000, hosts: (0..2).filter_map(seen).collect(), ..Seen::default() };
        let picture = view(&Configs { now: Arc::clone(&config), start: config }, &seen);
        assert_eq!(picture.hosts[0].activity, None);
        let expected = Activity {
            seen_at_ms: 999_000,
            took_us: 7,
            max_connections: 100,
            reserved: 3,
            roles: vec![Quota { name: "app".into(), size: 5, used: 4 }],
            databases: vec![Quota { name: "shop".into(), size: 9, used: 8 }],
            backends: vec![Backend {
                pid: 42,
                role: "app".into(),
                database: "shop".into(),
                application: "web".into(),
                addr: "10.0.0.1".into(),
                own: true,
                state: BackendState::IdleInTransaction,
                state_us: 1,
                transaction_us: Some(2),
                wait: ("Lock".into(), "tuple".into()),
                blocked_by: vec![17],
                query: "select 1".into(),
            }],
            unlisted: 6,
        };
        assert_eq!(picture.hosts[1].activity, Some(expected));
    }
}
