//! What the causes that are limits have in common: their evidence is how much is used, and how much of the wait was for them.

use poolwarden_pool::Limit;

use super::Judged;
use crate::case::Case;
use crate::remedy;
use crate::say::{percent, span};
use crate::share::{SUPPORTED, part};
use crate::why::Evidence;

/// Judges a limit; `more`: what else a person would want to know of it.
pub(super) fn judge(case: &Case<'_>, share: f64, limit: Limit, more: Option<Evidence>) -> Judged {
    let Some(of) = case.limit(limit) else {
        return Judged::ruled_out(Evidence::said(format!("{} does not apply here", limit.name())));
    };
    let (used, Some(size)) = case.shown(of) else {
        return Judged::ruled_out(Evidence::said(format!("{} is not set", limit.name())));
    };
    let part = part(case, limit);
    let filled = format!("{used} of {size} used");
    let text = if part <= 0.0 {
        format!("{filled}; no wait was for it")
    } else if share < SUPPORTED {
        format!("{filled}, but what holds those connections is the cause: without it they would be enough")
    } else {
        format!("{filled}; {} of the wait was for it", percent(part))
    };
    let mut evidence =
        vec![Evidence::new(text, [("used", f64::from(used)), ("size", f64::from(size)), ("wait_share", part)])];
    if let Some(hold) = case.window.hold_us().filter(|_| part > 0.0) {
        let usual = case.memory.usual.hold_us();
        let beside = usual.map_or_else(String::new, |usual| format!(" (usually {})", span(usual)));
        evidence.push(Evidence::new(
            format!("a connection is held for {}{beside}", span(hold)),
            [("hold_us", hold), ("usual_hold_us", usual.unwrap_or(f64::NAN))],
        ));
    }
    evidence.extend(more);
    Judged::by(share, evidence, || remedy::next_step(limit, &case.host.name, &case.pool.key))
}
