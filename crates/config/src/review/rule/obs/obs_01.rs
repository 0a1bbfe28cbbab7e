//! OBS-01: spikes that end between two scrapes.
//!
//! PgBouncer's exporter has gauges of who waits now, and one counter of the time that was waited. poolwarden has histograms and
//! counters of every wait, and the most that waited between two scrapes: nothing is said of it.

use std::time::Duration;

use super::ask::{self, Asked};
use super::metrics;
use crate::finding::Severity;
use crate::review::chain::{Kind, Maybe, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::{ALERTS, POOLER, REQUEST_TIMEOUT, SCRAPE};
use crate::review::place::Known;
use crate::review::rule::{Out, Rule};
use crate::review::traffic;
use crate::unit::show_duration;

pub(super) const RULE: Rule = Rule {
    code: "OBS-01",
    severity: Severity::Warning,
    title: "spikes end between two scrapes, and only gauges are asked",
    condition: "alerts ask PgBouncer for gauges alone (no counter or histogram of waits), and its scrape interval > min(t_wait, t_req) \
                / 2: a full pool costs answers after min(t_wait, t_req), and a gauge shows it for certain at twice its interval",
    why: "A gauge says how many wait at one moment of every fifteen or sixty seconds. A pool that is full for ten of them fails \
          users and was never seen; the graph is flat and the web tier is blamed. A counter of waits loses nothing between two \
          scrapes. PgBouncer has but the sum of seconds; histograms of waits are asked of it since 2018.",
    fix: "alert on the counter of waits; or ask more often",
    needs: &[POOLER, ALERTS],
    check,
};

/// A spike is seen for certain, and not by luck, where at least so many scrapes fall into it.
const SCRAPES: u32 = 2;
/// Where prometheus-community's exporter listens.
const EXPORTER: &str = ":9127";

fn check(of: &Dossier, out: &mut Out<'_>) {
    let asked = ask::asked(of);
    for pooler in of.poolers.iter().filter(|pooler| pooler.kind == Kind::PgBouncer) {
        let about = |asked: &&Asked<'_>| asked.asks(is_gauge);
        if of.alerts.iter().any(|alert| ask::has(alert, metrics::keeps_waits)) {
            continue;
        }
        let Some(first) = asked.iter().find(about) else {
            out.lacks(ALERTS, &pooler.name);
            continue;
        };
        let Some(interval) = interval(of) else {
            out.lacks(SCRAPE, &pooler.name);
            continue;
        };
        let Some(spike) = spike(of, pooler) else {
            out.lacks(REQUEST_TIMEOUT, &pooler.name);
            continue;
        };
        if interval.value > spike.value / SCRAPES {
            report(of, (pooler, first), &interval, &spike, out);
        }
    }
}

fn report(
    of: &Dossier,
    (pooler, first): (&Pooler, &Asked<'_>),
    interval: &Known<Duration>,
    spike: &Known<Duration>,
    out: &mut Out<'_>,
) {
    let (each, lasts) = (show_duration(interval.value), show_duration(spike.value));
    let finding = out.find(
        format!("{}: a full pool costs answers after {lasts}, and gauges alone are asked every {each}", pooler.name),
        &interval.place,
        format!("every {each}"),
    );
    if let Some(gauge) = first.expr.selectors().into_iter().find(|selector| is_gauge(&selector.metric)) {
        let (place, _) = ask::place(of, first.alert, gauge);
        finding.and(&place, "a gauge: how many there are at that moment");
    }
    let often = (spike.value / SCRAPES).as_secs();
    let or = if often > 0 { format!("; or write scrape_interval: {often}s") } else { String::new() };
    finding
        .and(spike, format!("the first clients give up after {lasts}"))
        .because("a spike that begins and ends between two scrapes fails users, and no graph and no alert has it")
        .fix(format!("alert on {}{or}", ask::burn_rate(pooler.kind)));
    if often > 0 {
        finding.write(interval, format!("{often}s"));
    }
}

/// Whether it says of PgBouncer how full it is or who waits: no alert on anything else can see a spike.
fn is_gauge(metric: &str) -> bool {
    let tells = metrics::is_of_waits(metric) || metrics::is_of_fullness(metric);
    tells && metric.starts_with("pgbouncer_") && !metrics::keeps_waits(metric)
}

/// How often the exporter is asked: as told, else as the job says that has its name or its port.
fn interval(of: &Dossier) -> Maybe<Duration> {
    let told = of.fact("pgbouncer.scrape_interval_ms").filter(|known| known.value > 0.0 && known.value.is_finite());
    let told = told.map(|known| known.map(|millis| Duration::from_millis(millis as u64)));
    told.or_else(|| {
        let is_exporters = |targets: &[String]| targets.iter().any(|target| target.ends_with(EXPORTER));
        let named = |job: &str| job.to_lowercase().contains("pgbouncer");
        let job = of.scrapes.iter().find(|scrape| named(&scrape.job.value) || is_exporters(&scrape.targets));
        job.map(|scrape| scrape.interval.clone())
    })
}

/// The shortest spike that costs answers.
fn spike(of: &Dossier, pooler: &Pooler) -> Maybe<Duration> {
    let each = pooler.pools.iter().filter_map(|pool| traffic::gives_up(of, pooler, pool));
    each.min_by_key(|known| known.value)
}
