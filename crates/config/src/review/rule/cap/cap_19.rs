//! CAP-19: connections kept open that nobody needs, and others cannot have.

use crate::finding::Severity;
use crate::review::chain::{Kind, Pool, Pooler, Postgres};
use crate::review::dossier::Dossier;
use crate::review::need::POOLER;
use crate::review::rule::{Out, Rule};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-19",
    severity: Severity::Warning,
    title: "the floor of idle connections starves others",
    condition: "N x sum of min_size x users > (U - O) / 2, or recorded: min_size >= 10 and busy p99 < min_size / 2",
    why: "Connections that are kept open are taken from everybody else for good, and they pin the metric that would show the use: \
          one fleet stood at 900 backends for days, all of them floor. Half of the slots leaves no room for pools that must grow.",
    fix: "keep open what is usually busy (p95), no more",
    needs: &[POOLER],
    check,
};

/// A floor below this costs nothing worth a word.
const SMALL: u64 = 10;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (server, postgres) in of.postgres.iter().enumerate() {
        for pooler in of.poolers.iter().filter(|pooler| pooler.uses(server)) {
            starves(pooler, server, postgres, out);
        }
    }
    for (pooler, pool) in of.pools() {
        unused(of, pooler, pool, out);
    }
}

fn starves(pooler: &Pooler, server: usize, postgres: &Postgres, out: &mut Out<'_>) {
    let (Some(left), Some(max)) = (postgres.left(), &postgres.max_connections) else { return };
    let pools = || pooler.pools.iter().filter(|pool| pool.server == server);
    let floors = pools().map(|pool| pool.min_size.value.saturating_mul(pool.known_users()));
    let floor = floors.fold(0, u64::saturating_add).saturating_mul(pooler.instances.value);
    let Some(pool) = pools().max_by_key(|pool| pool.min_size.value).filter(|_| floor > left / 2) else { return };
    let new = pool.min_size.value.saturating_mul(left / 2) / floor.max(1);
    out.find(
        format!("{floor} of {left} slots are kept by idle connections"),
        &pool.min_size.place,
        format!(
            "{} per user, in each of {} databases and {} instances",
            pool.min_size.value,
            pools().count(),
            pooler.instances.value
        ),
    )
    .and(max, format!("{left} are left of {}", max.value))
    .because("what is kept is not there for pools that must grow")
    .fix(format!("write {} = {new}", words::min_size_key(pooler, pool)))
    .write(&pool.min_size, new.to_string());
}

/// Kept, and even the busiest hundredth of the time does not use half of it.
fn unused(of: &Dossier, pooler: &Pooler, pool: &Pool, out: &mut Out<'_>) {
    let Some(busy) = of.fact(&format!("pool.{}.busy_p99", pool.name.value)) else { return };
    let kept = pool.min_size.value.saturating_mul(pool.known_users());
    if pooler.kind == Kind::RdsProxy || kept < SMALL || busy.value >= kept as f64 / 2.0 {
        return;
    }
    let new = (busy.value.max(0.0).ceil() as u64).div_ceil(pool.known_users());
    out.find(
        format!(
            "pool {}: {kept} connections are kept, and at most {:.1} are busy 99 % of the time",
            pool.name.value, busy.value
        ),
        &pool.min_size.place,
        format!("{} per user", pool.min_size.value),
    )
    .and(&busy, "as recorded")
    .because("backends of PostgreSQL are held that nobody uses, and occupancy never shows it")
    .fix(format!("write {} = {new}", words::min_size_key(pooler, pool)))
    .write(&pool.min_size, new.to_string());
}
