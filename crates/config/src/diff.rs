//! What changed between two configurations, and whether it can apply live.

use std::collections::BTreeMap;

use crate::model::Config;
use crate::show::Shown;

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Full key, `pools.app.size`.
    pub key: String,
    /// Value before; empty where there was none; `<set>` for a secret.
    pub from: String,
    /// Value after; empty where there is none; `<changed>` for a secret with other content.
    pub to: String,
    /// Whether a reload applies it; else it waits for a restart.
    pub live: bool,
}

/// Everything that differs, in the order of the keys.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut keys: BTreeMap<&str, (Option<&Shown>, Option<&Shown>)> = BTreeMap::new();
    for shown in old.show() {
        keys.entry(&shown.key).or_default().0 = Some(shown);
    }
    for shown in new.show() {
        keys.entry(&shown.key).or_default().1 = Some(shown);
    }
    keys.into_values().filter_map(|(from, to)| change(from, to)).collect()
}

fn change(from: Option<&Shown>, to: Option<&Shown>) -> Option<Change> {
    let either = to.or(from)?;
    let text = |shown: Option<&Shown>| shown.map(|shown| shown.value.clone()).unwrap_or_default();
    let secret = |shown: Option<&Shown>| shown.and_then(|shown| shown.secret.clone());
    let (before, mut after) = (text(from), text(to));
    if before == after {
        if secret(from) == secret(to) {
            return None;
        }
        after = "<changed>".to_owned();
    }
    Some(Change { key: either.key.clone(), from: before, to: after, live: either.live })
}
