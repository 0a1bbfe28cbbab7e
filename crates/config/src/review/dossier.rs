//! Everything the inputs told, together: what rules read.

use std::collections::BTreeMap;

use super::chain::{Alert, App, Pooler, Postgres, Scrape};
use super::place::{Known, Place};

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its path as it was given.
    pub name: String,
    /// Its text, with stars for the letters of secrets, byte for byte as long.
    pub text: String,
}

/// What a running process, PostgreSQL or a recording told: `key = value`, keys with dots.
///
/// `pg.*` PostgreSQL · `pgbouncer.*` a running PgBouncer · `poolwarden.*` a running poolwarden · `host.*` and `process.*` the
/// machine and the limits of the process · `pool.NAME.*` recorded traffic. The whole list is [`super::FACTS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whose: a URL without its password, a recording's path.
    pub name: String,
    /// The facts.
    pub facts: BTreeMap<String, String>,
}

/// Everything the inputs told.
#[derive(Clone, Debug, Default)]
pub struct Dossier {
    /// The files.
    pub texts: Vec<Text>,
    /// What was told rather than written.
    pub facts: Vec<Facts>,
    /// PostgreSQL servers.
    pub postgres: Vec<Postgres>,
    /// Poolers.
    pub poolers: Vec<Pooler>,
    /// Applications.
    pub apps: Vec<App>,
    /// Alerting rules.
    pub alerts: Vec<Alert>,
    /// What Prometheus asks, and how often.
    pub scrapes: Vec<Scrape>,
}

impl Dossier {
    /// A fact of any source, as a number.
    #[must_use]
    pub fn fact(&self, key: &str) -> Option<Known<f64>> {
        self.fact_text(key).and_then(|known| {
            let value = known.value.parse().ok()?;
            Some(Known { value, place: known.place })
        })
    }

    /// A fact of any source, as it was told.
    #[must_use]
    pub fn fact_text(&self, key: &str) -> Option<Known<String>> {
        let told = |(source, facts): (usize, &Facts)| {
            let value = facts.facts.get(key)?.clone();
            Some(Known { value, place: Place::Told { source, key: key.to_owned() } })
        };
        self.facts.iter().enumerate().find_map(told)
    }

    /// All facts whose key starts with `prefix`, of all sources, by the rest of their keys.
    pub fn facts_below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, Known<String>)> {
        self.facts.iter().enumerate().flat_map(move |(source, facts)| {
            facts.facts.iter().filter_map(move |(key, value)| {
                let rest = key.strip_prefix(prefix)?;
                Some((rest, Known { value: value.clone(), place: Place::Told { source, key: key.clone() } }))
            })
        })
    }
}
