//! `leak`: connections are held and forgotten, one after another. A larger pool only delays the end.

use super::Judged;
use crate::case::Case;
use crate::occupancy::Use;
use crate::owner::owners;
use crate::say::{quoted, span};
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let uses = case.uses();
    let owners = owners(case, |usage| usage == Use::Stuck);
    let mut evidence = vec![Evidence::new(
        format!(
            "{:.1} of {:.1} lent connections have been idle in transaction for far longer than any usual one",
            uses.mean(uses.stuck),
            uses.mean(uses.lent)
        ),
        [("stuck", uses.mean(uses.stuck)), ("lent", uses.mean(uses.lent))],
    )];
    if let Some(owner) = owners.first() {
        evidence.push(Evidence::new(
            format!(
                "{} holds {} of them, the longest for {}",
                quoted(&owner.application),
                owner.count,
                span(owner.longest_us as f64)
            ),
            [("count", f64::from(owner.count)), ("longest_us", owner.longest_us as f64)],
        ));
    }
    Judged::by(share, evidence, || {
        let database = &case.pool.key.database;
        let who = owners.first().map_or("the application".to_owned(), |owner| quoted(&owner.application));
        format!(
            "poolwarden terminate --stuck {database} frees them now; then find where {who} forgets to end its transactions"
        )
    })
}
