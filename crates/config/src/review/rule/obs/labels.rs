//! Which labels the two sides of an operation have, as far as that is certain: sides that can never be brought together give
//! nothing, and an alert on it never fires. Where anything is not known the sides are taken to match.

use std::collections::{BTreeMap, BTreeSet};

use super::metrics;
use crate::review::source::promql::{Expr, Matching, Selector};

/// An expression whose parts stand deeper in each other is taken to match.
const MOST_DEPTH: usize = 64;
/// What every series has from its target.
const TARGET: [&str; 2] = ["instance", "job"];

/// Which other labels a vector may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// None.
    No,
    /// Those of its target: any that no metric of a pooler brings itself.
    Target,
    /// Any.
    Any,
}

/// The labels of a vector.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    /// There, and never empty.
    sure: BTreeSet<String>,
    /// Perhaps there.
    maybe: BTreeSet<String>,
    /// Not there, though its target may have them.
    gone: BTreeSet<String>,
    open: Open,
    /// Those that have this one value.
    fixed: BTreeMap<String, String>,
}

/// Two sides that never come together.
pub(super) struct Apart<'a> {
    pub(super) op: &'a str,
    pub(super) left: &'a Expr,
    pub(super) right: &'a Expr,
    /// Why, in words.
    pub(super) why: String,
    /// The labels both can have together; `None`: more labels would not help.
    pub(super) common: Option<Vec<String>>,
}

impl Labels {
    /// Of which nothing is known.
    const fn unknown() -> Self {
        Self {
            sure: BTreeSet::new(),
            maybe: BTreeSet::new(),
            gone: BTreeSet::new(),
            open: Open::Any,
            fixed: BTreeMap::new(),
        }
    }

    fn of(selector: &Selector) -> Self {
        let mut labels = Self::unknown();
        if let Some((sure, maybe)) = metrics::labels(&selector.metric) {
            labels.sure = sure.iter().chain(&TARGET).map(|label| (*label).to_owned()).collect();
            labels.maybe = maybe.iter().map(|label| (*label).to_owned()).collect();
            labels.open = Open::Target;
        }
        for (label, _, value) in selector.labels.iter().filter(|(_, op, value)| op == "=" && !value.is_empty()) {
            labels.sure.insert(label.clone());
            labels.fixed.insert(label.clone(), value.clone());
        }
        labels
    }

    fn may_have(&self, label: &str) -> bool {
        let open = match self.open {
            Open::No => false,
            Open::Target => !metrics::is_own(label),
            Open::Any => true,
        };
        self.sure.contains(label) || self.maybe.contains(label) || open && !self.gone.contains(label)
    }

    /// What an aggregation leaves.
    fn grouped(&self, by: &[String], without: bool) -> Self {
        let mut left = self.clone();
        if without {
            left.gone.extend(by.iter().cloned());
            left.sure.retain(|label| !by.contains(label));
            left.maybe.retain(|label| !by.contains(label));
        } else {
            left.maybe = by.iter().filter(|label| self.may_have(label)).cloned().collect();
            left.sure.retain(|label| by.contains(label));
            left.open = Open::No;
        }
        left.fixed.retain(|label, _| left.sure.contains(label));
        left
    }

    /// A label that one side surely has and the other surely has not, or has with another value, in words.
    fn apart(&self, other: &Self, matching: &Matching) -> Option<String> {
        let counts = |label: &&String| match matching {
            Matching::All => true,
            Matching::On(on) => on.contains(label),
            Matching::Ignoring(ignored) => !ignored.contains(label),
        };
        let lacks = |has: &Self, not: &Self| {
            let labels = has.sure.iter().filter(counts).filter(|label| !not.may_have(label));
            labels.map(String::as_str).collect::<Vec<_>>().join(" and ")
        };
        let value =
            |label: &&String| other.fixed.get(*label).is_some_and(|value| self.fixed.get(*label) != Some(value));
        if let Some(label) = self.fixed.keys().filter(counts).find(value) {
            return Some(format!("{label} is another on its left than on its right"));
        }
        let (left, right) = (lacks(self, other), lacks(other, self));
        match (left.is_empty(), right.is_empty()) {
            (true, true) => None,
            (false, true) => Some(format!("its left has {left}, its right has not")),
            (true, false) => Some(format!("its right has {right}, its left has not")),
            (false, false) => Some(format!("its left alone has {left}, its right alone has {right}")),
        }
    }

    /// The labels that both surely have.
    fn common(&self, other: &Self) -> Vec<String> {
        self.sure.intersection(&other.sure).cloned().collect()
    }
}

/// All pairs of sides of an expression that never come together.
pub(super) fn apart(expr: &Expr) -> Vec<Apart<'_>> {
    let mut found = Vec::new();
    let _labels = shape(expr, 0, &mut found);
    found
}

/// The labels of a vector; `None`: it is a number.
fn shape<'a>(expr: &'a Expr, depth: usize, found: &mut Vec<Apart<'a>>) -> Option<Labels> {
    if depth > MOST_DEPTH {
        return Some(Labels::unknown());
    }
    match expr {
        Expr::Number(_) | Expr::Text(_) => None,
        Expr::Selector(selector) => Some(Labels::of(selector)),
        Expr::Minus(inner) => shape(inner, depth + 1, found),
        Expr::Call { name, args, by, without } => {
            let inner = args.iter().filter_map(|arg| shape(arg, depth + 1, found)).last();
            called(name, inner, by, *without)
        }
        Expr::Binary { op, left, right, matching } => {
            let (a, b) = (shape(left, depth + 1, found), shape(right, depth + 1, found));
            let (Some(a), Some(b)) = (&a, &b) else { return a.or(b) };
            // what has no partner stays with these
            let alone = ["or", "unless"].contains(&op.as_str());
            if let Some(why) = a.apart(b, matching).filter(|_| !alone) {
                let common =
                    a.fixed.keys().all(|label| b.fixed.get(label).is_none_or(|value| a.fixed[label] == *value));
                found.push(Apart { op, left, right, why, common: common.then(|| a.common(b)) });
            }
            let keeps = *matching == Matching::All && op != "or" || ["and", "unless"].contains(&op.as_str());
            Some(if keeps { a.clone() } else { Labels::unknown() })
        }
    }
}

fn called(name: &str, inner: Option<Labels>, by: &[String], without: bool) -> Option<Labels> {
    match name {
        "sum" | "avg" | "min" | "max" | "count" | "group" | "stddev" | "stdvar" | "quantile" => {
            inner.map(|inner| inner.grouped(by, without))
        }
        "scalar" | "time" | "pi" => None,
        "vector" => Some(Labels { open: Open::No, ..Labels::unknown() }),
        "absent" | "absent_over_time" | "label_replace" | "label_join" | "count_values" => Some(Labels::unknown()),
        "histogram_quantile" => inner.map(|inner| inner.grouped(&["le".to_owned()], true)),
        // rate and its like, topk, clamp_min, abs: as what they are called with
        _ => Some(inner.unwrap_or_else(Labels::unknown)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let expr = Expr::parse(text).expect(text);
        apart(&expr).into_iter().map(|apart| format!("{}: {}", apart.op, apart.why)).collect()
    }

    #[test]
    fn sides_of_an_exporter_that_never_match_are_told() {
        for (text, expected) in [
            (
                "pgbouncer_pools_client_active_connections / pgbouncer_config_max_client_connections > 0.9",
                "/: its left has database and user, its right has not",
            ),
            (
                "sum(pgbouncer_pools_server_active_connections) >= pgbouncer_config_max_client_conn",
                ">=: its right has instance and job, its left has not",
            ),
            (
                "pgbouncer_pools_server_active_connections / pgbouncer_databases_pool_size > 1",
                "/: its left alone has user, its right alone has name and pool_mode and port",
            ),
            (
                "sum by (database) (pgbouncer_pools_client_waiting_connections) / on (instance) pgbouncer_config_x > 1",
                "/: its right has instance, its left has not",
            ),
            (
                "poolwarden_clients{state=\"waiting\"} / poolwarden_clients{state=\"active\"} > 1",
                "/: state is another on its left than on its right",
            ),
            (
                "poolwarden_queue_length / poolwarden_capacity > 1",
                "/: its left alone has class, its right alone has limit",
            ),
            (
                "1 - pgbouncer_used_clients / pgbouncer_pools_client_waiting_connections < 0.1",
                "/: its right has database and user, its left has not",
            ),
        ] {
            assert_eq!(said(text), [expected], "{text}");
        }
    }

    #[test]
    fn what_may_match_is_left_alone() {
        for text in [
            "sum without (database, user) (pgbouncer_pools_client_active_connections) / pgbouncer_config_max_client_connections > 0.9",
            "sum by (instance, job) (pgbouncer_pools_client_active_connections) / pgbouncer_config_max_client_connections > 0.9",
            "sum(pgbouncer_pools_client_active_connections) >= sum(pgbouncer_config_max_client_conn)",
            "sum(pgbouncer_used_clients) >= scalar(pgbouncer_config_max_client_conn)",
            "sum by (namespace, pod) (pgbouncer_pools_client_active_connections{namespace=\"x\"}) / on (namespace, pod) \
             max by (namespace, pod) (pgbouncer_config_max_client_connections{namespace=\"x\"}) > 0.9",
            "pgbouncer_pools_client_waiting_connections / on (database, instance) group_left sum by (database, instance) \
             (pgbouncer_databases_pool_size) > 1",
            "pgbouncer_pools_client_waiting_connections{user=\"a\"} > 0 unless pgbouncer_up == 0",
            "pgbouncer_pools_client_waiting_connections > 0 and on () pgbouncer_up == 1",
            "pgbouncer_pools_client_waiting_connections > 0 and ignoring (database, user) pgbouncer_up == 1",
            "pgbouncer_databases_current_connections / (pgbouncer_databases_pool_size + pgbouncer_databases_reserve_pool) > 0.9",
            "poolwarden_capacity_used / poolwarden_capacity > 0.9",
            "rate(poolwarden_queue_seconds_total[1m]) > 1 or vector(1)",
            "pgbouncer_errors_count / pgbouncer_used_clients > 1",
            "label_replace(pgbouncer_up, \"a\", \"b\", \"c\", \"d\") / pgbouncer_pools_client_waiting_connections > 1",
            "pgbouncer_pools_client_waiting_connections > 5 * 2",
            "topk(3, pgbouncer_pools_client_waiting_connections) / pgbouncer_pools_server_active_connections > 1",
        ] {
            assert_eq!(said(text), Vec::<String>::new(), "{text}");
        }
        let long = format!("pgbouncer_up{}", " + pgbouncer_up".repeat(1_500));
        assert_eq!(said(&long), Vec::<String>::new());
    }
}
