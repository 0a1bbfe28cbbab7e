//! CAP-09: more connections work at once than PostgreSQL's machine can use.

use poolwarden_pool::Mode;

use crate::finding::Severity;
use crate::review::chain::{Bound, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{PG_CORES, POOLER};
use crate::review::rule::{Out, Rule};
use crate::review::sums::{plus, times};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-09",
    severity: Severity::Warning,
    title: "more connections work at once than the machine can use",
    condition: "N x min(sum of (s + r) of transaction and statement pools, host budget) > 10 x cores",
    why: "Past the knee throughput falls: backends wait for processors and locks, and every request takes longer. PostgreSQL's \
          wiki puts the knee of active connections between 2 and about 10 times the cores, by version and caching; the rule speaks \
          only beyond the upper end. Pools in session mode do not count: most of their connections are idle.",
    fix: "shrink the pools and let requests queue in the pooler, or split what is rarely busy from what is",
    needs: &[POOLER, PG_CORES],
    check,
};

/// Active connections per core beyond which no version of PostgreSQL gains (wiki.postgresql.org, Number Of Database Connections).
const KNEE: u64 = 10;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        let Some(cores) = &postgres.cores else {
            out.lacks(PG_CORES, &postgres.name);
            continue;
        };
        let knee = cores.value.saturating_mul(KNEE);
        for pooler in of.poolers.iter().filter(|pooler| pooler.uses(server)) {
            let Bound::Of(active) = active(pooler, server) else { continue };
            let Some(known) = pooler.deciding(server).filter(|_| active > knee) else { continue };
            let share = knee / pooler.instances.value.max(1);
            out.find(
                format!("{active} backends can work at once on {} cores", cores.value),
                &known.place,
                format!("{}: {} instances", pooler.name, pooler.instances.value),
            )
            .and(cores, format!("{} cores: nothing is gained beyond {knee} active backends", cores.value))
            .because("with full pools every query is slower than with fewer connections and a queue before them")
            .fix(words::bound_to(pooler, server, postgres, share.max(1)));
        }
    }
}

/// Backends of pools that hold them only for work.
fn active(pooler: &Pooler, server: usize) -> Bound {
    let pools = pooler.pools.iter().filter(|pool| pool.server == server && pool.mode.value != Mode::Session);
    let sum = pools.fold(Bound::Of(0), |sum, pool| plus(sum, pooler.pool_most(pool)));
    times(crate::review::sums::least(sum, pooler.instance_backends(server)), pooler.instances.value)
}
