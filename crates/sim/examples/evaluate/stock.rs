//! The rules that people have today, on the same seconds: awesome-prometheus-alerts for PgBouncer, and Grafana's PgBouncer mixin, as
//! their expressions stood in 2026, looked at every fifteen seconds.

use poolwarden_watch::View;

/// How often Prometheus looks.
const EVERY_S: f64 = 15.0;

/// An expression and for how long it must hold, in seconds.
struct Rule {
    name: &'static str,
    holds: fn(&View, (f64, f64)) -> bool,
    for_s: f64,
    since_s: Option<f64>,
    fired_s: Option<f64>,
}

pub(crate) struct Stock {
    rules: Vec<Rule>,
    looked_s: f64,
}

fn waiting(view: &View) -> u32 {
    view.hosts[0].snapshot.pools.iter().map(|pool| pool.waiting).sum()
}

fn lent(view: &View) -> u32 {
    view.hosts[0].snapshot.pools.iter().map(|pool| pool.slots.lent).sum()
}

fn oldest_s(view: &View) -> f64 {
    view.hosts[0].snapshot.pools.iter().map(|pool| pool.oldest_wait.as_secs_f64()).fold(0.0, f64::max)
}

fn used(view: &View) -> f64 {
    let activity = view.hosts[0].activity.as_ref();
    activity.map_or(0.0, |of| of.backends.len() as f64 / f64::from(of.max_connections))
}

impl Default for Stock {
    fn default() -> Self {
        let rule = |name, for_s, holds| Rule { name, holds, for_s, since_s: None, fired_s: None };
        let rules = vec![
            rule(
                "awesome: active server connections > 200, 2 min",
                120.0,
                (|view, _| lent(view) > 200) as fn(&View, (f64, f64)) -> bool,
            ),
            rule("awesome (PostgreSQL): > 80 % of max_connections, 2 min", 120.0, |view, _| used(view) > 0.8),
            rule("mixin: clients waiting > 20, 5 min", 300.0, |view, _| waiting(view) > 20),
            rule("mixin: longest wait > 15 s, 5 min", 300.0, |view, _| oldest_s(view) > 15.0),
            rule("usual: > 80 % of the pool lent, 2 min", 120.0, |view, _| {
                let pools = &view.hosts[0].snapshot.pools;
                f64::from(lent(view)) > 0.8 * pools.iter().map(|pool| f64::from(pool.size)).sum::<f64>()
            }),
        ];
        Self { rules, looked_s: 0.0 }
    }
}

impl Stock {
    pub(crate) fn take(&mut self, at_s: f64, view: &View) {
        if at_s < self.looked_s + EVERY_S {
            return;
        }
        self.looked_s = at_s;
        for rule in &mut self.rules {
            if (rule.holds)(view, (at_s, EVERY_S)) {
                let since_s = *rule.since_s.get_or_insert(at_s);
                if at_s - since_s >= rule.for_s {
                    rule.fired_s.get_or_insert(at_s);
                }
            } else {
                rule.since_s = None;
            }
        }
    }

    /// When each fired first.
    pub(crate) fn fired(self) -> Vec<(&'static str, Option<f64>)> {
        self.rules.into_iter().map(|rule| (rule.name, rule.fired_s)).collect()
    }
}
