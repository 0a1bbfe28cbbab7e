//! MOD-02: session state in a pool of transactions.

use poolwarden_pool::Mode;

use crate::finding::Severity;
use crate::review::chain::Kind;
use crate::review::dossier::Dossier;
use crate::review::need::{POOLER, RECORDED};
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "MOD-02",
    severity: Severity::Warning,
    title: "session state in a pool of transactions",
    condition: "mode is transaction or statement, and LISTEN, advisory locks, temporary tables, SET or PREPARE were seen \
                (pool.NAME.pins.REASON > 0)",
    why: "State of a session belongs to its server connection. PgBouncer in transaction mode leaves it there for whoever comes next: \
          somebody else's search_path, a lock nobody owns, notifications that arrive nowhere. poolwarden keeps the server \
          connection for its client until the state is gone, so each such client takes one out of the pool.",
    fix: "let what needs a session use a pool of its own in session mode",
    needs: &[POOLER, RECORDED],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools().filter(|(_, pool)| pool.mode.value != Mode::Session) {
        let name = &pool.name.value;
        let prefix = format!("pool.{name}.pins.");
        let seen = of.facts_below(&prefix).filter_map(|(reason, known)| {
            let count: f64 = known.value.parse().ok()?;
            (count > 0.0).then(|| (reason.to_owned(), count, known))
        });
        let seen: Vec<_> = seen.collect();
        let Some((_, _, first)) = seen.first() else { continue };
        let reasons: Vec<String> = seen.iter().map(|(reason, count, _)| format!("{count:.0} x {reason}")).collect();
        let finding = out.find(
            format!("pool {name}: {} seen in {} mode", reasons.join(", "), pool.mode.value.name()),
            &pool.mode.place,
            format!("{} mode", pool.mode.value.name()),
        );
        finding
            .and(first, "session state")
            .because(match pooler.kind {
                Kind::Poolwarden => "each of these clients keeps its server connection until the state is gone: the pool is smaller by them",
                Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => "the state stays on the server connection, and the next client of it has it",
            })
            .fix(format!("give them a pool of their own: {}", words::second_pool(of, pooler, pool, ("session", Some("session")))));
    }
}
