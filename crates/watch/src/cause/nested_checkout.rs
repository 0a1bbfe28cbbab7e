//! `nested_checkout`: clients that hold a connection wait for a second one: they wait for each other.

use super::Judged;
use crate::case::Case;
use crate::share::is_nested;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    if !is_nested(case) {
        let ended = case.window.leases;
        let text = format!("it is no standstill of holders that wait: {ended} leases ended in the last seconds");
        return Judged::ruled_out(Evidence::new(text, [("leases", ended as f64)]));
    }
    let (held, waiting) = (case.pool.slots.lent, case.pool.waiting);
    let text = format!(
        "all {held} connections are idle in transaction, nothing ends, and who holds them waits for more ({waiting})"
    );
    let evidence = vec![Evidence::new(text, [("lent", f64::from(held)), ("waiting", f64::from(waiting))])];
    Judged::by(share, evidence, || {
        let database = &case.pool.key.database;
        format!(
            "poolwarden terminate --stuck {database} breaks it now; then have each task use one connection, or size the pool above tasks x (connections - 1) + 1"
        )
    })
}
