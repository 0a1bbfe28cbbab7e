//! `pg_down`: PostgreSQL is stopped, starting, shutting down, or takes connections and says nothing.

use super::Judged;
use crate::case::Case;
use crate::say::span;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let server = format!("{}:{}", case.host.address, case.host.port);
    if let Some(silent) = case.silent_ms() {
        let text = format!(
            "PostgreSQL at {server} has not answered for {}, and nothing has ended meanwhile",
            span(silent as f64 * 1e3)
        );
        let evidence = vec![Evidence::new(text, [("silent_ms", silent as f64)])];
        return Judged::by(share, evidence, || {
            format!("see whether PostgreSQL at {server} runs or hangs (disk, memory, a stopped process)")
        });
    }
    if case.host.snapshot.down {
        let said = case.failure().map_or("it went away", |failure| &*failure.message);
        let evidence = vec![Evidence::said(format!("PostgreSQL at {server} cannot be used: {said}"))];
        return Judged::by(share, evidence, || {
            format!("start PostgreSQL at {server}, or see its log; connects are tried again by themselves")
        });
    }
    Judged::ruled_out(reachable(case))
}

/// By what PostgreSQL is known to answer.
pub(super) fn reachable(case: &Case<'_>) -> Evidence {
    match case.activity() {
        Some(activity) => Evidence::new(
            format!("PostgreSQL answered in {}", span(activity.took_us as f64)),
            [("took_us", activity.took_us as f64)],
        ),
        None => Evidence::new(
            format!("{} requests were served in the last seconds", case.window.leases),
            [("leases", case.window.leases as f64)],
        ),
    }
}
