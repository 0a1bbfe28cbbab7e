//! CAP-01: more backends can come than PostgreSQL has slots for.

use crate::review::rule::{Out, Rule};
use crate::finding::Severity;
use crate::review::chain::Bound;
use crate::review::dossier::Dossier;
use crate::review::need::{PG_MAX_CONNECTIONS, POOLER};

pub(super) const RULE: Rule = Rule {
    code: "CAP-01",
    severity: Severity::Error,
    title: "more backends can come than PostgreSQL has slots for",
    condition: "B + D of applications without pooler > U - O",
    why: "When every pool is full at once, PostgreSQL refuses whoever comes next with 53300, administrators included. It stays \
          hidden until the first busy hour: one operator had 9,000 possible backends before 5,000 slots and met the end of them \
          for 88 minutes.",
    fix: "bound what each pooler may open: the host budget, or a limit per database, at (U - O) / instances",
    needs: &[POOLER, PG_MAX_CONNECTIONS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        let (Some(left), Some(max)) = (postgres.left(), &postgres.max_connections) else {
            out.lacks(PG_MAX_CONNECTIONS, &postgres.name);
            continue;
        };
        for pooler in &of.poolers {
            let Bound::Of(backends) = pooler.backends(server) else { continue }; // CAP-02 speaks of these
            if backends <= left {
                continue;
            }
            let Some(pool) = pooler.pools.iter().filter(|pool| pool.server == server).max_by_key(|pool| match pool.most() {
                Bound::Of(most) => most,
                Bound::Unlimited => u64::MAX,
            }) else {
                continue;
            };
            let (instances, share) = (pooler.instances.value, left / pooler.instances.value.max(1));
            let message = format!("backends can exceed PostgreSQL's slots: {backends} > {left}");
            let label = format!("times {} users and {instances} instances", pool.known_users());
            out.find(message, &pool.size.place, label)
                .and(max, format!("{left} are left for the pooler"))
                .and(&pooler.instances, format!("{instances} instances"))
                .because(format!("with full pools {} connects are refused (SQLSTATE 53300), administrators included", backends - left))
                .fix(format!("bound all pools of one instance to {share} together"));
        }
    }
}
