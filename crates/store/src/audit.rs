//! The audit trail: who did what to what, and how it ended. A plain value; `record` writes and reads it.

/// One deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, in milliseconds since 1970, UTC.
    pub at_ms: u64,
    /// Who: a user of the console, a holder of the token, a signal.
    pub by: String,
    /// The verb, as the command line names it.
    pub verb: String,
    /// What it was done to; empty where the verb needs none.
    pub target: String,
    /// How it ended.
    pub outcome: String,
}
