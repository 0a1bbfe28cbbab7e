//! What alerts ask for, and where in their files.

use super::metrics;
use crate::review::chain::{Alert, Kind, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::place::{Known, Place};
use crate::review::source::promql::{Expr, Selector};

/// An alert that asks for metrics of a pooler.
pub(super) struct Asked<'a> {
    pub(super) alert: &'a Alert,
    pub(super) expr: Expr,
}

impl Asked<'_> {
    /// Whether any of its metrics is one of these.
    pub(super) fn asks(&self, is: impl Fn(&str) -> bool) -> bool {
        self.expr.selectors().iter().any(|selector| is(&selector.metric))
    }

    /// Whether it is about a pool: its metrics are of this kind of pooler, where there are several, and none of them is asked of
    /// another database alone.
    pub(super) fn is_about(&self, of: &Dossier, pooler: &Pooler, pool: &Pool) -> bool {
        let tells = |metric: &str| {
            let ours = pooler.kind == Kind::Poolwarden && metric.starts_with("poolwarden_");
            ours || speaks_pgbouncer(pooler) && metric.starts_with("pgbouncer_")
        };
        (of.poolers.len() == 1 || self.asks(tells))
            && self.expr.selectors().iter().all(|selector| is_of(selector, pool))
    }
}

/// Whether a selector leaves a pool's series in.
pub(super) fn is_of(selector: &Selector, pool: &Pool) -> bool {
    let is = |value: &str| pool.name.value == value || pool.database.as_deref() == Some(value);
    selector.labels.iter().all(|(label, op, value)| {
        !["database", "name"].contains(&label.as_str())
            || match op.as_str() {
                "=" => is(value),
                "!=" => !is(value),
                _ => true,
            }
    })
}

/// All alerts that ask for metrics of a pooler.
pub(super) fn asked(of: &Dossier) -> Vec<Asked<'_>> {
    let all = of.alerts.iter().filter_map(|alert| Some(Asked { alert, expr: Expr::parse(&alert.expr.value)? }));
    all.filter(|asked| asked.asks(metrics::is_poolers)).collect()
}

/// Whether an alert, of whatever it is, asks for such a metric.
pub(super) fn has(alert: &Alert, is: impl Fn(&str) -> bool) -> bool {
    Expr::parse(&alert.expr.value).is_some_and(|expr| expr.selectors().iter().any(|selector| is(&selector.metric)))
}

/// Names of alerts about a pooler whose expression is not understood.
pub(super) fn strange(of: &Dossier) -> impl Iterator<Item = &str> {
    let about = |alert: &&Alert| ["pgbouncer_", "poolwarden_"].iter().any(|word| alert.expr.value.contains(word));
    let strange = of.alerts.iter().filter(about).filter(|alert| Expr::parse(&alert.expr.value).is_none());
    strange.map(|alert| alert.name.value.as_str())
}

/// A selector as it is written, where it stands in its file, and whether it stands there only once: the whole expression where
/// the file writes it otherwise.
pub(super) fn place(of: &Dossier, alert: &Alert, selector: &Selector) -> (Known<String>, bool) {
    let written = alert.expr.value.get(selector.span.clone()).unwrap_or_default().to_owned();
    let whole = || Known { value: written.clone(), place: alert.expr.place.clone() };
    let Place::Text { file, span } = &alert.expr.place else { return (whole(), false) };
    let raw = of.texts.get(*file).and_then(|text| text.text.get(span.clone())).unwrap_or_default();
    let mut found = raw.match_indices(&written).map(|(at, _)| at);
    match found.next().filter(|_| !written.is_empty()) {
        Some(at) => {
            let start = span.start + at;
            let known = Known::written(written.clone(), *file, start..start + written.len());
            (known, found.next().is_none())
        }
        None => (whole(), false),
    }
}

/// Whether a pooler's numbers have PgBouncer's names.
pub(super) fn speaks_pgbouncer(pooler: &Pooler) -> bool {
    match pooler.kind {
        Kind::PgBouncer => true,
        Kind::Poolwarden => pooler.written.get("listen.pgbouncer_metrics").is_some_and(|known| known.value == "true"),
        Kind::RdsProxy | Kind::Odyssey => false,
    }
}

/// An alert on waits, by a counter that loses none of them; where both count, two windows: it comes at once and ends soon.
pub(super) fn burn_rate(kind: Kind) -> &'static str {
    match kind {
        Kind::Poolwarden => {
            "sum by (database) (rate(poolwarden_queue_seconds_total[5m])) > 1 and \
             sum by (database) (rate(poolwarden_queue_seconds_total[1m])) > 1"
        }
        Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => {
            "rate(pgbouncer_stats_totals_client_wait_seconds_total[5m]) > 1 and \
             rate(pgbouncer_stats_totals_client_wait_seconds_total[1m]) > 1"
        }
    }
}
