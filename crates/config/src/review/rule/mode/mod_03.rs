//! MOD-03: fewer prepared statements are kept than traffic uses.

use poolwarden_pool::Mode;

use crate::finding::Severity;
use crate::review::dossier::Dossier;
use crate::review::need::{POOLER, STATEMENTS};
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "MOD-03",
    severity: Severity::Warning,
    title: "fewer prepared statements are kept than traffic uses",
    condition: "mode is transaction, and max_prepared_statements < the distinct statements seen (pool.NAME.statements_distinct)",
    why: "With 0 a statement that was prepared on one server connection does not exist on the next: errors. With fewer than are in \
          use each connection forgets one to learn another: statements are parsed and planned again and again.",
    fix: "keep more than the distinct statements of the pool",
    needs: &[POOLER, STATEMENTS],
    check,
};

/// Suggestions are whole hundreds.
const STEP: u64 = 100;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools().filter(|(_, pool)| pool.mode.value == Mode::Transaction) {
        let name = &pool.name.value;
        let Some(seen) = of.fact(&format!("pool.{name}.statements_distinct")) else { continue };
        let Some(kept) = &pooler.prepared else { continue };
        let distinct = seen.value.max(0.0) as u64;
        if kept.value >= distinct {
            continue;
        }
        let new = (distinct + 1).next_multiple_of(STEP).to_string();
        let key = words::pool_key(pooler, pool, "max_prepared_statements", "max_prepared_statements");
        out.find(
            format!(
                "pool {name}: {distinct} prepared statements are in use, and {} are kept on each server connection",
                kept.value
            ),
            &kept.place,
            format!("keeps {}", kept.value),
        )
        .and(&seen, format!("{distinct} distinct statements"))
        .because(if kept.value == 0 {
            "a statement prepared on one server connection does not exist on the next: the client gets an error"
        } else {
            "connections forget one statement to learn another, and PostgreSQL parses them again and again"
        })
        .fix(format!("write {key} = {new}"))
        .write(kept, new);
    }
}
