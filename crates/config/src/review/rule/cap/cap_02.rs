//! CAP-02: nothing bounds how many backends a pooler opens.

use crate::finding::Severity;
use crate::review::chain::{Bound, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::POOLER;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-02",
    severity: Severity::Error,
    title: "nothing bounds how many backends the pooler opens",
    condition: "no host budget and mdc = 0 and muc = 0 and (database * or users from auth_query without a forced user)",
    why: "A pool exists per (database, user). Where clients choose the names, each new pair is another pool of s connections, and \
          PgBouncer has no limit over all of them. With both open, databases and users, it is an error; with one of them open \
          a warning, for then PostgreSQL's own list of databases or roles is the bound.",
    fix: "write a limit per database (max_db_connections), or use poolwarden's host budget, which is one limit over all pools",
    needs: &[POOLER],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools() {
        let Some((open, severity)) = open_names(pooler, pool) else { continue };
        if pool.max_connections.value != Bound::Unlimited || is_bounded(pooler, pool) {
            continue;
        }
        let each = words::size(pool.each());
        let label = format!("{each} per (database, user), and any {open} is served");
        let message = format!("pool {}: backends are unbounded: {each} for each {open} that comes", pool.name.value);
        let share = of.postgres.get(pool.server).and_then(|postgres| {
            let share = postgres.left()? / pooler.instances.value.max(1);
            Some(words::bound_to(pooler, pool.server, postgres, share))
        });
        out.find(message, &pool.name.place, label)
            .and(&pool.max_connections, "no limit of server connections")
            .because(format!("each new {open} opens up to {each} backends until PostgreSQL refuses with 53300"))
            .fix(share.unwrap_or_else(|| {
                "write max_db_connections = (max_connections - reserves - others) / instances".to_owned()
            }))
            .matters(severity);
    }
}

/// What of the pair clients may choose freely, and how much that matters.
fn open_names(pooler: &Pooler, pool: &Pool) -> Option<(&'static str, Severity)> {
    let any_database = pool.name.value == "*";
    let any_user = pool.users.is_empty() && pooler.any_user.as_ref().is_some_and(|known| known.value);
    match (any_database, any_user) {
        (true, true) => Some(("database and user", Severity::Error)),
        (true, false) => Some(("database", Severity::Warning)),
        (false, true) => Some(("user", Severity::Warning)),
        (false, false) => None,
    }
}

/// Whether the host budget, or a limit of every user whose names are closed, bounds it.
fn is_bounded(pooler: &Pooler, pool: &Pool) -> bool {
    let budget = pooler.budgets.get(&pool.server).is_some_and(|budget| budget.value != Bound::Unlimited);
    let users = !pool.users.is_empty() && pool.users.iter().all(|user| pooler.user_limit(user) != Bound::Unlimited);
    budget || users
}
