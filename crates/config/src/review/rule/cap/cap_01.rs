//! CAP-01: more backends can come than PostgreSQL has slots for.

use crate::finding::Severity;
use crate::review::chain::{App, Bound, Pooler, Postgres};
use crate::review::dossier::Dossier;
use crate::review::finding::Finding;
use crate::review::need::{APP_POOL_SIZE, APP_REPLICAS, PG_MAX_CONNECTIONS};
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::sums::{Consumer, Consumers};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-01",
    severity: Severity::Error,
    title: "more backends can come than PostgreSQL has slots for",
    condition: "sum of B of all poolers + D of applications without pooler > U - O",
    why: "When every pool is full at once, PostgreSQL refuses whoever comes next with 53300, administrators included. It stays \
          hidden until the first busy hour: one operator had 9,000 possible backends before 5,000 slots and met the end of them \
          for 88 minutes. A host budget that is auto gives way to the others and cannot cause it.",
    fix: "bound what each pooler may open: the host budget, or a limit per database, at (U - O) / instances",
    needs: &[PG_MAX_CONNECTIONS],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        for app in of.direct(server).filter(|app| app.demand(false).is_none()) {
            out.lacks(if app.pool_size.is_none() { APP_POOL_SIZE } else { APP_REPLICAS }, &app.name);
        }
        let Some(left) = postgres.left() else {
            out.lacks(PG_MAX_CONNECTIONS, &postgres.name);
            continue;
        };
        let all = of.consumers(server, false);
        if all.total() > left {
            report(&all, server, postgres, left, out);
        }
    }
}

fn report(all: &Consumers<'_>, server: usize, postgres: &Postgres, left: u64, out: &mut Out<'_>) {
    let total = all.total();
    let Some(((greediest, most), others)) = all.0.split_first() else { return };
    let room = left.saturating_sub(total - most);
    let (place, label) = words::consumer(*greediest, server, *most);
    let finding = out.find(format!("backends can exceed PostgreSQL's slots: {total} > {left}"), &place, label);
    for (other, most) in others {
        let (place, label) = words::consumer(*other, server, *most);
        finding.and(&Known { value: (), place }, label);
    }
    if let Some(max) = &postgres.max_connections {
        finding.and(max, format!("{} - reserves - others = {left}", max.value));
    }
    if let Some(known) = postgres.others.as_ref().filter(|known| known.value > 0) {
        finding.and(known, format!("{} of others", known.value));
    }
    finding.because(format!(
        "with full pools {} connects are refused (SQLSTATE 53300), administrators included",
        total - left
    ));
    match greediest {
        Consumer::Pooler(pooler) => shrink_pooler(pooler, server, postgres, room, finding),
        Consumer::App(app) => shrink_app(app, room, finding),
    }
}

/// Bounds each instance to its share of `room`.
fn shrink_pooler(pooler: &Pooler, server: usize, postgres: &Postgres, room: u64, finding: &mut Finding) {
    let share = room / pooler.instances.value.max(1);
    if share == 0 {
        finding.fix(format!("shrink the others first: they leave {room} for {} instances", pooler.instances.value));
        return;
    }
    finding.and(&pooler.instances, format!("{} instances", pooler.instances.value));
    finding.fix(words::bound_to(pooler, server, postgres, share));
    let mut pools = pooler.pools.iter().filter(|pool| pool.server == server);
    let bound = match (pooler.budgets.get(&server), pools.next(), pools.next()) {
        (Some(budget), _, _) => budget,
        (None, Some(pool), None) if pool.max_connections.value != Bound::Unlimited => &pool.max_connections,
        (None, _, _) => return,
    };
    finding.write(bound, share.to_string());
}

/// Makes each pool of the application so small that all of them fit into `room`.
fn shrink_app(app: &App, room: u64, finding: &mut Finding) {
    let count = app.pool_count(false).and_then(Bound::number).unwrap_or(1).max(1);
    let size = room / count;
    if size == 0 {
        finding.fix(format!(
            "{room} slots for {count} pools: put a pooler in transaction mode between, or fewer replicas"
        ));
        return;
    }
    let typed = words::app_size(app, size);
    finding.fix(format!("write {typed} in {}: {count} pools x {size} fit into {room}", app.name));
    words::resize(finding, app, size);
}
