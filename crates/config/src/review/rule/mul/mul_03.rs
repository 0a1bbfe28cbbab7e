//! MUL-03: a process has more pools to the same PostgreSQL than somebody counted.

use crate::finding::Severity;
use crate::review::chain::{App, Bound};
use crate::review::dossier::Dossier;
use crate::review::need::APP;
use crate::review::rule::{Out, Rule};
use crate::review::sums::fullest;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "MUL-03",
    severity: Severity::Warning,
    title: "a process has a second pool",
    condition: "k > 1, and limits that hold with k = 1 do not hold with k; where they hold with k it is only worth knowing",
    why: "Migrations, evolutions, queues, caches and websockets bring pools of their own. A pool of 7 became 17 with a hidden pool \
          for evolutions, and six of them wanted 102 of 81 slots.",
    fix: "count the pools of a process, give the second one a small size of its own, or share one",
    needs: &[APP],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in of.apps.iter().filter(|app| app.pools.len() > 1) {
        let Some(second) = app.pools.get(1) else { continue };
        let count = app.pools.len();
        let broken = broken(of, app, count as u64);
        let names: Vec<&str> = app.pools.iter().map(|known| known.value.as_str()).collect();
        let finding = out.find(
            format!("{}: each process has {count} pools ({})", app.name, names.join(", ")),
            &second.place,
            second.value.clone(),
        );
        if let Some(size) = &app.pool_size {
            finding.and(size, words::factors(app, false));
        }
        match broken {
            Some((comes, limit, what)) => {
                finding.because(format!("{comes} connections come to {limit} {what}; one pool each would fit"))
            }
            None => finding.because("each adds its size times all processes").matters(Severity::Info),
        }
        .fix(format!("give {} a size of its own, 1 or 2 where it is rarely used, and count it", second.value));
    }
}

/// The limit that holds with one pool of each process, and not with all: what comes, the limit, and whose it is.
fn broken(of: &Dossier, app: &App, count: u64) -> Option<(u64, u64, &'static str)> {
    let Bound::Of(demand) = app.demand(false)? else { return None };
    let saved = demand - demand / count;
    let (comes, limit, one, what) = match of.route(app) {
        Some((pooler, _)) => {
            let demands = of.clients(pooler).filter_map(|(app, _)| app.demand(false)?.number());
            let all = demands.fold(0, u64::saturating_add);
            let instances = pooler.instances.value;
            let limit = pooler.max_clients.value.number()?;
            (
                fullest(all, instances),
                limit,
                fullest(all.saturating_sub(saved), instances),
                "client places of an instance",
            )
        }
        None => {
            let server = of.direct_server(app)?;
            let all = of.consumers(server, false).total();
            (all, of.postgres.get(server)?.left()?, all.saturating_sub(saved), "slots")
        }
    };
    (comes > limit && one <= limit).then_some((comes, limit, what))
}
