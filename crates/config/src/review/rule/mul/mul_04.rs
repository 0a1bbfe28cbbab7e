//! MUL-04: each instance of a pooler has the limits that were meant for all.

use crate::finding::Severity;
use crate::review::chain::{Bound, Pooler, Postgres};
use crate::review::dossier::Dossier;
use crate::review::need::{PG_MAX_CONNECTIONS, POOLER};
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "MUL-04",
    severity: Severity::Error,
    title: "limits are not divided by the instances",
    condition: "N > 1 and B / N <= U - O < B",
    why: "so_reuseport and replicas multiply every limit of the file: four processes of 450 each stood before 500 slots, and the \
          question was whether that is normal. One instance fits, so each file looks right.",
    fix: "divide: max_db_connections = (U - O) / N; poolwarden's auto budget divides by instances itself",
    needs: &[POOLER, PG_MAX_CONNECTIONS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        let Some(left) = postgres.left() else { continue };
        for pooler in
            of.poolers.iter().filter(|pooler| pooler.instances.value > 1 && !pooler.auto_budgets.contains(&server))
        {
            if let Bound::Of(one) = pooler.instance_backends(server) {
                judge(pooler, server, postgres, (one, left), out);
            }
        }
    }
}

fn judge(pooler: &Pooler, server: usize, postgres: &Postgres, (one, left): (u64, u64), out: &mut Out<'_>) {
    let instances = pooler.instances.value;
    let all = one.saturating_mul(instances);
    let Some(known) = pooler.deciding(server).filter(|_| one <= left && all > left) else { return };
    let share = left / instances;
    let finding = out.find(
        format!("{instances} instances of {one} backends each are {all}, and {left} slots are left"),
        &known.place,
        format!("{one} fit once"),
    );
    finding.and(&pooler.instances, format!("times {instances}"));
    if let Some(max) = &postgres.max_connections {
        finding.and(max, format!("{left} are left of {}", max.value));
    }
    finding
        .because(format!("{} connects are refused (SQLSTATE 53300) when all instances are busy", all - left))
        .fix(words::bound_to(pooler, server, postgres, share));
    let alone = pooler.pools.iter().filter(|pool| pool.server == server).count() == 1;
    let is_cap = pooler.pools.iter().any(|pool| pool.max_connections == *known);
    if pooler.budgets.get(&server) == Some(known) || (alone && is_cap) {
        finding.write(known, share.to_string());
    }
}
