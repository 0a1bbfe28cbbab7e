//! CAP-06: a database's limit of clients below its limit of server connections, or below its clients.

use crate::finding::Severity;
use crate::review::chain::{Bound, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::POOLER;
use crate::review::rule::{Out, Rule};
use crate::review::sums::fullest;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-06",
    severity: Severity::Warning,
    title: "the database's limit of clients leaves no queue",
    condition: "0 < max_db_client_connections < max(D of the database x 1.25 / N, min(s + r, mdc))",
    why: "A pooler has more clients than server connections, or it pools nothing. Below the server connections the pool can never \
          fill; below the clients that are declared some of them are refused at login.",
    fix: "raise the database's limit of clients to the connections its applications open",
    needs: &[POOLER],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools() {
        let Some(limit) = &pool.max_clients else { continue };
        let Bound::Of(most) = limit.value else { continue };
        let servers = pooler.pool_most(pool).number().unwrap_or(0);
        let clients = clients(of, pooler, pool);
        let needed = servers.max(clients);
        if most == 0 || most >= needed {
            continue;
        }
        let name = &pool.name.value;
        let (message, why) = if clients > most {
            let why = format!("{} clients are refused at login", clients - most);
            (format!("database {name} lets {most} clients in, and {clients} can come"), why)
        } else {
            let why = format!("{} server connections can never be lent", servers - most);
            (format!("database {name} lets {most} clients in, fewer than its {servers} server connections"), why)
        };
        let finding = out.find(message, &limit.place, format!("{most} clients per instance"));
        finding.and(&pool.size, format!("up to {servers} server connections"));
        for (app, _) in of.clients(pooler).filter(|(_, other)| std::ptr::eq(*other, pool)) {
            if let Some(size) = &app.pool_size {
                finding.and(size, format!("{}: {}", app.name, words::factors(app, false)));
            }
        }
        finding
            .because(why)
            .fix(format!("write max_db_client_connections = {needed}"))
            .write(limit, needed.to_string());
    }
}

/// Clients of the database at the fullest instance.
fn clients(of: &Dossier, pooler: &Pooler, pool: &Pool) -> u64 {
    let here = of.clients(pooler).filter(|(_, other)| std::ptr::eq(*other, pool));
    let all = here.filter_map(|(app, _)| app.demand(false)?.number()).fold(0, u64::saturating_add);
    fullest(all, pooler.instances.value)
}
