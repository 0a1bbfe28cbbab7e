//! `[[probe]]`: an address of the web tier that is asked again and again.

use std::time::Duration;

/// One probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What reports call it; no two alike.
    pub name: String,
    /// The address as it is written; without user and password.
    pub url: String,
    /// Whether it is https.
    pub tls: bool,
    /// Name or address of the host; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Host and port as the address writes them.
    pub authority: String,
    /// Path and query; begins with a slash.
    pub target: String,
    /// Status of a good answer.
    pub expect: u16,
    /// Time between two questions, at least [`Probe::MIN_EVERY`].
    pub every: Duration,
    /// An answer that takes longer is none; at most [`Probe::MAX_TIMEOUT`].
    pub timeout: Duration,
    /// Whether the route needs the database; `None`: the file does not say.
    pub database: Option<bool>,
}

impl Probe {
    /// Most probes: each is a task, and a person looks at all of them.
    pub const MAX: usize = 32;
    /// Asking more often would be load.
    pub const MIN_EVERY: Duration = Duration::from_secs(1);
    /// Users have left long before.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);
}
