//! TMO-07: a time limit is sent at start-up, and the pooler drops it.

use super::patience::{drops, only_user, role_typed};
use crate::finding::Severity;
use crate::review::dossier::Dossier;
use crate::review::need::{APP, POOLER};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "TMO-07",
    severity: Severity::Error,
    title: "a time limit is sent, and the pooler drops it",
    condition: "the application sends a time limit as a start-up parameter or in options, and ignore_startup_parameters has its \
                name, or options",
    why: "The pooler takes the parameter, says nothing, and never sets it: the limit everybody relies on is not there. It is put on \
          the list because without it the pooler refuses the connection, and the application starts again.",
    fix: "set the limit by role: alter role APP set statement_timeout = '...'",
    needs: &[POOLER, APP],
    check,
};

/// PostgreSQL's time limits that a client may set for itself.
const LIMITS: [&str; 5] = [
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "idle_session_timeout",
    "transaction_timeout",
];

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let Some((pooler, pool)) = of.route(app) else { continue };
        for (name, sent) in app.startup.iter().filter(|(name, _)| LIMITS.contains(&name.as_str())) {
            let Some(ignored) = drops(pooler, name) else { continue };
            let user = app.user.as_ref().map(|known| known.value.as_str()).or_else(|| only_user(pool));
            let user = role_typed(user);
            out.find(
                format!("{}: {name} = {} is sent to {}, which drops it", app.name, sent.value, pooler.name),
                &sent.place,
                format!("never set on pool {}", pool.name.value),
            )
            .and(ignored, format!("takes {} and drops it", ignored.value))
            .because(format!("no {name} holds: what it was to end goes on"))
            .fix(format!("alter role {user} set {name} = '{}', and send it no more", sent.value));
        }
    }
}
