//! Connections that are forgotten one after another: who is still there tells when each began, so that a few are enough for a rate.

use poolwarden_pool::Limit;

use super::Exhaustion;
use crate::case::Case;
use crate::cause::CauseCode;
use crate::occupancy::Use;
use crate::owner::owners;
use crate::say::{quoted, span};
use crate::why::Evidence;

/// One forgotten connection is no rate.
const FEWEST: u32 = 2;
/// One-sided 95 % quantile of the normal distribution: both sides together leave nine in ten between them.
const SIDE: f64 = 1.645;

/// When the forgotten connections of one application leave no more than the others need; `target`: how much may be wanted in all.
pub(super) fn exhaustion(case: &Case<'_>, target: f64) -> Option<Exhaustion> {
    let owner = owners(case, |usage| usage == Use::Stuck).into_iter().next()?;
    if owner.count < FEWEST {
        return None;
    }
    let (count, lasts_s) = (f64::from(owner.count), owner.longest_us as f64 / 1e6);
    let left = (target - case.memory.demand).max(0.0);
    // The oldest began the count; the others came in the time since.
    let in_s = left * lasts_s / (count - 1.0);
    let soon = left * lasts_s / gamma(count, SIDE);
    let late = left * lasts_s / gamma(count - 1.0, -SIDE);
    let who = quoted(&owner.application);
    let a_minute = (count - 1.0) / lasts_s * 60.0;
    let evidence = vec![Evidence::new(
        format!(
            "{who} has forgotten {count:.0} connections in transactions, the first {} ago: {a_minute:.2} each minute, and {left:.1} are left to the others",
            span(owner.longest_us as f64)
        ),
        [("stuck", count), ("since_s", lasts_s), ("per_minute", a_minute), ("left", left)],
    )];
    let next_step = next_step(&case.pool.key.database, &who);
    Some(Exhaustion {
        cause: CauseCode::Leak,
        limit: Limit::PoolSize,
        in_s,
        interval_s: (soon, late),
        evidence,
        next_step,
    })
}

/// What to do about who forgets connections.
pub(super) fn next_step(database: &str, who: &str) -> String {
    format!(
        "poolwarden terminate --stuck {database} frees them now; then find where {who} forgets to end its transactions"
    )
}

/// About the quantile of a gamma distribution of this shape (E. B. Wilson and M. M. Hilferty, PNAS 17, 1931).
fn gamma(shape: f64, sigmas: f64) -> f64 {
    let ninth = 1.0 / (9.0 * shape);
    shape * (1.0 - ninth + sigmas * ninth.sqrt()).max(0.0).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_quantiles_are_about_those_of_the_tables() {
        // chi-square with 2n degrees of freedom, halved: n = 1, 5 % and 95 %; n = 10, 5 % and 95 %
        for (shape, sigmas, table) in
            [(1.0, -SIDE, 0.051), (1.0, SIDE, 2.996), (10.0, -SIDE, 5.425), (10.0, SIDE, 15.705)]
        {
            let found = gamma(shape, sigmas);
            assert!((found - table).abs() < 0.02 * table + 0.02, "{shape} {sigmas}: {found} for {table}");
        }
    }
}
