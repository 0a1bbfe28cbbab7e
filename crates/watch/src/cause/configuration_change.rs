//! `configuration_change`: a setting was changed shortly before requests began to wait, and it is the one that binds.

use super::Judged;
use crate::case::{Case, RECENT_MS};
use crate::remedy;
use crate::say::span;
use crate::why::Evidence;

pub(super) fn judge(case: &Case<'_>) -> Judged {
    let now = case.view.now_ms;
    let binding = case.pool.binding;
    let setting = binding.map(|limit| remedy::setting(limit, &case.host.name, &case.pool.key));
    let began = case.memory.troubled_since_ms.unwrap_or(now);
    let recent = case.view.changes.iter().rev().filter(|change| now.saturating_sub(change.at_ms) <= RECENT_MS);
    let mut others = 0;
    for change in recent {
        if Some(&change.key) == setting.as_ref() && change.at_ms <= began.saturating_add(2_000) {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            let age = span(now.saturating_sub(change.at_ms) as f64 * 1e3);
            let text = format!(
                "{} was changed from {} to {} ({}) {age} ago",
                change.key,
                shown(&change.from),
                shown(&change.to),
                change.by
            );
            let share = binding.map_or(0.0, |limit| crate::share::part(case, limit));
            return Judged::by(if case.troubled { share } else { 0.0 }, vec![Evidence::said(text)], || {
                match &change.from {
                    Some(from) => format!("set {} back to {from}", change.key),
                    None => format!("take {} out again", change.key),
                }
            });
        }
        others += 1;
    }
    let text = format!("{others} settings were changed in the last ten minutes, none of them what binds");
    Judged::ruled_out(Evidence::new(text, [("changes", f64::from(others))]))
}
