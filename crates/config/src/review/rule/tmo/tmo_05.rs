//! TMO-05: a statement may run for ever, or for longer than anybody waits for it.

use std::time::Duration;

use super::patience::{lands, length, pg_typed, role_typed, statement};
use crate::finding::Severity;
use crate::review::chain::{App, Limit};
use crate::review::dossier::Dossier;
use crate::review::need::{APP, PG_SETTINGS};
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "TMO-05",
    severity: Severity::Warning,
    title: "a statement may outlast everybody who waits for it",
    condition: "min(t_stmt of the application's role, query timeout of the pooler) is off, or > t_req",
    why: "One slow query holds a server connection for as long as it likes: as many of them as the pool is large, and everybody \
          waits. The client that gave up does not stop it; PostgreSQL goes on. statement_timeout of the application's role ends it, \
          and leaves migrations and reports alone.",
    fix: "alter role APP set statement_timeout = a time below the request's",
    needs: &[APP, PG_SETTINGS],
    check,
};

/// What is suggested where no request limit is known.
const SUGGESTED: &str = "30s";

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let Some((limit, role)) = longest(of, app) else {
            out.lacks(PG_SETTINGS, &app.name);
            continue;
        };
        let request = app.request_timeout.as_ref().and_then(|known| known.value.span());
        let long = match request {
            Some(request) => length(limit.value) > request,
            None => limit.value == Limit::Never,
        };
        if !long {
            continue;
        }
        let whose = role.clone().unwrap_or_else(|| "the application's role".to_owned());
        let finding = out.find(
            format!("{}: a statement may run {}", app.name, how_long(limit.value)),
            &limit.place,
            format!("statement_timeout of {whose}: {}", words::limit(limit.value)),
        );
        if let Some(known) = app.request_timeout.as_ref().filter(|known| known.value != Limit::Never) {
            finding.and(known, format!("nobody waits after {}", words::limit(known.value)));
        }
        let new = request.map_or_else(|| SUGGESTED.to_owned(), |request| pg_typed(left(of, app, request)));
        let named = role_typed(role.as_deref());
        finding
            .because("one slow query after another takes a server connection of the pool and keeps it")
            .fix(format!("alter role {named} set statement_timeout = '{new}', or less"));
    }
}

/// What the waits for a connection leave of a request; half of it where they leave nothing.
fn left(of: &Dossier, app: &App, request: Duration) -> Duration {
    let acquire = app.acquire_timeout.as_ref().and_then(|known| known.value.span());
    let wait = of.route(app).and_then(|(_, pool)| pool.max_wait.value.span());
    let waits = acquire.unwrap_or_default().saturating_add(wait.unwrap_or_default());
    request.checked_sub(waits).filter(|left| !left.is_zero()).unwrap_or(request / 2)
}

fn how_long(limit: Limit) -> String {
    limit.span().map_or_else(|| "for ever".to_owned(), |span| format!("for {span:?}, longer than its request"))
}

/// The limit that ends its statements: PostgreSQL's, or its pooler's where that is shorter; with the role it is set for.
fn longest(of: &Dossier, app: &App) -> Option<(Known<Limit>, Option<String>)> {
    let known = statement(of, app)?;
    let role = lands(of, app).and_then(|(_, role)| role.map(str::to_owned));
    let pooler = of.route(app).and_then(|(pooler, _)| pooler.query.clone());
    Some(match pooler.filter(|query| length(query.value) < length(known.value)) {
        Some(query) => (query, role),
        None => (known, role),
    })
}
