//! `slow_query`: one statement takes far longer than leases usually do, and holds most connections.

use super::Judged;
use crate::case::Case;
use crate::say::{percent, quoted, span};
use crate::share::SUPPORTED;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>, share: f64) -> Judged {
    let still = case.memory.ended_ms < case.memory.troubled_since_ms.unwrap_or_default();
    if share >= SUPPORTED && still && case.is_too_early() {
        return Judged::not_testable("nothing has ended since requests began to wait: PostgreSQL may stand still");
    }
    let uses = case.uses();
    let mut evidence = vec![Evidence::new(
        format!(
            "{} of the lent connections run a statement for far longer than usual ({:.1} of {:.1})",
            percent(uses.share(uses.slow)),
            uses.mean(uses.slow),
            uses.mean(uses.lent)
        ),
        [("slow", uses.mean(uses.slow)), ("lent", uses.mean(uses.lent))],
    )];
    let top = uses.slow_by.first().filter(|(fingerprint, _)| *fingerprint != 0);
    let text = top.and_then(|(fingerprint, _)| text_of(case, *fingerprint));
    if let Some((fingerprint, count)) = top {
        let longest =
            case.leases().filter(|(_, lease)| lease.fingerprint == *fingerprint).map(|(_, lease)| lease.state_us).max();
        let part = f64::from(*count) / f64::from(uses.slow.max(1));
        let running =
            longest.map_or_else(String::new, |longest| format!(", the longest now for {}", span(longest as f64)));
        evidence.push(Evidence::new(
            format!(
                "{} of those run {}{running}",
                percent(part),
                quoted(text.as_deref().unwrap_or("a statement that has ended since"))
            ),
            [("part", part), ("longest_us", longest.unwrap_or_default() as f64)],
        ));
    }
    Judged::by(share, evidence, || match &text {
        Some(text) => format!("see why {} is slow (plan, statistics, an index), or shed who runs it", quoted(text)),
        None => "see which statements are slow (holders), and shed who runs them".to_owned(),
    })
}

/// The statement of a fingerprint, as somebody runs it now or ran it before.
fn text_of(case: &Case<'_>, fingerprint: u64) -> Option<String> {
    let now = case.leases().map(|(_, lease)| lease).find(|lease| lease.fingerprint == fingerprint);
    let name = format!("{fingerprint:016x}");
    let before = || {
        let known = case.view.usage.iter().find(|usage| usage.name.as_deref() == Some(name.as_str()));
        known.map(|usage| usage.query.clone())
    };
    now.map(|lease| lease.query.clone()).or_else(before).filter(|text| !text.is_empty())
}
