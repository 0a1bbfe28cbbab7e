//! MOD-01: a pool in session mode that has fewer server connections than its applications keep.

use poolwarden_pool::Mode;

use crate::finding::Severity;
use crate::review::chain::{App, Bound, Postgres};
use crate::review::dossier::Dossier;
use crate::review::need::{APP_POOL_SIZE, APP_REPLICAS, POOLER};
use crate::review::rule::{Out, Rule};
use crate::review::sums::{least, plus, times};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "MOD-01",
    severity: Severity::Error,
    title: "session mode in front of applications that keep their connections",
    condition: "mode is session, and sum over the pool's applications of R x W x k x min(P, what they keep idle) > min(N x min(s + r, \
                mdc, host budget), U - O)",
    why: "In session mode a client has its server connection until it disconnects. Applications that pool themselves do not \
          disconnect: the pooler is a proxy with a limit, not a pool, and whoever comes after the limit waits until somebody's \
          process ends. 611 clients met 577 server connections like that. Applications that keep few idle connections count for \
          those alone.",
    fix: "pool by transaction, or keep fewer connections in the applications than the pool has",
    needs: &[POOLER, APP_POOL_SIZE],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools().filter(|(_, pool)| pool.mode.value == Mode::Session) {
        let mut apps: Vec<(&App, Bound)> = Vec::new();
        for (app, _) in of.clients(pooler).filter(|(_, other)| std::ptr::eq(*other, pool)) {
            match kept(app) {
                Some(kept) => apps.push((app, kept)),
                None => out.lacks(if app.pool_size.is_none() { APP_POOL_SIZE } else { APP_REPLICAS }, &app.name),
            }
        }
        let all = apps.iter().fold(Bound::Of(0), |sum, (_, kept)| plus(sum, *kept));
        let slots = of.postgres.get(pool.server).and_then(Postgres::left).map_or(Bound::Unlimited, Bound::Of);
        let pools = times(pooler.pool_most(pool), pooler.instances.value);
        let Bound::Of(most) = least(pools, slots) else { continue };
        if all.number().is_some_and(|all| all <= most) {
            continue;
        }
        let key = words::pool_key(pooler, pool, "mode", "pool_mode");
        let mode = if key == "pool_mode" { "transaction" } else { "\"transaction\"" };
        let finding = out.find(
            format!(
                "pool {}: {} clients keep a server connection each in session mode, and it has {most}",
                pool.name.value,
                words::size(all)
            ),
            &pool.mode.place,
            "one server connection per client",
        );
        let max = of.postgres.get(pool.server).and_then(|postgres| postgres.max_connections.as_ref());
        match max.filter(|_| pools != Bound::Of(most)) {
            Some(max) => finding.and(max, format!("{most} slots are left of {}", max.value)),
            None => finding.and(&pool.size, format!("{most} in all")),
        };
        for (app, kept) in &apps {
            let place = app.pool_size.as_ref().map_or(&app.place, |known| &known.place);
            let at = crate::review::place::Known { value: (), place: place.clone() };
            finding.and(&at, format!("{} keeps {}: {}", app.name, words::size(*kept), words::factors(app, false)));
        }
        finding
            .because(match all {
                Bound::Of(all) => format!("{} of them wait until a process of the others ends", all - most),
                Bound::Unlimited => "all beyond it wait until a process of the others ends".to_owned(),
            })
            .fix(format!("write {key} = {mode}"))
            .write(&pool.mode, mode);
    }
}

/// Connections an application keeps open when it has them.
fn kept(app: &App) -> Option<Bound> {
    let all = app.demand(false)?;
    let idle = app.max_idle.as_ref().map(|known| known.value);
    let (Some(idle), Some(count)) = (idle, app.pool_count(false)) else { return Some(all) };
    Some(least(all, times(count, idle)))
}
