//! OBS-04: whoever is called comes after the users.
//!
//! Of several alerts about a pool the first one counts: a slow one beside a fast one is good practice. Where nothing tells how
//! fast the pool fills, the bound is what clients bear; and below a minute nobody is called sooner, so that much is let pass.

use std::time::Duration;

use super::ask::{self, Asked};
use super::{labels, metrics};
use crate::finding::Severity;
use crate::review::chain::{Bound, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{ALERTS, POOLER, REQUEST_TIMEOUT};
use crate::review::place::{Known, Place};
use crate::review::rule::{Out, Rule};
use crate::review::source::promql::Expr;
use crate::review::traffic;
use crate::unit::show_duration;

pub(super) const RULE: Rule = Rule {
    code: "OBS-04",
    severity: Severity::Warning,
    title: "the alert comes after the users",
    condition: "for: of the fastest alert on waits, refusals or the use of a pool > max(1 min, min(t_wait, t_req)); of one on its use \
                (s - busy_p95) / growth more, where pool.NAME.busy_growth_1m tells it",
    why: "for: 5m begins when the pool is full. Clients give up after a request's limit or query_wait_timeout, so for minutes \
          users get errors and nobody is called, and a spike that ends before was never there. A rate over a counter of waits needs \
          no for: it is as quiet, and comes at once.",
    fix: "a burn-rate alert on the pooler's counter of waits, and for: no longer than clients wait",
    needs: &[POOLER, ALERTS],
    check,
};

/// Nobody is called sooner than this: what Alertmanager gathers, and what people take to look.
const CALLED: Duration = Duration::from_secs(60);

fn check(of: &Dossier, out: &mut Out<'_>) {
    let asked = ask::asked(of);
    let all: Vec<&Asked<'_>> = asked.iter().filter(|asked| is_of_exhaustion(asked)).collect();
    let mut seen: Vec<&Place> = Vec::new();
    for (pooler, pool) in of.pools() {
        let about: Vec<&Asked<'_>> = all.iter().filter(|asked| asked.is_about(of, pooler, pool)).copied().collect();
        let Some(first) = about.iter().min_by_key(|asked| asked.alert.hold.value) else {
            out.lacks(ALERTS, &format!("pool {}", pool.name.value));
            continue;
        };
        let Some(patience) = traffic::gives_up(of, pooler, pool) else {
            out.lacks(REQUEST_TIMEOUT, &format!("pool {}", pool.name.value));
            continue;
        };
        let fills = fills(of, pooler, pool);
        let in_time = |asked: &Asked<'_>| {
            let before = if asked.asks(metrics::is_of_waits) { Duration::ZERO } else { fills.unwrap_or_default() };
            asked.alert.hold.value <= before.saturating_add(patience.value).max(CALLED)
        };
        if about.iter().any(|asked| in_time(asked)) || seen.contains(&&first.alert.hold.place) {
            continue;
        }
        seen.push(&first.alert.hold.place);
        report((pooler, pool), first, &patience, out);
    }
}

fn report((pooler, pool): (&Pooler, &Pool), first: &Asked<'_>, patience: &Known<Duration>, out: &mut Out<'_>) {
    let hold = &first.alert.hold;
    let (after, gives_up) = (show_duration(hold.value), show_duration(patience.value));
    let write = show_duration(patience.value.max(CALLED));
    let late = show_duration(hold.value.saturating_sub(patience.value));
    out.find(
        format!(
            "alert {} fires after {after}, and clients of pool {} give up after {gives_up}",
            first.alert.name.value, pool.name.value
        ),
        &hold.place,
        "from when its condition holds",
    )
    .and(patience, format!("given up after {gives_up}"))
    .because(format!("for {late} users get errors and nobody is called; what ends before is never told"))
    .fix(format!("write for: {write}, or alert without it on {}", ask::burn_rate(pooler.kind)))
    .write(hold, write);
}

/// Whether an alert says that a pool is full or that clients wait: it asks for more than a number, and may fire.
fn is_of_exhaustion(asked: &Asked<'_>) -> bool {
    let about = asked.asks(|metric| metrics::is_of_waits(metric) || metrics::is_of_fullness(metric));
    let more = [">", ">="].into_iter().any(|op| !asked.expr.sides(op).is_empty());
    let is = || asked.expr.sides("==").into_iter().any(|(_, right)| matches!(right, Expr::Number(number) if *number > 0.0));
    about && (more || is()) && labels::apart(&asked.expr).is_empty()
}

/// How long a pool takes to be full, from what is usual, by the steepest minute that was recorded.
fn fills(of: &Dossier, pooler: &Pooler, pool: &Pool) -> Option<Duration> {
    let name = &pool.name.value;
    let growth = of.fact(&format!("pool.{name}.busy_growth_1m"))?.value;
    let usual = of.fact(&format!("pool.{name}.busy_p95")).map(|known| known.value);
    let usual = usual.or_else(|| Some(traffic::of_pool(of, pooler, pool)?.load()))?;
    let Bound::Of(most) = pooler.pool_most(pool) else { return None };
    let minutes = (most as f64 - usual).max(0.0) / growth;
    Duration::try_from_secs_f64(minutes * 60.0).ok().or((growth <= 0.0).then_some(Duration::MAX))
}
