//! OS-04: the pooler's core is full.

use crate::finding::Severity;
use crate::review::chain::Kind;
use crate::review::dossier::Dossier;
use crate::review::need::CORE_BUSY;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "OS-04",
    severity: Severity::Warning,
    title: "the pooler's core is full",
    condition: "the busiest core of the pooler > 80 %",
    why: "A PgBouncer has one thread. Near the end of its core every query waits for it, with idle server connections and an idle \
          PostgreSQL behind, and it looks like a slow database; a larger pool makes it worse. poolwarden takes another loop at \
          70 %, so above that its loops are bounded or the machine has no core left.",
    fix: "more processes behind one port, with all limits divided by their number; of poolwarden more loops",
    needs: &[CORE_BUSY],
    check,
};

/// From here on waiting for the core is longer than the work.
const FULL: f64 = 0.8;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (kind, key) in [(Kind::PgBouncer, "pgbouncer.core_busy"), (Kind::Poolwarden, "poolwarden.core_busy")] {
        let Some(busy) = of.fact(key).filter(|busy| busy.value > FULL) else { continue };
        let percent = busy.value * 100.0;
        let pooler = of.poolers.iter().find(|pooler| pooler.kind == kind);
        let finding = out.find(format!("the pooler's busiest core is {percent:.0} % busy"), &busy.place, "of one core");
        finding.because("every query waits for this core, whatever PostgreSQL does");
        match (kind, pooler) {
            (Kind::Poolwarden, _) => {
                let loops = pooler.and_then(|pooler| pooler.written.get("poolwarden.loops"));
                if let Some(loops) = loops.filter(|loops| loops.value.parse::<u64>().is_ok()) {
                    finding.and(loops, format!("{} loops at most", loops.value));
                    finding.fix("write poolwarden.loops = \"auto\" and restart").write(loops, "\"auto\"");
                } else {
                    finding.fix("give the machine more cores, or share the clients among several instances");
                }
            }
            (Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey, pooler) => {
                let more = pooler.map_or(1, |pooler| pooler.instances.value.max(1)).saturating_mul(2);
                finding.fix(format!(
                    "run {more} processes with so_reuseport = 1, and divide pool sizes and limits by {more}"
                ));
            }
        }
    }
}
