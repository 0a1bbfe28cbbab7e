//! CAP-13: a deployment tips it over.

use crate::finding::Severity;
use crate::review::chain::{App, Bound};
use crate::review::dossier::Dossier;
use crate::review::need::{APP, APP_POOL_SIZE};
use crate::review::rule::cap::cap_05::{needed, rounded};
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-13",
    severity: Severity::Warning,
    title: "limits hold, but not while deploying",
    condition: "CAP-01 or CAP-05 hold with D = R(1 + u)WkP, and not with u = 0",
    why: "While a deployment is rolled out, old and new replicas run together, each with full pools. Deploys tip such a system over, \
          not traffic: it looks as if the new version were at fault, and rolling back makes the overlap longer.",
    fix: "count the surge: smaller pools per replica, or close the old replicas' pools before the new ones start",
    needs: &[APP, APP_POOL_SIZE],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        let Some(left) = postgres.left() else { continue };
        let (calm, deploying) = (of.consumers(server, false).total(), of.consumers(server, true).total());
        let surging = of.direct(server).max_by_key(|app| extra(app));
        let Some(app) = surging.filter(|_| calm <= left && deploying > left) else { continue };
        let message =
            format!("while deploying, backends exceed PostgreSQL's slots: {deploying} > {left} ({calm} otherwise)");
        let room = left.saturating_sub(deploying - app.demand(true).and_then(Bound::number).unwrap_or(0));
        let finding = report(app, message, room, out);
        if let Some(max) = &postgres.max_connections {
            finding.and(max, format!("{left} are left of {}", max.value));
        }
        finding.because(format!("{} connects are refused (SQLSTATE 53300) during each rollout", deploying - left));
    }
    for pooler in &of.poolers {
        let Bound::Of(most) = pooler.max_clients.value else { continue };
        let (calm, deploying) = (needed(of, pooler, false), needed(of, pooler, true));
        let surging = of.clients(pooler).map(|(app, _)| app).max_by_key(|app| extra(app));
        let Some(app) = surging.filter(|_| calm <= most && deploying > most) else { continue };
        let message =
            format!("while deploying, {deploying} clients come to an instance that lets {most} in ({calm} otherwise)");
        let place = app.surge.as_ref().map_or(&app.place, |known| &known.place);
        let enough = rounded(deploying);
        out.find(message, &pooler.max_clients.place, format!("{most} clients per instance"))
            .and(&crate::review::place::Known { value: (), place: place.clone() }, words::factors(app, true))
            .because(format!("{} clients are refused at login during each rollout", deploying - most))
            .fix(format!(
                "write {} = {enough}, and let the process open as many files",
                words::clients_key(pooler.kind)
            ))
            .write(&pooler.max_clients, enough.to_string());
    }
}

/// Connections that a deployment adds.
fn extra(app: &App) -> u64 {
    let (calm, deploying) = (app.demand(false).and_then(Bound::number), app.demand(true).and_then(Bound::number));
    deploying.unwrap_or(0).saturating_sub(calm.unwrap_or(0))
}

fn report<'o>(app: &App, message: String, room: u64, out: &'o mut Out<'_>) -> &'o mut crate::review::finding::Finding {
    let place = app.pool_size.as_ref().map_or(&app.place, |known| &known.place);
    let count = app.pool_count(true).and_then(Bound::number).unwrap_or(1).max(1);
    let size = room / count;
    let finding = out.find(message, place, format!("{}: {}", app.name, words::factors(app, true)));
    if let Some(surge) = &app.surge {
        finding.and(surge, format!("{:.0} % more replicas while deploying", surge.value * 100.0));
    }
    if size == 0 {
        finding.fix("replace replicas one at a time (surge 0), or put a pooler in transaction mode between");
    } else {
        finding.fix(format!("write {} in {}, or replace replicas without surge", words::app_size(app, size), app.name));
        words::resize(finding, app, size);
    }
    finding
}
