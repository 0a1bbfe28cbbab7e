//! TMO-15: the pooler closes idle clients under the application's pool.

use super::patience::{length, rest};
use crate::finding::Severity;
use crate::review::chain::Kind;
use crate::review::dossier::Dossier;
use crate::review::need::{APP, POOLER};
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "TMO-15",
    severity: Severity::Warning,
    title: "the pooler closes idle clients under the application's pool",
    condition: "client_idle_timeout is on, and <= min(idle timeout, keepalive, lifetime of the application's pool)",
    why: "The application believes that the connection it kept is open. Its next query is the first to learn otherwise, and fails. \
          Lifetimes go from the outside in: the application closes first, then the pooler, then the network.",
    fix: "make client_idle_timeout longer than the application keeps idle connections",
    needs: &[POOLER, APP],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for pooler in &of.poolers {
        let Some(idle) = &pooler.client_idle else { continue };
        let Some(limit) = idle.value.span() else { continue };
        let apps = of.clients(pooler).filter_map(|(app, pool)| Some((app, pool, rest(app)?)));
        let longest =
            apps.filter(|(_, _, rest)| length(rest.value) >= limit).max_by_key(|(_, _, rest)| length(rest.value));
        let Some((app, pool, rest)) = longest else { continue };
        let finding = out.find(
            format!(
                "{}: idle clients are closed after {limit:?}, and {} keeps its connections {}",
                pooler.name,
                app.name,
                kept(rest.value)
            ),
            &idle.place,
            format!("closes after {limit:?}"),
        );
        finding.and(&rest, format!("kept {}", kept(rest.value)));
        finding.because("the application's next query on such a connection fails");
        let key = words::pool_key(pooler, pool, "client_idle_timeout", "client_idle_timeout");
        match rest.value.span() {
            // Twice as long leaves room for the time between the application's own looks at its pool.
            Some(span) => {
                let new = super::patience::typed(pooler.kind, span * 2);
                finding.fix(format!("write {key} = {new}")).write(idle, new);
            }
            None => {
                let off = if pooler.kind == Kind::Poolwarden { "\"0s\"" } else { "0" };
                finding.fix(format!(
                    "write {key} = {off}, or let the application close connections that are idle for less"
                ));
            }
        }
    }
}

fn kept(limit: crate::review::chain::Limit) -> String {
    limit.span().map_or_else(|| "for ever".to_owned(), |span| format!("for up to {span:?}"))
}
