//! DLK-01: work that holds several connections at once can deadlock in its own pool.

use poolwarden_pool::Mode;

use crate::finding::Severity;
use crate::review::chain::{App, Bound};
use crate::review::dossier::Dossier;
use crate::review::need::{APP_POOL_SIZE, APP_THREADS};
use crate::review::rule::{Out, Rule};
use crate::review::sums::times;
use crate::review::traffic::bounding;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "DLK-01",
    severity: Severity::Error,
    title: "work that needs several connections at once can deadlock in the pool",
    condition: "P < T x (d - 1) + 1 for d >= 2, per process; through a pool in session mode also N x min(s + r, mdc, host budget) < \
                R x W x T x (d - 1) + 1; with k pools per process d is of one of them: ceil(d / k)",
    why: "Each unit of work holds some connections and waits for one more. When all threads stand like that and the pool is empty, \
          none ever gets on: under load alone, never in a test. T x (d - 1) + 1 connections are what lets at least one finish. \
          HikariCP's manual has the formula, and its authors refused to detect the case at run time.",
    fix: "a pool of T x (d - 1) + 1, or one connection at a time per unit of work",
    needs: &[APP_POOL_SIZE, APP_THREADS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for app in of.apps.iter().filter(|app| at_once(app) > 1) {
        let (Some(size), Some(threads)) = (&app.pool_size, &app.threads) else {
            out.lacks(if app.pool_size.is_none() { APP_POOL_SIZE } else { APP_THREADS }, &app.name);
            continue;
        };
        let needed = needed(threads.value, at_once(app));
        if size.value.number().is_none_or(|size| size >= needed) {
            through_sessions(of, app, out);
            continue;
        }
        let (have, once) = (words::size(size.value), at_once(app));
        let finding = out.find(
            format!(
                "{}: {} threads take {once} connections each from a pool of {have}, and {needed} are needed",
                app.name, threads.value
            ),
            &size.place,
            format!("{have} per process"),
        );
        finding.and(threads, format!("{} at once", threads.value));
        if let Some(per_unit) = &app.per_unit {
            finding.and(per_unit, format!("{} connections held by each", per_unit.value));
        }
        finding
            .because(
                "under load all threads can hold a connection and wait for another, until their waits end in errors",
            )
            .fix(format!("write {}, or let each unit of work hold one connection", words::app_size(app, needed)));
        words::resize(finding, app, needed);
    }
}

/// The same in the pool of the pooler, where its clients keep server connections.
fn through_sessions(of: &Dossier, app: &App, out: &mut Out<'_>) {
    let Some((pooler, pool)) = of.route(app).filter(|(_, pool)| pool.mode.value == Mode::Session) else { return };
    let Some(replicas) = app.replicas.as_ref().and_then(|known| known.value.number()) else { return };
    let processes = app.processes.as_ref().map_or(1, |known| known.value);
    let Some(threads) =
        app.threads.as_ref().map(|known| known.value.saturating_mul(processes).saturating_mul(replicas))
    else {
        return;
    };
    let needed = needed(threads, at_once(app));
    let Bound::Of(most) = times(pooler.pool_most(pool), pooler.instances.value) else { return };
    if most >= needed {
        return;
    }
    let instances = pooler.instances.value.max(1);
    let known = bounding(pooler, pool);
    let (fix, new) = words::raise(of, pooler, pool, known, needed.div_ceil(instances));
    let finding = out.find(
        format!(
            "pool {}: {threads} units of work of {} hold {} sessions each, and it has {most} of {needed}",
            pool.name.value,
            app.name,
            at_once(app)
        ),
        &known.place,
        format!("{most} server connections in all"),
    );
    finding.and(&pool.mode, "a client keeps its server connection");
    if let Some(per_unit) = &app.per_unit {
        finding.and(per_unit, format!("{} held at once", per_unit.value));
    }
    finding
        .because("under load all units can hold a session and wait for another, until their waits end in errors")
        .fix(format!("{fix}, or let each unit of work hold one connection"));
    if let Some(new) = new {
        finding.write(known, new.to_string());
    }
}

/// Connections that one unit of work surely holds of one pool.
fn at_once(app: &App) -> u64 {
    app.per_unit.as_ref().map_or(1, |known| known.value).div_ceil(app.pools.len().max(1) as u64)
}

/// T x (d - 1) + 1: with it one of them has all it needs, whatever the others hold.
fn needed(threads: u64, at_once: u64) -> u64 {
    threads.saturating_mul(at_once.saturating_sub(1)).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::needed;

    #[test]
    fn one_more_than_all_threads_hold_while_they_wait() {
        assert_eq!([needed(8, 2), needed(3, 4), needed(5, 1), needed(u64::MAX, 3)], [9, 10, 1, u64::MAX]);
    }
}
