//! MUL-05: fewer connections than threads that want one.

use crate::finding::Severity;
use crate::review::chain::{App, Bound};
use crate::review::dossier::Dossier;
use crate::review::need::{APP_POOL_SIZE, APP_THREADS};
use crate::review::rule::mul::mul_06::is_starved;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "MUL-05",
    severity: Severity::Warning,
    title: "a process has fewer connections than threads",
    condition: "P < T",
    why: "Threads queue for their own process's pool and give up after its timeout (Rails: 5 s), while PostgreSQL and the pooler \
          are idle: the error names the pool, the graphs show nothing.",
    fix: "give a process as many connections as it has threads, and bound the whole in the pooler",
    needs: &[APP_POOL_SIZE, APP_THREADS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let (Some(threads), Some(size)) = (&app.threads, &app.pool_size) else {
            out.lacks(if app.threads.is_none() { APP_THREADS } else { APP_POOL_SIZE }, &app.name);
            continue;
        };
        let Bound::Of(most) = size.value else { continue };
        if most >= threads.value || is_starved(of, app).is_some() {
            continue; // MUL-06 speaks of those it starves
        }
        let finding = out.find(
            format!("{}: {} threads share {most} connections", app.name, threads.value),
            &size.place,
            format!("{most} connections per process"),
        );
        finding
            .and(threads, format!("{} threads per process", threads.value))
            .because(format!("{} threads wait for the others while PostgreSQL is idle", threads.value - most))
            .fix(format!("write {}", words::app_size(app, enough(app, threads.value))));
        words::resize(finding, app, enough(app, threads.value));
    }
}

/// A connection for each unit of work, or as many as one holds at once.
pub(super) fn enough(app: &App, threads: u64) -> u64 {
    let each = app.per_unit.as_ref().map_or(1, |known| known.value.max(1));
    threads.saturating_mul(each)
}
