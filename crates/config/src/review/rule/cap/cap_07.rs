//! CAP-07: PostgreSQL's own limit of a role or database is below what the pooler may open for it.

use std::collections::BTreeMap;

use crate::finding::Severity;
use crate::review::chain::{Bound, Postgres};
use crate::review::dossier::Dossier;
use crate::review::need::PG_ROLES;
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::sums::{plus, times};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-07",
    severity: Severity::Error,
    title: "PostgreSQL's CONNECTION LIMIT is below what comes",
    condition: "0 <= CONNECTION LIMIT of a role or database < N x cap of that role or database + D without pooler",
    why: "Connects end with \"too many connections for role\", while the pooler shows a pool that is not full. Nobody looks at \
          ALTER ROLE when a pool is green.",
    fix: "raise the CONNECTION LIMIT, or bound the pooler's database or user to it / instances",
    needs: &[PG_ROLES],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        for (name, role) in &postgres.roles {
            if let Some(limit) = &role.connection_limit {
                judge((of, server), ("role", name), limit, of_role(of, server, name), out);
            }
        }
        let databases = of_databases(of, server, postgres);
        for (name, limit) in &postgres.databases {
            judge(
                (of, server),
                ("database", name),
                limit,
                databases.get(name.as_str()).copied().unwrap_or(Bound::Of(0)),
                out,
            );
        }
    }
}

fn judge(
    (of, server): (&Dossier, usize),
    (what, name): (&str, &str),
    limit: &Known<i64>,
    comes: Bound,
    out: &mut Out<'_>,
) {
    let Ok(most) = u64::try_from(limit.value) else { return }; // -1: none
    let Bound::Of(comes) = comes else { return }; // CAP-02 speaks of these
    if comes <= most {
        return;
    }
    let finding = out.find(
        format!("{comes} backends can come for {what} {name}, and its CONNECTION LIMIT is {most}"),
        &limit.place,
        format!("CONNECTION LIMIT {most}"),
    );
    for (who, most) in of.consumers(server, false).0 {
        let (place, label) = words::consumer(who, server, most);
        finding.and(&Known { value: (), place }, label);
    }
    finding
        .because(format!("{} connects are refused with \"too many connections for {what}\" (53300)", comes - most))
        .fix(format!(
            "ALTER {} \"{name}\" CONNECTION LIMIT {comes};  or bound the pools to {most} together",
            what.to_uppercase()
        ));
}

/// Backends of a role.
fn of_role(of: &Dossier, server: usize, role: &str) -> Bound {
    let pooled = of.poolers.iter().fold(Bound::Of(0), |sum, pooler| plus(sum, pooler.role_backends(server, role)));
    let direct = of.direct(server).filter(|app| app.user.as_ref().is_some_and(|user| user.value == role));
    direct.filter_map(|app| app.demand(false)).fold(pooled, plus)
}

/// Backends by PostgreSQL's database, under whatever names the poolers have for it.
fn of_databases<'a>(of: &'a Dossier, server: usize, postgres: &'a Postgres) -> BTreeMap<&'a str, Bound> {
    let mut all: BTreeMap<&str, Bound> = postgres.databases.keys().map(|name| (name.as_str(), Bound::Of(0))).collect();
    for (pooler, pool) in of.pools().filter(|(_, pool)| pool.server == server) {
        let most = times(pooler.pool_most(pool), pooler.instances.value);
        if let Some(sum) = pool.database.as_deref().and_then(|database| all.get_mut(database)) {
            *sum = plus(*sum, most);
        }
    }
    for app in of.direct(server) {
        let name = app.pool.as_ref().map(|known| known.value.as_str());
        if let (Some(sum), Some(most)) = (name.and_then(|name| all.get_mut(name)), app.demand(false)) {
            *sum = plus(*sum, most);
        }
    }
    all
}
