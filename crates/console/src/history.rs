//! The history of the configuration as JSON. The names are a contract: they are added to, never changed.

use poolwarden_store::{Effect, Entry, Measures, PoolEffect, Version, VersionState};
use serde_json::{Value, json};

use crate::calendar::rfc3339;
use crate::standing::{self, Standing};

/// A page of the history.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Versions, newest first.
    pub versions: Vec<Version>,
    /// Deeds of operators, newest first.
    pub audit: Vec<Entry>,
    /// How what is in force stands.
    pub standing: Standing,
    /// Whether the texts of the versions are told.
    pub texts: bool,
}

/// The page for programs.
#[must_use]
pub fn page(of: &History) -> Value {
    let one = |version: &Version| {
        let mut json = version_json(version, &of.standing);
        if of.texts {
            json["text"] = json!(version.text);
        }
        json
    };
    json!({
        "schema": 1,
        "running": standing::brief(&of.standing),
        "versions": of.versions.iter().map(one).collect::<Vec<_>>(),
        "audit": of.audit.iter().map(entry).collect::<Vec<_>>(),
    })
}

/// One version.
#[must_use]
pub fn version_json(of: &Version, standing: &Standing) -> Value {
    let diff = |change: &poolwarden_store::KeyChange| json!({"key": change.key, "from": change.from, "to": change.to});
    let (state, until_ms, why, back_to) = state(&of.state);
    json!({
        "n": of.n,
        "at": rfc3339(of.at_ms),
        "by": of.by,
        "reason": of.reason,
        "diff": of.changes.iter().map(diff).collect::<Vec<_>>(),
        "state": state,
        "in_force": standing.version == Some(of.n),
        "until": until_ms.map(rfc3339),
        "why": why,
        "back_to": back_to,
        "hash": of.hash,
        "measured_effect": of.effect.as_ref().map(effect),
    })
}

fn state(of: &VersionState) -> (&'static str, Option<u64>, Option<&str>, Option<u64>) {
    match of {
        VersionState::Confirmed => ("confirmed", None, None, None),
        VersionState::Tentative { until_ms } => ("tentative", Some(*until_ms), None, None),
        VersionState::Undone { why } => ("undone", None, Some(why), None),
        VersionState::RolledBack { to } => ("rolled_back", None, None, Some(*to)),
        VersionState::Superseded => ("superseded", None, None, None),
        VersionState::Refused { why } => ("refused", None, Some(why), None),
        VersionState::Interrupted => ("interrupted", None, None, None),
    }
}

fn effect(of: &Effect) -> Value {
    let pool = |of: &PoolEffect| {
        json!({
            "pool": of.database, "user": of.user, "server": of.server,
            "before": measures(&of.before), "after": measures(&of.after),
        })
    };
    json!({"sentence": of.sentence, "pools": of.pools.iter().map(pool).collect::<Vec<_>>()})
}

fn measures(of: &Measures) -> Value {
    json!({
        "window_ms": of.window_ms,
        "arrivals_per_s": of.arrivals_per_ks as f64 / 1e3,
        "waiting": of.waiting_milli as f64 / 1e3,
        "refused": of.refused,
        "wait_p99_ms": of.wait_p99_us.map(|us| us as f64 / 1e3),
        "binding_limit": of.binding,
    })
}

fn entry(of: &Entry) -> Value {
    json!({"at": rfc3339(of.at_ms), "by": of.by, "verb": of.verb, "target": of.target, "outcome": of.outcome})
}
