//! TMO-09: PostgreSQL ends the pooler's idle connections.

use std::time::Duration;

use super::patience::{length, once, only_user, pg_limit, role_typed};
use crate::finding::Severity;
use crate::review::chain::{Kind, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{PG_SETTINGS, POOLER};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "TMO-09",
    severity: Severity::Warning,
    title: "PostgreSQL ends the pooler's idle connections",
    condition: "idle_session_timeout of the pool's role is on, and <= the time a server connection may be idle: min(server idle \
                timeout, lifetime), of those that min_size keeps the lifetime",
    why: "PostgreSQL closes members of the pool behind its back; its manual warns of idle_session_timeout with poolers. A query that \
          meets the closing fails, and the pool opens anew what it had. Where the pooler closes first nothing happens, and the rule \
          is silent. poolwarden notices a closed idle connection and never lends it: churn, not errors, so it is a hint there.",
    fix: "set idle_session_timeout for people's roles alone",
    needs: &[POOLER, PG_SETTINGS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    let mut seen = Vec::new();
    for (pooler, pool) in of.pools() {
        let Some(session) = pg_limit(of, pool.server, only_user(pool), "idle_session_timeout") else {
            // Before version 14 there is none; statement_timeout is told wherever settings are.
            if pg_limit(of, pool.server, None, "statement_timeout").is_none() {
                out.lacks(PG_SETTINGS, &pool.name.value);
            }
            continue;
        };
        let Some(limit) = session.value.span() else { continue };
        let idle = idle(pooler, pool);
        if idle < limit || !once(&mut seen, &session.place) {
            continue;
        }
        let role = role_typed(only_user(pool));
        let kept = if idle == Duration::MAX { "for ever".to_owned() } else { format!("for up to {idle:?}") };
        let finding = out.find(
            format!(
                "pool {}: server connections stay idle {kept}, and PostgreSQL ends them after {limit:?}",
                pool.name.value
            ),
            &session.place,
            format!("idle_session_timeout = {limit:?}"),
        );
        if let Some(own) = &pooler.server_idle {
            finding.and(own, format!("the pooler keeps them {kept}"));
        }
        finding
            .because("members of the pool are closed behind its back, and a query that meets it fails")
            .fix(format!("alter role {role} set idle_session_timeout = 0"));
        if pooler.kind == Kind::Poolwarden {
            finding.matters(Severity::Info);
        }
    }
}

/// How long a server connection of a pool may be idle.
fn idle(pooler: &Pooler, pool: &Pool) -> Duration {
    let of = |known: &Option<_>| {
        known.as_ref().map_or(Duration::MAX, |known: &crate::review::place::Known<_>| length(known.value))
    };
    if pool.min_size.value > 0 { of(&pooler.lifetime) } else { of(&pooler.lifetime).min(of(&pooler.server_idle)) }
}
