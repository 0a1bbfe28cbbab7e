//! TMO-03: the application's own pool waits for ever.

use crate::finding::Severity;
use crate::review::chain::{App, Library, Limit};
use crate::review::dossier::Dossier;
use crate::review::need::APP;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "TMO-03",
    severity: Severity::Error,
    title: "the application's own pool waits without end",
    condition: "t_acq is off",
    why: "When the pool is empty requests hang: no error, no log line, no metric, and a restart is what helps. An hourly job of 60 \
          tasks met a pool of 10 with no limit and did just that. Where it is a library's default rather than written, and \
          requests have a limit of their own, it is a warning: something ends the wait, though it names the wrong layer.",
    fix: "let the application's pool give up after 2 s or less",
    needs: &[APP],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in &of.apps {
        let Some(acquire) = app.acquire_timeout.as_ref().filter(|known| known.value == Limit::Never) else { continue };
        let place = if acquire.is_given() { &acquire.place } else { &app.place };
        let ended = app.request_timeout.as_ref().filter(|known| known.value != Limit::Never);
        let (key, new) = suggested(app);
        let finding = out.find(
            format!("{}: its pool waits for a connection without end", app.name),
            place,
            if acquire.is_given() { "no limit" } else { "no limit by default" },
        );
        finding
            .because("when the pool is empty requests hang, and nothing says why")
            .fix(format!("write {key} = {new}"));
        finding.write(acquire, new);
        if let Some(request) = ended {
            finding.and(request, "the request's limit comes first, and names no pool");
            if !acquire.is_given() {
                finding.matters(Severity::Warning);
            }
        }
    }
}

/// The key that ends the wait, and two seconds as it writes them.
fn suggested(app: &App) -> (&'static str, &'static str) {
    match app.library {
        Library::Declared => ("acquire_timeout", "\"2s\""),
        Library::Hikari => ("connectionTimeout", "2000"),
        Library::SqlAlchemy => ("pool_timeout", "2"),
        Library::Rails => ("checkout_timeout", "2"),
        Library::Url if app.written.contains_key("pool_timeout") => ("pool_timeout", "2"),
        Library::Url => ("connectionTimeoutMillis", "2000"),
    }
}
