//! What stands beside the pools: the web tier as probes see it, and what was changed when.

/// Most changes that are kept.
pub const MAX_CHANGES: usize = 64;

/// One `[[probe]]`. Counts grow while the process lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeView {
    /// Its name.
    pub name: String,
    /// What is asked for.
    pub url: String,
    /// Whether the route needs the database; `None`: the configuration does not say.
    pub database: Option<bool>,
    /// Answers as expected.
    pub good: u64,
    /// Other answers, and none in time.
    pub bad: u64,
    /// The newest try, if there was one.
    pub last: Option<ProbeResult>,
}

/// What one try came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeResult {
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// As expected.
    pub good: bool,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// The status answered; `None`: none was.
    pub status: Option<u16>,
    /// What went wrong, in words; empty when nothing did.
    pub error: String,
}

/// A change of the configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeView {
    /// When, in milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// The setting's path.
    pub key: String,
    /// Its value before; `None`: it was not there.
    pub from: Option<String>,
    /// Its value since; `None`: it is gone.
    pub to: Option<String>,
    /// By what: `reload`, `set`.
    pub by: String,
}
