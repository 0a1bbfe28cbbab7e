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
