//! What runs, asked for the review: facts as `key = value`, under names that rules know. Passwords are never in them.

use poolwarden_config::review::Facts;

/// What was told.
pub(crate) struct Told {
    pub(crate) facts: Facts,
    /// What it would not tell, in words with what to do.
    pub(crate) unseen: Vec<String>,
}

pub(crate) fn ask(url: &str) -> anyhow::Result<Told> {
    anyhow::bail!("--live {url}")
}
