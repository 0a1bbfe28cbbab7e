//! CAP-04: a pool larger than all slots of PostgreSQL.

use crate::finding::Severity;
use crate::review::chain::Bound;
use crate::review::dossier::Dossier;
use crate::review::need::{PG_MAX_CONNECTIONS, POOLER};
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-04",
    severity: Severity::Warning,
    title: "the pool can never fill",
    condition: "s > U; where mdc, muc or the host budget keep the pool within U it is only worth knowing",
    why: "The pool goes on opening connections that PostgreSQL refuses. PgBouncer keeps the failed login for server_login_retry \
          and answers clients with it meanwhile: a pool of 20 before 7 slots looks like a broken server.",
    fix: "make the pool a share of U",
    needs: &[POOLER, PG_MAX_CONNECTIONS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools() {
        let Some(postgres) = of.postgres.get(pool.server) else { continue };
        let (Some(usable), Some(max)) = (postgres.usable(), &postgres.max_connections) else {
            out.lacks(PG_MAX_CONNECTIONS, &postgres.name);
            continue;
        };
        let Bound::Of(size) = pool.size.value else { continue }; // MUL-07 speaks of these
        if size <= usable {
            continue;
        }
        let reachable = pooler.pool_most(pool).number().unwrap_or(u64::MAX);
        let within = reachable <= usable;
        // A smaller size is the one that holds already: for its only user, and for no other pool, while the limit stays.
        let alone = of.pools().filter(|(_, other)| other.size.place == pool.size.place).count() == 1;
        let fixed = alone && pool.known_users() == 1 && !pooler.auto_budgets.contains(&pool.server);
        let restates = within && fixed;
        let fits = if restates { reachable } else { usable.min(reachable) / pooler.instances.value.max(1) };
        let why = if within {
            format!("another limit ends it at {reachable}; the size is never reached")
        } else {
            format!("{} logins fail when it fills, and clients are told that login failed", size - usable)
        };
        let finding = out.find(
            format!("pool {} of {size} can never fill: PostgreSQL has {usable} slots", pool.name.value),
            &pool.size.place,
            format!("{size} per user"),
        );
        finding
            .and(max, format!("{} - reserves = {usable}", max.value))
            .because(why)
            .fix(format!("write {}, or less", words::size_typed(pooler, pool, fits)))
            .write(&pool.size, fits.to_string())
            .matters(if within { Severity::Info } else { Severity::Warning });
        if restates {
            finding.safe();
        }
    }
}
