//! CAP-08: no slot is kept for whoever must look.

use crate::finding::Severity;
use crate::review::chain::Postgres;
use crate::review::dossier::Dossier;
use crate::review::need::PG_RESERVES;
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "CAP-08",
    severity: Severity::Warning,
    title: "no slot is kept for whoever must look",
    condition: "SR = 0, or SR + RC < 3, or RC > 0 and the role of poolwarden's watch may not use it",
    why: "When all slots are taken, the reserved ones are how anybody still gets in: to see who holds them and to end it. Three is \
          PostgreSQL's own default: one for the person, one for the monitoring, one for the tool that was left open.",
    fix: "superuser_reserved_connections = 3, and from PostgreSQL 16 on reserved_connections for the roles that watch",
    needs: &[PG_RESERVES],
    check,
};

/// PostgreSQL's default of superuser_reserved_connections.
const LEAST: u64 = 3;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        too_few(postgres, out);
        watch_without(of, server, postgres, out);
    }
}

fn too_few(postgres: &Postgres, out: &mut Out<'_>) {
    let Some(superuser) = &postgres.superuser_reserved else {
        out.lacks(PG_RESERVES, &postgres.name);
        return;
    };
    let reserved = postgres.reserved.as_ref().map_or(0, |known| known.value);
    let together = superuser.value.saturating_add(reserved);
    if superuser.value > 0 && together >= LEAST {
        return;
    }
    let new = LEAST.saturating_sub(reserved).max(1);
    out.find(
        format!(
            "{} superuser and {reserved} other slots are reserved: nobody can get in when all are taken",
            superuser.value
        ),
        &superuser.place,
        format!("{} kept for superusers", superuser.value),
    )
    .because(
        "with all slots taken an administrator is refused like everybody else, and the only lever left is a restart",
    )
    .fix(format!("write superuser_reserved_connections = {new} in postgresql.conf (restart)"));
}

/// The watch connection's role where reserved slots exist that it may not use.
fn watch_without(of: &Dossier, server: usize, postgres: &Postgres, out: &mut Out<'_>) {
    let Some(reserved) = postgres.reserved.as_ref().filter(|known| known.value > 0) else { return };
    for pooler in of.poolers.iter().filter(|pooler| pooler.uses(server)) {
        let Some(user) = pooler.written.get(&format!("servers.{}.watch.user", postgres.name)) else { continue };
        if postgres.roles.get(&user.value).is_none_or(|role| role.reserved) {
            continue;
        }
        let name = &user.value;
        out.find(
            format!("{} slots are reserved, and the watch's role {name} may not use them", reserved.value),
            &user.place,
            format!("{name} has no pg_use_reserved_connections"),
        )
        .and(reserved, format!("reserved_connections = {}", reserved.value))
        .because("after a restart of PostgreSQL into a storm the watch is refused as long as the storm lasts")
        .fix(format!("GRANT pg_use_reserved_connections TO \"{name}\";"));
    }
}
