//! CAP-16: a storm of cancel requests goes past every limit of PgBouncer.

use crate::finding::Severity;
use crate::review::chain::{Bound, Kind, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{PG_MAX_CONNECTIONS, POOLER};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "CAP-16",
    severity: Severity::Info,
    title: "cancel requests go past the limits of connections",
    condition: "PgBouncer, and N x sum of 2 x s > U - O",
    why: "PgBouncer opens a connection for each cancel request, up to twice the pool's size, and neither max_db_connections nor \
          max_user_connections holds it (launch_new_connection, the way of force_new). PostgreSQL answers them before they take a \
          slot of max_connections, but each starts a process; a timeout that cancels everything at once is a storm of them.",
    fix: "leave room between the pools and the slots, and stagger the timeouts that cancel",
    needs: &[POOLER, PG_MAX_CONNECTIONS],
    check,
};

/// Cancel connections per server connection of a pool.
const CANCELS: u64 = 2;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        let (Some(left), Some(max)) = (postgres.left(), &postgres.max_connections) else { continue };
        for pooler in of.poolers.iter().filter(|pooler| pooler.kind == Kind::PgBouncer) {
            let Some(storm) = storm(pooler, server) else { continue };
            let pools = pooler.pools.iter().filter(|pool| pool.server == server);
            let Some(pool) = pools.max_by_key(|pool| pool.size.value.number()).filter(|_| storm > left) else {
                continue;
            };
            out.find(
                format!("up to {storm} cancel connections at once, and {left} slots"),
                &pool.size.place,
                format!("{CANCELS} cancels for each, in each of {} instances", pooler.instances.value),
            )
            .and(max, format!("{left} are left of {}", max.value))
            .because("when every query is cancelled at once PostgreSQL starts as many processes beside its backends")
            .fix(format!("keep all pools together below {}", left / CANCELS / pooler.instances.value.max(1)));
        }
    }
}

fn storm(pooler: &Pooler, server: usize) -> Option<u64> {
    let pools = pooler.pools.iter().filter(|pool| pool.server == server);
    let sum = pools.filter_map(|pool| match pool.size.value {
        Bound::Of(size) => Some(size.saturating_mul(pool.known_users())),
        Bound::Unlimited => None,
    });
    let all = sum.fold(0, u64::saturating_add).saturating_mul(CANCELS).saturating_mul(pooler.instances.value);
    Some(all).filter(|all| *all > 0)
}
