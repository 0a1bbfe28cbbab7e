//! CAP-12: with half as much traffic again, waits reach what clients bear.
//!
//! The judgement is a queueing estimate ([`crate::review::traffic`]), or the waits that were recorded where they already are too
//! long; `poolwarden simulate --recording` replays the arrivals themselves.

use crate::finding::Severity;
use crate::review::chain::{Bound, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{REQUEST_TIMEOUT, TRAFFIC};
use crate::review::rule::{Out, Rule};
use crate::review::traffic::{self, Traffic};
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-12",
    severity: Severity::Warning,
    title: "the pool has no room for half as much traffic again",
    condition: "p99 of the wait > min(t_wait, t_req) / 2: as recorded, or by Erlang C with lambda x 1.5, h and min(s, mdc, host \
                budget)",
    why: "Averages hide bursts: at a mean of 60 % busy, bursts of one second made the p99 of waits 260 times longer than the \
          average says. A pool that waits for half of what clients bear once traffic grows by half has no room for the next burst. \
          The estimate takes arrivals as independent, so what it calls too small is too small; simulate says how much more.",
    fix: "size the pool for 1.5 times the peak, and confirm it with poolwarden simulate",
    needs: &[TRAFFIC],
    check,
};

/// Traffic that a pool must bear: half as much again as the peak.
pub(super) const AHEAD: f64 = 1.5;
/// Share of the clients' patience that waits may take.
const BEARABLE: f64 = 0.5;

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools() {
        let traffic = traffic::of_pool(of, pooler, pool);
        let waited = of.fact(&format!("pool.{}.wait_p99_ms", pool.name.value));
        if traffic.is_none() && waited.is_none() {
            continue;
        }
        let Some(level) = level(of, pooler, pool) else {
            out.lacks(REQUEST_TIMEOUT, &pool.name.value);
            continue;
        };
        if let Some(known) = waited.filter(|known| known.value / 1000.0 > level) {
            let message = format!(
                "pool {}: one request in a hundred waited {:.0} ms, more than the {} that are bearable",
                pool.name.value,
                known.value,
                millis(level)
            );
            let bound = traffic::bounding(pooler, pool);
            out.find(message, &bound.place, format!("{} server connections", words::size(bound.value)))
                .and(&known, "as recorded")
                .and(&pool.max_wait, format!("clients wait {} at most", words::limit(pool.max_wait.value)))
                .because("the next burst ends in refusals")
                .fix("run poolwarden simulate --recording: it prints the smallest size that is enough");
        } else if let Some(traffic) = traffic {
            estimate(of, (pooler, pool), &traffic, level, out);
        }
    }
}

/// Seconds in words.
fn millis(seconds: f64) -> String {
    format!("{:.0} ms", seconds * 1000.0)
}

/// Half of what clients bear, in seconds.
pub(super) fn level(of: &Dossier, pooler: &Pooler, pool: &Pool) -> Option<f64> {
    Some(traffic::patience(of, pooler, pool)? * BEARABLE)
}

fn estimate(of: &Dossier, (pooler, pool): (&Pooler, &Pool), traffic: &Traffic, level: f64, out: &mut Out<'_>) {
    let Bound::Of(most) = pooler.pool_most(pool) else { return };
    if traffic.load() >= most as f64 {
        return; // CAP-11 speaks of these
    }
    let wait = traffic::wait_p99(traffic.rate * AHEAD, traffic.hold, most);
    if wait.is_some_and(|wait| wait <= level) {
        return;
    }
    let Some(enough) = traffic::enough(traffic.rate * AHEAD, traffic.hold, level) else { return };
    let bound = traffic::bounding(pooler, pool);
    let (fix, new) = words::raise(of, pooler, pool, bound, enough);
    let comes =
        wait.map_or_else(|| "grow without bound".to_owned(), |wait| format!("reach {} (p99)", millis(wait)));
    let finding = out.find(
        format!(
            "pool {}: with half as much traffic again waits {comes}; {} are bearable",
            pool.name.value,
            millis(level)
        ),
        &bound.place,
        format!("{most} server connections per instance, {:.1} busy at the {} peak", traffic.load(), traffic.source),
    );
    finding
        .and(&traffic.rate_at, format!("{:.0} requests a second per instance", traffic.rate))
        .and(&traffic.hold_at, format!("{:.1} ms each", traffic.hold * 1000.0))
        .because("estimated by Erlang C, which knows no bursts: real waits are longer")
        .fix(fix);
    if let Some(new) = new {
        finding.write(bound, new.to_string());
    }
}
