//! `demand_growth`: more requests come than usually, each as long as ever.

use super::Judged;
use crate::case::Case;
use crate::memory::USUAL_TRAFFIC_US;
use crate::say::span;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let now = case.window.per_second(case.window.arrivals());
    let Some(usual) = case.memory.usual.arrivals() else {
        let (seen, wanted) = (case.memory.usual.seen_us(), USUAL_TRAFFIC_US);
        return Judged::not_testable(format!(
            "calm traffic was seen for {} only; {} make it usual",
            span(seen as f64),
            span(wanted as f64)
        ));
    };
    let evidence = vec![Evidence::new(
        format!("{now:.0} requests/s come (usually {usual:.0})"),
        [("arrivals", now), ("usual_arrivals", usual)],
    )];
    Judged::by(share, evidence, || match case.sources {
        Some(sources) => {
            format!("set pools.{}.size to {}, or shed what can wait", case.pool.key.database, sources.enough())
        }
        None => "shed what can wait".to_owned(),
    })
}
