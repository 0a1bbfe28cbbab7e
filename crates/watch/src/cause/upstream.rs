//! `upstream`: the pool serves whoever comes, and the application fails all the same: its web tier, its own pool, the way there.

use super::Judged;
use crate::case::Case;
use crate::layer;

pub(super) fn judge(case: &Case<'_>) -> Judged {
    if case.view.probes.is_empty() {
        return Judged::not_testable("no [[probe]] is configured: what the web tier answers is not seen");
    }
    let (failing, evidence) = layer::web(case.view, case.process);
    let share = if failing && !case.troubled && !case.is_down() { 1.0 } else { 0.0 };
    Judged::by(share, vec![evidence], || {
        "look before poolwarden: the web tier's log and its own limits; the pool has room and serves at once".to_owned()
    })
}
