//! CAP-17: a reserve that never opens, or opens when its clients are gone.

use std::time::Duration;

use crate::finding::Severity;
use crate::review::chain::{Kind, Limit, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::POOLER;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-17",
    severity: Severity::Warning,
    title: "the reserve never helps",
    condition: "r > 0 and (reserve_after is off, or reserve_after >= t_wait, or reserve_after >= t_sock of an application)",
    why: "The reserve opens once a client has waited for reserve_after. With 0 PgBouncer never opens it, and beyond the time the \
          client waits nobody is left to use it: a limit that is written, counted by everybody, and dead.",
    fix: "let it open after a small part of the longest wait",
    needs: &[POOLER],
    check,
};

/// The part of the longest wait after which the suggested reserve opens.
const PART: u32 = 4;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools().filter(|(_, pool)| pool.reserve.value > 0) {
        let Some((what, other)) = useless(of, pooler, pool) else { continue };
        let key = words::reserve_after_key(pooler, pool);
        let new = suggested(pooler, other.as_ref().map(|known| known.value));
        let name = &pool.name.value;
        let finding = out.find(
            format!("pool {name}: the reserve of {} {what}", pool.reserve.value),
            &pool.reserve_after.place,
            format!("opens after {}", words::limit(pool.reserve_after.value)),
        );
        finding.and(&pool.reserve, format!("{} beyond the size", pool.reserve.value));
        if let Some(other) = &other {
            finding.and(other, format!("clients are gone after {:?}", other.value));
        }
        finding
            .because(format!("the pool ends at {}", words::size(pool.size.value)))
            .fix(format!("write {key} = {new}, or {} = 0", words::reserve_key(pooler, pool)))
            .write(&pool.reserve_after, new);
    }
}

/// Why the reserve is of no use, and the limit that comes first.
fn useless(of: &Dossier, pooler: &Pooler, pool: &Pool) -> Option<(&'static str, Option<Known<Duration>>)> {
    let Limit::After(after) = pool.reserve_after.value else { return Some(("never opens", None)) };
    let here = of.clients(pooler).filter(|(_, other)| std::ptr::eq(*other, pool));
    let sockets = here.filter_map(|(app, _)| app.query_timeout.as_ref());
    let ends = sockets.chain([&pool.max_wait]).filter_map(|known| {
        let span = known.value.span()?;
        (after >= span).then(|| Known { value: span, place: known.place.clone() })
    });
    Some(("opens when its clients have given up", Some(ends.min_by_key(|known| known.value)?)))
}

/// A quarter of the limit in the file's own unit: whole seconds, at least one, in pgbouncer.ini.
fn suggested(pooler: &Pooler, limit: Option<Duration>) -> String {
    let part = limit.map_or(Duration::from_secs(1), |limit| limit / PART);
    match pooler.kind {
        Kind::Poolwarden => format!("\"{}ms\"", part.as_millis().max(1)),
        Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => part.as_secs().max(1).to_string(),
    }
}
