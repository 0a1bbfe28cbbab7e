//! DLK-02: a client that holds a server connection waits for another of the same pool.

use crate::finding::Severity;
use crate::review::chain::{Kind, Limit};
use crate::review::dossier::Dossier;
use crate::review::need::{POOLER, RECORDED};
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "DLK-02",
    severity: Severity::Warning,
    title: "who holds a server connection waits for another of the same pool",
    condition: "pool.NAME.held_while_waiting > 0; an error where t_wait is off",
    why: "A scheduler keeps a connection while it waits for its workers, and they wait for a connection: when the pool is full of \
          schedulers nobody gets on. With waits that end it is errors under load; with waits that do not it stands still: 382 \
          clients were found idle since one instant, for 2.4 days.",
    fix: "give the two kinds of work pools or classes of their own",
    needs: &[POOLER, RECORDED],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools() {
        let name = &pool.name.value;
        let held = of.fact(&format!("pool.{name}.held_while_waiting")).filter(|known| known.value > 0.0);
        let Some(held) = held else { continue };
        let finding = out.find(
            format!(
                "pool {name}: up to {:.0} clients held a server connection while they waited for another",
                held.value
            ),
            &pool.size.place,
            format!("{} server connections for both", words::size(pool.size.value)),
        );
        finding.and(&held, "recorded").and(&pool.max_wait, format!("waits end: {}", words::limit(pool.max_wait.value)));
        finding.because(match pool.max_wait.value {
            Limit::Never => "when such clients fill the pool it stands still for ever, and nothing errors".to_owned(),
            Limit::After(wait) => format!("when such clients fill the pool all of them wait {wait:?} and fail"),
        });
        let apart = words::second_pool(of, pooler, pool, ("work", None));
        let class = if pooler.kind == Kind::Poolwarden { ", or a class with a reserve" } else { "" };
        finding.fix(format!("give the inner work a pool of its own: {apart}{class}"));
        if pool.max_wait.value == Limit::Never {
            finding.matters(Severity::Error);
        }
    }
}
