//! `retry_storm`: who was refused comes again at once, and that is much of what comes.

use super::Judged;
use crate::case::Case;
use crate::say::percent;
use crate::span::ratio;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let again = ratio(case.window.reattempts, case.window.arrivals());
    let evidence = vec![Evidence::new(
        format!("{} of the requests came again within 2 s of a refusal", percent(again)),
        [("again_share", again), ("again", case.window.reattempts as f64)],
    )];
    Judged::by(share, evidence, || {
        "have clients wait before they retry (the hint of each refusal says how long), and retry a few times only"
            .to_owned()
    })
}
