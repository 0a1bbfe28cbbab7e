//! `connect_limited`: connections are wanted faster than PostgreSQL can be given new logins. It passes by itself.

use poolwarden_pool::Limit;

use super::Judged;
use crate::case::Case;
use crate::remedy;
use crate::share::part;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let (in_flight, allowed) = case.host.snapshot.connects;
    let window = case.window;
    let evidence = Evidence::new(
        format!(
            "{in_flight} connects under way of {allowed} allowed at once; {:.1} logins/s, {} failed",
            window.per_second(window.connects),
            window.connects_failed
        ),
        [
            ("in_flight", f64::from(in_flight)),
            ("allowed", f64::from(allowed)),
            ("connects_per_second", window.per_second(window.connects)),
            ("wait_share", part(case, Limit::Connects)),
        ],
    );
    Judged::by(share, vec![evidence], || remedy::next_step(Limit::Connects, &case.host.name, &case.pool.key))
}
