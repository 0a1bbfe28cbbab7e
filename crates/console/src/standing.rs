//! How what is in force stands: which version of the history it is, whether the file says the same, what waits or is on trial.

use serde_json::{Value, json};

use crate::calendar::rfc3339;
use crate::why::paragraph;

/// How the configuration in force stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its number in the history; `None`: it is not there (yet).
    pub version: Option<u64>,
    /// How the file differs from it; `None`: it does not.
    pub drift: Option<Drift>,
    /// Until when it is to be confirmed, in milliseconds since 1970 UTC; `None`: it needs no confirmation.
    pub confirm_until_ms: Option<u64>,
    /// Until when its effect is measured, likewise; `None`: it is not on trial.
    pub trial_until_ms: Option<u64>,
    /// Why the history is not written; `None`: it is.
    pub history_trouble: Option<String>,
    /// Writes of the history that are lost.
    pub history_lost: u64,
    /// How recording goes.
    pub recording: Recording,
}

/// How recording goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Why nothing is written; `None`: it is, or nothing is to be.
    pub trouble: Option<String>,
    /// Checkouts that are in a recording.
    pub checkouts: u64,
    /// Checkouts that never will be.
    pub lost: u64,
    /// Bytes of all recordings.
    pub bytes: u64,
}

/// The file and what runs are not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Since when, in milliseconds since 1970 UTC.
    pub since_ms: u64,
    /// What differs, and what to do.
    pub why: String,
}

/// Who edits the file and reloads it a moment later has done nothing odd; later than this it is worth a word.
const LASTING_MS: u64 = 15_000;

impl Drift {
    /// Whether it is more than an edit under way.
    #[must_use]
    pub const fn lasts(&self, now_ms: u64) -> bool {
        now_ms >= self.since_ms + LASTING_MS
    }
}

/// What is out of the ordinary, a paragraph each: below the answer to "why?".
pub fn lines(of: &Standing, width: usize, out: &mut String) {
    let version = of.version.map_or_else(|| "what runs".to_owned(), |n| format!("version {n}"));
    if let Some(until) = of.confirm_until_ms {
        let text = format!("{version} is undone at {} unless confirmed: poolwarden confirm", rfc3339(until));
        paragraph(out, "unconfirmed", &text, width);
    }
    if let Some(drift) = &of.drift {
        paragraph(out, "drift", &drift.why, width);
    }
    if let Some(why) = &of.history_trouble {
        paragraph(out, "history", &format!("it is not written: {why}"), width);
    }
    if let Some(why) = &of.recording.trouble {
        paragraph(out, "recording", &format!("traffic is not recorded: {why}"), width);
    }
}

/// The same for programs.
#[must_use]
pub fn brief(of: &Standing) -> Value {
    json!({
        "version": of.version,
        "drift": of.drift.as_ref().map(|drift| json!({"since": rfc3339(drift.since_ms), "message": drift.why})),
        "confirm_until": of.confirm_until_ms.map(rfc3339),
        "trial_until": of.trial_until_ms.map(rfc3339),
        "history_trouble": of.history_trouble,
        "recording_trouble": of.recording.trouble,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinary_needs_no_line_and_everything_else_has_one() {
        let calm = Standing { version: Some(7), trial_until_ms: Some(60_000), ..Standing::default() };
        let text = |of: &Standing| {
            let mut out = String::new();
            lines(of, 200, &mut out);
            out
        };
        assert_eq!(text(&calm), "");
        let odd = Standing {
            confirm_until_ms: Some(0),
            drift: Some(Drift { since_ms: 0, why: "a.toml does not say what runs".to_owned() }),
            history_trouble: Some("disk full".to_owned()),
            recording: Recording { trouble: Some("disk fuller".to_owned()), ..Recording::default() },
            ..calm
        };
        let said = text(&odd);
        let unconfirmed = "version 7 is undone at 1970-01-01T00:00:00Z unless confirmed: poolwarden confirm";
        for expected in
            [unconfirmed, "a.toml does not say what runs", "it is not written: disk full", "not recorded: disk fuller"]
        {
            assert!(said.contains(expected), "{said}");
        }
        assert_eq!(brief(&odd)["drift"]["since"], "1970-01-01T00:00:00Z");
    }
}
