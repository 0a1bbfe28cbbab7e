//! `poolwarden_busy`: poolwarden's own loops have no time left, while connections are free.

use super::Judged;
use crate::case::Case;
use crate::say::{percent, span};
use crate::why::Evidence;

/// A loop that was busy for so much of every second has no time left.
const BUSY: f64 = 0.95;
/// And its turns are late by so much.
const LATE_US: u64 = 10_000;

pub(super) fn judge(case: &Case<'_>) -> Judged {
    let process = case.process;
    let evidence = vec![Evidence::new(
        format!(
            "the busiest loop used {} of a core; its longest turn took {}",
            percent(process.busy),
            span(process.lag_us as f64)
        ),
        [("busy", process.busy), ("lag_us", process.lag_us as f64)],
    )];
    let free = case.pool.slots.lent < case.pool.size && case.pool.slots.idle > 0;
    let share = if process.busy >= BUSY && process.lag_us >= LATE_US && free { 1.0 } else { 0.0 };
    Judged::by(share, evidence, || {
        "give poolwarden more cores or another instance; see top for which thread".to_owned()
    })
}
