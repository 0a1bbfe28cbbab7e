//! `pool_too_small`: all of the pool's connections do ordinary work, and more of it comes than they can do.

use poolwarden_pool::Limit;

use super::{Judged, limit};
use crate::case::Case;
use crate::share::SUPPORTED;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    if share >= SUPPORTED && case.is_too_early() {
        return Judged::not_testable(
            "requests have waited for a moment only: whether ordinary work holds the connections shows in seconds",
        );
    }
    let enough = case.sources.map(|sources| sources.enough());
    let more = enough.zip(case.sources).map(|(enough, sources)| {
        Evidence::new(
            format!("the demand is {:.1} connections at work; {enough} would make waits rare", sources.load()),
            [("load", sources.load()), ("enough", f64::from(enough))],
        )
    });
    let mut judged = limit::judge(case, share, Limit::PoolSize, more);
    if let Some(enough) = enough.filter(|_| !judged.next_step.is_empty()) {
        let setting = crate::remedy::setting(Limit::PoolSize, &case.host.name, &case.pool.key);
        judged.next_step = format!("set {setting} to {enough}");
    }
    judged
}
