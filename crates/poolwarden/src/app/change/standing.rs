//! What is in force and how it stands: its version, the file, what waits for a confirmation, what is on trial.

use std::sync::Arc;

use poolwarden_console::standing::{self as told, Drift};
use poolwarden_store::Which;
use poolwarden_watch::{Moved, TRIAL_MS, Trial};

use super::chronicle::Chronicle;
use super::file::Mark;
use super::wanted::Basis;

/// One configuration that ran or runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    /// By what the history knows it; `None`: it does not.
    pub(super) which: Option<Which>,
    pub(super) basis: Basis,
}

/// How what is in force stands.
#[derive(Debug, Default)]
pub(in crate::app) struct Standing {
    pub(super) now: Version,
    /// The file's text when it was last read or written here.
    pub(super) file: Arc<str>,
    /// What tells that it is still that file, and whether it was compared since.
    pub(super) seen: Option<Mark>,
    pub(super) drift: Option<Drift>,
    /// What of it was said.
    pub(super) drift_said: Option<String>,
    pub(super) pending: Option<Pending>,
    pub(super) trial: Option<OnTrial>,
    /// What the guard has undone once: the hash of what ran. It is not undone again.
    pub(super) undone: Option<String>,
    /// Why the newest attempt was refused; none where it was not.
    pub(super) refused: Option<String>,
}

/// A change that is undone unless somebody confirms it.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// What runs again if nobody does.
    pub(super) before: Version,
    pub(super) since_ms: u64,
    pub(super) until_ms: u64,
    /// It was said that half of the time is over.
    pub(super) said: bool,
}

/// A change whose effect is being measured.
#[derive(Debug)]
pub(super) struct OnTrial {
    pub(super) trial: Trial,
    pub(super) version: Version,
    /// What would run again.
    pub(super) before: Version,
    pub(super) since_ms: u64,
    /// How far each pool can grow, before and after, with its server's name.
    pub(super) moved: Vec<(String, Moved)>,
    /// What was expected of it.
    pub(super) expected: String,
    /// It came into the file through here.
    pub(super) written: bool,
    /// It goes back to what ran before: it is measured, and never undone.
    pub(super) is_way_back: bool,
}

impl Standing {
    pub(in crate::app) fn begin(which: Option<Which>, basis: Basis) -> Self {
        let file = Arc::clone(&basis.text);
        Self { now: Version { which, basis }, file, ..Self::default() }
    }

    /// What is in force, as it is written.
    pub(in crate::app) fn basis(&self) -> Basis {
        self.now.basis.clone()
    }

    /// The same, and by what the history knows it.
    pub(in crate::app) fn in_force(&self) -> (Option<Which>, Basis) {
        (self.now.which, self.now.basis.clone())
    }

    /// For whoever looks; of recordings it knows nothing.
    pub(in crate::app) fn told(&self, chronicle: &Chronicle) -> told::Standing {
        told::Standing {
            version: chronicle.number(self.now.which),
            drift: self.drift.clone(),
            confirm_until_ms: self.pending.as_ref().map(|pending| pending.until_ms),
            trial_until_ms: self.trial.as_ref().map(|trial| trial.since_ms + TRIAL_MS),
            history_trouble: chronicle.trouble(),
            history_lost: chronicle.lost(),
            recording: told::Recording::default(),
        }
    }
}
