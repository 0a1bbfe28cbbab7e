//! `scale_out`: twice as many clients as usually, with no more work: a deployment that overlaps, or was scaled.

use super::Judged;
use crate::case::Case;
use crate::why::Evidence;

/// So many times the usual clients.
const MORE: f64 = 2.0;

pub(super) fn judge(case: &Case<'_>) -> Judged {
    let now = case.view.process.clients.used as f64;
    let Some(usual) = case.process.usual_clients else {
        return Judged::not_testable("how many clients are usual is not known yet");
    };
    let evidence =
        Evidence::new(format!("{now:.0} clients (usually {usual:.0})"), [("clients", now), ("usual_clients", usual)]);
    let share =
        if case.troubled && usual >= 1.0 && now >= usual * MORE && crate::share::grown(case, case.memory).is_none() {
            1.0
        } else {
            0.0
        };
    Judged::by(share, vec![evidence], || {
        "see which deployment opened them, and what its pools may add up to".to_owned()
    })
}
