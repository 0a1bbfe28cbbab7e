//! `pg_saturated`: everything takes longer, and PostgreSQL's processes are busy: more connections would make it slower still.

use super::Judged;
use crate::case::Case;
use crate::say::span;
use crate::share::is_busy;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    if case.host.activity.is_none() {
        let why = case.host.watch_error.as_deref().unwrap_or("the watch connection has not answered yet");
        return Judged::not_testable(format!("what PostgreSQL's processes do is not seen: {why}"));
    }
    let uses = case.uses();
    let (busy, told) = (uses.mean(uses.busy), uses.mean(uses.told));
    let mut evidence = Vec::new();
    if uses.told > 0 {
        evidence.push(Evidence::new(
            format!("{busy:.1} of {told:.1} backends seen at work are on the processor, the disk or an internal lock"),
            [("busy", busy), ("told", told)],
        ));
    }
    if let (Some(now), Some(usual)) = (case.window.hold_us(), case.memory.usual.hold_us()) {
        evidence.push(Evidence::new(
            format!("a connection is held for {} (usually {})", span(now), span(usual)),
            [("hold_us", now), ("usual_hold_us", usual)],
        ));
    } else if is_busy(case) && share == 0.0 && case.troubled {
        return Judged::not_testable(
            "how long connections are usually held was not seen before requests began to wait",
        );
    }
    if uses.told == 0 {
        evidence.push(Evidence::said("no lease lasted until PostgreSQL was asked what its backend does"));
    }
    Judged::by(share, evidence, || {
        "give PostgreSQL less to do at once: a smaller pool, shed what can wait, or see its processor and disk"
            .to_owned()
    })
}
