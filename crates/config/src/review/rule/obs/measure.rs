//! Limits of a pooler that alerts measure against, and the settings behind them.

use super::ask;
use crate::review::chain::{Bound, Pool, Pooler};
use crate::review::dossier::Dossier;
use crate::review::place::Known;
use crate::review::source::promql::{Expr, Selector};
use crate::review::sums::plus;
use crate::review::words;

/// A metric that something is measured against.
pub(super) struct Measure<'a> {
    pub(super) selector: &'a Selector,
    /// What clamp_min puts in its place where it is 0.
    pub(super) instead: Option<f64>,
    /// Several series together.
    summed: bool,
}

/// A limit that is 0.
pub(super) struct Zero {
    /// Its setting.
    pub(super) key: String,
    pub(super) limit: Known<Bound>,
    /// What it may be without taking anything from anybody, where that is known.
    pub(super) fitting: Option<u64>,
}

/// What an expression divides by, subtracts from, or compares with; each metric once, and not where a part of the expression
/// leaves out its zeros: `limit > 0`, `limit != 0`, `unless limit == 0`.
pub(super) fn measures(expr: &Expr) -> Vec<Measure<'_>> {
    let against = ["/", ">", ">="].into_iter().flat_map(|op| expr.sides(op)).map(|(_, right)| right);
    let subtracted = expr.sides("-").into_iter().map(|(left, _)| left);
    let mut all: Vec<Measure<'_>> = Vec::new();
    for measure in against.chain(subtracted).filter_map(|side| measure(side, false)) {
        let seen = all.iter().any(|other| other.selector.metric == measure.selector.metric);
        if !seen && !guarded(expr, &measure.selector.metric) {
            all.push(measure);
        }
    }
    all
}

fn measure(side: &Expr, summed: bool) -> Option<Measure<'_>> {
    match side {
        Expr::Selector(selector) => Some(Measure { selector, instead: None, summed }),
        Expr::Call { name, args, .. } if name == "clamp_min" => {
            let inner = measure(args.first()?, summed)?;
            let Expr::Number(least) = args.get(1)? else { return None };
            Some(Measure { instead: Some(*least), ..inner })
        }
        Expr::Call { name, args, .. } if ["sum", "min", "max", "avg"].contains(&name.as_str()) => {
            measure(args.first()?, true)
        }
        Expr::Binary { op, left, right, .. } if ["*", "/"].contains(&op.as_str()) => match (&**left, &**right) {
            (inner, Expr::Number(_)) => measure(inner, summed),
            (Expr::Number(_), inner) if op == "*" => measure(inner, summed),
            _ => None,
        },
        Expr::Binary { .. } | Expr::Number(_) | Expr::Text(_) | Expr::Call { .. } | Expr::Minus(_) => None,
    }
}

fn guarded(expr: &Expr, metric: &str) -> bool {
    let zero = |side: &Expr| matches!(side, Expr::Number(number) if *number == 0.0);
    let it = |side: &Expr| side.selectors().iter().any(|selector| selector.metric == metric);
    [">", "!=", "=="].iter().any(|op| {
        let is = |side: &Expr| matches!(side, Expr::Selector(_) | Expr::Call { .. }) && it(side);
        expr.sides(op).into_iter().any(|(left, right)| zero(right) && is(left))
    })
}

/// The setting behind a limit's metric, where it is 0 in all that the alert can be about.
pub(super) fn zero(of: &Dossier, measure: &Measure<'_>) -> Option<Zero> {
    let poolers: Vec<&Pooler> = of.poolers.iter().filter(|pooler| ask::speaks_pgbouncer(pooler)).collect();
    let first = *poolers.first()?;
    match measure.selector.metric.as_str() {
        "pgbouncer_config_max_user_connections" => {
            let limits: Vec<_> = poolers.iter().map(|pooler| pooler.users.get("*")).collect();
            let is_none = |limit: &Option<&Known<Bound>>| limit.is_some_and(|limit| limit.value == Bound::Unlimited);
            let limit = (*limits.first()?)?.clone();
            let sum = first.pools.iter().fold(Bound::Of(0), |sum, pool| plus(sum, pool.each()));
            let key = "max_user_connections".to_owned();
            limits.iter().all(is_none).then(|| Zero { key, limit, fitting: sum.number() })
        }
        "pgbouncer_databases_max_connections" => {
            let unlimited = |pool: &&Pool| pool.max_connections.value == Bound::Unlimited;
            let of_alert = |pooler: &&'_ Pooler| {
                let mut pools = pooler.pools.iter().filter(|pool| ask::is_of(measure.selector, pool));
                if measure.summed { pools.all(|pool| unlimited(&pool)) } else { pools.any(|pool| unlimited(&pool)) }
            };
            let pools = first.pools.iter().filter(|pool| ask::is_of(measure.selector, pool));
            let pool = pools.into_iter().find(unlimited)?;
            poolers.iter().all(of_alert).then(|| Zero {
                key: words::pool_key(first, pool, "max_connections", "max_db_connections"),
                limit: pool.max_connections.clone(),
                fitting: pool.most().number().filter(|_| !pool.users.is_empty()),
            })
        }
        _ => None,
    }
}

/// Where the value of a limit's metric is set, and what it is.
pub(super) fn setting(of: &Dossier, selector: &Selector) -> Option<(Known<Bound>, String)> {
    let pooler = of.poolers.iter().find(|pooler| ask::speaks_pgbouncer(pooler))?;
    let pool = || pooler.pools.iter().find(|pool| ask::is_of(selector, pool));
    let known = match selector.metric.strip_prefix("pgbouncer_")? {
        "config_max_client_connections" | "config_max_client_conn" => pooler.max_clients.clone(),
        "config_max_user_connections" => pooler.users.get("*")?.clone(),
        "databases_pool_size" => pool()?.size.clone(),
        "databases_max_connections" => pool()?.max_connections.clone(),
        _ => return None,
    };
    let text = format!("{} here", words::size(known.value));
    Some((known, text))
}
