//! CAP-11: the pool is smaller than the connections that traffic keeps busy.

use crate::finding::Severity;
use crate::review::chain::{App, Bound, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::TRAFFIC;
use crate::review::rule::cap::cap_12::{AHEAD, level};
use crate::review::rule::mul::is_starved;
use crate::review::rule::{Out, Rule};
use crate::review::traffic;
use crate::review::words;

pub(super) const RULE: Rule = Rule {
    code: "CAP-11",
    severity: Severity::Error,
    title: "the pool is smaller than what traffic keeps busy",
    condition: "lambda x h >= N x min(s + r, mdc, host budget), in the busiest second; or lambda x h >= D, where MUL-06 does not \
                speak of it",
    why: "Arrivals times hold time is the number of connections in use on average (Little's law). At or above the size the queue \
          grows without bound as long as the peak lasts, and every request waits until its limit: a pool sized on an idle snapshot \
          met 1,071 timeouts within 41 minutes. The recorded peak is of one second, the declared one as it is written.",
    fix: "make the pool larger than lambda x h with room for bursts, or hold connections for a shorter time",
    needs: &[TRAFFIC],
    check,
};

fn check(of: &Dossier, out: &mut Out<'_>) {
    for (pooler, pool) in of.pools() {
        pooled(of, pooler, pool, out);
    }
    for app in of.apps.iter().filter(|app| is_starved(of, app).is_none()) {
        own(of, app, out);
    }
}

fn pooled(of: &Dossier, pooler: &Pooler, pool: &Pool, out: &mut Out<'_>) {
    let (Some(traffic), Bound::Of(most)) = (traffic::of_pool(of, pooler, pool), pooler.pool_most(pool)) else { return };
    let load = traffic.load();
    if load < most as f64 {
        return;
    }
    let needed = match level(of, pooler, pool) {
        Some(level) => traffic::enough(traffic.rate * AHEAD, traffic.hold, level),
        None => Some((load * AHEAD).ceil() as u64),
    };
    let size = needed.unwrap_or(u64::MAX);
    let known = traffic::bounding(pooler, pool);
    let (fix, new) = words::raise(of, pooler, pool, known, size);
    let (name, source) = (&pool.name.value, traffic.source);
    let finding = out.find(
        format!("pool {name}: {load:.1} connections are busy at the {source} peak, and it has {most}"),
        &known.place,
        format!("{most} server connections per instance"),
    );
    finding
        .and(&traffic.rate_at, format!("{:.0} requests a second per instance", traffic.rate))
        .and(&traffic.hold_at, format!("{:.1} ms each", traffic.hold * 1000.0))
        .because(format!(
            "while the peak lasts the queue grows by {:.0} requests a second",
            growth(traffic.rate, traffic.hold, most)
        ))
        .fix(format!("{fix}; or hold each connection for less than {:.1} ms", most as f64 / traffic.rate * 1000.0));
    if let Some(new) = new {
        finding.write(known, new.to_string());
    }
}

/// Requests a second that come beyond what `most` connections finish.
fn growth(rate: f64, hold: f64, most: u64) -> f64 {
    rate - most as f64 / hold
}

/// An application queues in its own pools, whether it goes to PostgreSQL itself or to a pooler.
fn own(of: &Dossier, app: &App, out: &mut Out<'_>) {
    let (Some(load), Some(Bound::Of(most)), Some(rate)) = (app.load(), app.demand(false), &app.peak_rate) else {
        return;
    };
    if load < most as f64 {
        return;
    }
    let count = app.pool_count(false).and_then(Bound::number).unwrap_or(1).max(1);
    let size = ((load * AHEAD) / count as f64).ceil() as u64;
    let place = app.pool_size.as_ref().map_or(&app.place, |known| &known.place);
    let finding = out.find(
        format!("{}: {load:.1} connections are busy at the declared peak, and its pools have {most}", app.name),
        place,
        format!("{} = {most}", words::factors(app, false)),
    );
    finding
        .and(rate, format!("{:.0} requests a second", rate.value))
        .because("requests queue in the application's own pool until its acquire timeout, and PostgreSQL looks idle")
        .fix(format!("write {}", words::app_size(app, size)));
    if let Some((pooler, pool)) = of.route(app) {
        finding.and(&pool.name, format!("{} waits for none of them", pooler.name));
    }
    words::resize(finding, app, size);
}
