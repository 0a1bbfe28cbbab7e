//! A version of the configuration: what ran from when on, who wanted it and why, what became of it and to what effect.
//!
//! Plain values. They know no table; `record` writes and reads them.

/// One version as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Counts from 1 and is never used twice, also after the oldest were removed.
    pub n: u64,
    /// When it was recorded, in milliseconds since 1970, UTC.
    pub at_ms: u64,
    /// Who asked for it.
    pub by: String,
    /// What they said it is for.
    pub reason: Option<String>,
    /// What differs from the version that ran before, without secrets.
    pub changes: Vec<KeyChange>,
    /// The whole file's text, without secrets.
    pub text: String,
    /// The text's hash, as the caller computes it.
    pub hash: String,
    /// What became of it.
    pub state: VersionState,
    /// What was measured around it; none until it was.
    pub effect: Option<Effect>,
}

/// A version to be recorded. Its fields are those of [`Version`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVersion {
    /// When, in milliseconds since 1970, UTC.
    pub at_ms: u64,
    /// Who asked for it.
    pub by: String,
    /// What they said it is for.
    pub reason: Option<String>,
    /// What differs from the version that ran before, without secrets.
    pub changes: Vec<KeyChange>,
    /// The whole file's text, without secrets.
    pub text: String,
    /// The text's hash.
    pub hash: String,
    /// Its state from the beginning.
    pub state: VersionState,
    /// What becomes of earlier versions with it, written in the same transaction: both or neither.
    /// Those that are not kept any more are passed over.
    pub earlier: Vec<(Which, VersionState)>,
}

/// One setting that a version changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// `pools.app.size`.
    pub key: String,
    /// As written before; none where it was not set.
    pub from: Option<String>,
    /// As written now; none where it was taken out.
    pub to: Option<String>,
}

/// What became of a version.
///
/// ```text
///             ┌─► Undone (by its own deadline or the guard)
/// Tentative ──┼─► Confirmed ──► Superseded | RolledBack | Undone
///             └─► Interrupted (the process ended before it was confirmed)
/// Refused (never ran)
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// It runs until another takes its place; a restart begins with the newest of these.
    Confirmed,
    /// It runs, and is undone unless it is confirmed in time.
    Tentative {
        /// Milliseconds since 1970, UTC.
        until_ms: u64,
    },
    /// It ran and was undone.
    Undone {
        /// What it did, or that nobody confirmed it.
        why: String,
    },
    /// It ran until an operator went back.
    RolledBack {
        /// The version whose text came back.
        to: u64,
    },
    /// It ran until a newer one was confirmed.
    Superseded,
    /// It never ran.
    Refused {
        /// What was wrong with it.
        why: String,
    },
    /// It ran unconfirmed when the process ended.
    Interrupted,
}

/// What came of a version: in a sentence, and pool by pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What came of it, for people.
    pub sentence: String,
    /// The pools it was measured in, the one that matters most first.
    pub pools: Vec<PoolEffect>,
}

/// What was measured in one pool before and after a version began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolEffect {
    /// The server's name.
    pub server: String,
    /// Database name that clients ask for.
    pub database: String,
    /// The pool's user.
    pub user: String,
    /// The window before.
    pub before: Measures,
    /// The window after.
    pub after: Measures,
}

/// One window's measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measures {
    /// Its length, in milliseconds.
    pub window_ms: u64,
    /// Requests that came, per thousand seconds.
    pub arrivals_per_ks: u64,
    /// The mean number of requests that waited, in thousandths.
    pub waiting_milli: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// The 99th percentile of the wait in microseconds; none where nobody was granted.
    pub wait_p99_us: Option<u64>,
    /// The limit that bound, by its listed name; none where none did.
    pub binding: Option<String>,
}

/// A version this process asked to record, known by it before the version has a number. It is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(crate) u64);

/// Which version is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its number.
    Number(u64),
    /// By its ticket: one that could not be written when it was recorded.
    Ticket(Ticket),
}

impl From<u64> for Which {
    fn from(n: u64) -> Self {
        Which::Number(n)
    }
}

impl From<Ticket> for Which {
    fn from(ticket: Ticket) -> Self {
        Which::Ticket(ticket)
    }
}

impl NewVersion {
    /// About what it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let changes = self.changes.iter().map(|change| {
            change.key.len() + change.from.as_ref().map_or(0, String::len) + change.to.as_ref().map_or(0, String::len)
        });
        size_of::<Self>()
            + self.by.len()
            + self.text.len()
            + self.hash.len()
            + self.reason.as_ref().map_or(0, String::len)
            + changes.map(|strings| strings + size_of::<KeyChange>()).sum::<usize>()
            + self.earlier.len() * size_of::<(Which, VersionState)>()
    }
}
