//! CAP-18: an empty pool takes longer to fill than clients wait.

use crate::finding::Severity;
use crate::review::chain::{Bound, Kind, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{POOLER, RECORDED};
use crate::review::rule::{Out, Rule};
use crate::review::traffic;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-18",
    severity: Severity::Warning,
    title: "a cold pool fills slower than clients wait",
    condition: "rounds x connect p50 > min(t_wait, t_req), with rounds = n - min_size in PgBouncer, 4 at once doubling to 16 in \
                poolwarden; n = the p95 of busy connections, or s",
    why: "PgBouncer opens one connection of a pool at a time. After a restart, a failover or a quiet night the first burst waits \
          for the whole ramp: 32 clients needed 19.7 s where 10.5 s was the time of one. poolwarden connects in parallel, so the \
          same pool needs a sixth of it and less.",
    fix: "keep as many connections open as are usually busy",
    needs: &[POOLER, RECORDED],
    check,
};

/// How poolwarden's connects grow: the first round, and the most at once.
const FIRST_ROUND: u64 = 4;
const LARGEST_ROUND: u64 = 16;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools() {
        let name = &pool.name.value;
        let Some(connect) = of.fact(&format!("pool.{name}.connect_p50_ms")) else {
            out.lacks(RECORDED, name);
            continue;
        };
        let (Some(patience), Bound::Of(size)) = (traffic::patience(of, pooler, pool), pool.size.value) else {
            continue;
        };
        let busy = of.fact(&format!("pool.{name}.busy_p95"));
        let target = busy.as_ref().map_or(size, |known| (known.value.max(0.0).ceil() as u64).min(size));
        let seconds = |kept: u64| rounds(pooler.kind, target.saturating_sub(kept)) as f64 * connect.value / 1000.0;
        let ramp = seconds(pool.min_size.value);
        if ramp <= patience {
            continue;
        }
        let kept = (pool.min_size.value..target).find(|kept| seconds(*kept) <= patience).unwrap_or(target);
        report(pooler, pool, &format!("{ramp:.1} s to open {target}, and its clients wait {patience:.1} s"), kept, out)
            .and(&connect, format!("{:.0} ms for each connection", connect.value));
    }
}

fn report<'o>(
    pooler: &Pooler,
    pool: &Pool,
    how_long: &str,
    kept: u64,
    out: &'o mut Out<'_>,
) -> &'o mut crate::review::finding::Finding {
    let min = &pool.min_size;
    out.find(
        format!("pool {}: empty, it needs {how_long}", pool.name.value),
        &min.place,
        format!("{} kept open", min.value),
    )
    .and(&pool.max_wait, format!("clients wait {} at most", words::limit(pool.max_wait.value)))
    .because("after a restart or a quiet hour the first burst is refused while connections are opened")
    .fix(format!("write {} = {kept}", words::min_size_key(pooler, pool)))
    .write(min, kept.to_string())
}

/// Connects that must come one after another to open so many.
fn rounds(kind: Kind, missing: u64) -> u64 {
    match kind {
        Kind::PgBouncer => missing,
        Kind::Poolwarden => {
            let (mut left, mut at_once, mut rounds) = (missing, FIRST_ROUND, 0);
            while left > 0 && at_once < LARGEST_ROUND {
                left = left.saturating_sub(at_once);
                at_once = (at_once * 2).min(LARGEST_ROUND);
                rounds += 1;
            }
            rounds + left.div_ceil(LARGEST_ROUND)
        }
        Kind::RdsProxy | Kind::Odyssey => 0, // nothing is published of theirs
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, rounds};

    #[test]
    fn poolwarden_doubles_from_four_to_sixteen_and_pgbouncer_opens_one_by_one() {
        let poolwarden = [0, 4, 5, 12, 13, 28, 29, 44, 45].map(|missing| rounds(Kind::Poolwarden, missing));
        assert_eq!(poolwarden, [0, 1, 2, 2, 3, 3, 4, 4, 5]);
        assert_eq!(rounds(Kind::PgBouncer, 20), 20);
    }
}
