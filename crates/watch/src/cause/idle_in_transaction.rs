//! `idle_in_transaction`: clients keep transactions open while they do something else: connections are lent and do nothing.

use super::Judged;
use crate::case::Case;
use crate::occupancy::Use;
use crate::owner::owners;
use crate::say::{percent, quoted, span};
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let uses = case.uses();
    let owners = owners(case, |usage| usage == Use::IdleInTransaction);
    let mut evidence = vec![Evidence::new(
        format!(
            "{} of the lent connections are idle in transaction ({:.1} of {:.1})",
            percent(uses.share(uses.idle)),
            uses.mean(uses.idle),
            uses.mean(uses.lent)
        ),
        [("idle_in_transaction", uses.mean(uses.idle)), ("lent", uses.mean(uses.lent))],
    )];
    if let Some(owner) = owners.first() {
        evidence.push(Evidence::new(
            format!(
                "{} holds {} of them, the longest idle for {}",
                quoted(&owner.application),
                owner.count,
                span(owner.longest_us as f64)
            ),
            [("count", f64::from(owner.count)), ("longest_us", owner.longest_us as f64)],
        ));
    }
    Judged::by(share, evidence, || {
        let who = owners.first().map_or("the application".to_owned(), |owner| quoted(&owner.application));
        format!(
            "have {who} end its transactions before it does other work; until then limit them with idle_in_transaction_timeout"
        )
    })
}
