//! `network`: what lies between here and PostgreSQL: no answer at all, a name that is not found, no route.

use super::{Judged, pg_down};
use crate::case::Case;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    if case.is_unreachable() {
        let said = case.failure().map_or("no answer", |failure| &*failure.message);
        let place = format!("{}:{}", case.host.address, case.host.port);
        return Judged::by(share, vec![Evidence::said(format!("{place} does not answer: {said}"))], || {
            format!("see the network and the name between here and {place}")
        });
    }
    if case.host.snapshot.down {
        return Judged::ruled_out(Evidence::said("the server's host answers: it refuses, or says why it cannot"));
    }
    Judged::ruled_out(pg_down::reachable(case))
}
