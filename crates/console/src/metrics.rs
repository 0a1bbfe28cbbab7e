//! Metrics in OpenMetrics 1.0 text, drawn from one picture of the process.
//!
//! [`CATALOGUE`] lists every metric once, in the order it is written; the text and the reference
//! page come from it. Labels are names out of the configuration and out of closed lists: never an
//! address, a pid or SQL; at most [`MAX_POOLS`] pools and [`MAX_APPLICATIONS`] applications have series of their own.

mod catalogue;
mod class;
mod host;
mod judged;
mod pgbouncer;
mod pool;
mod probe;
mod process;
mod review;
mod standing;
mod text;
mod usage;

pub use catalogue::{CATALOGUE, Kind, Metric};
pub use text::Samples;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use poolwarden_watch::pool::{ClassId, PoolSnapshot};
use poolwarden_watch::why::{Holder, Why};
use poolwarden_watch::{HostView, View};

use crate::review::Reviewed;
use crate::standing::Standing;
use catalogue::From;

/// The content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Pools beyond this many have no series, and `poolwarden_pools_unlisted` counts them: a pool has
/// about 190 series, and a scraper should not be given more than some tens of thousands.
pub const MAX_POOLS: usize = 300;

/// Applications beyond this many are counted together as [`OTHER`].
pub const MAX_APPLICATIONS: usize = 20;

/// The label of applications that have no series of their own.
pub const OTHER: &str = "other";

/// What is scraped: the picture, and what is understood of it.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// The picture; clients and servers may be left out.
    pub view: View,
    /// How its pools do.
    pub why: Why,
    /// Who holds server connections.
    pub holders: Vec<Holder>,
    /// The newest review; `None`: there is nothing to review.
    pub review: Option<Arc<Reviewed>>,
    /// How the configuration in force stands.
    pub standing: Standing,
    /// Whether the names of PgBouncer's exporter are wanted as well (`listen.pgbouncer_metrics`).
    pub pgbouncer: bool,
}

/// Everything, as text.
#[must_use]
pub fn encode(scrape: &Scrape) -> String {
    let mut samples = Samples::new();
    for metric in &CATALOGUE {
        samples.family(metric);
        match metric.samples {
            From::View(write) => write(&scrape.view, &mut samples),
            From::Scrape(write) => write(scrape, &mut samples),
        }
    }
    if scrape.pgbouncer {
        pgbouncer::encode(&scrape.view, &mut samples);
    }
    samples.end()
}

/// What an application is called in a label: a label without text is none.
fn application_label(name: &str) -> &str {
    if name.is_empty() { "unnamed" } else { name }
}

/// The largest [`MAX_APPLICATIONS`] by `size`, and the rest together as [`OTHER`], last.
fn largest<T: Default>(
    mut all: BTreeMap<&str, T>,
    size: impl Fn(&T) -> u64,
    add: impl Fn(&mut T, &T),
) -> Vec<(&str, T)> {
    let other = all.remove(OTHER);
    let mut sorted: Vec<(&str, T)> = all.into_iter().collect();
    sorted.sort_by_key(|(_, of)| std::cmp::Reverse(size(of)));
    let rest = sorted.split_off(sorted.len().min(MAX_APPLICATIONS));
    if other.is_some() || !rest.is_empty() {
        let mut other = other.unwrap_or_default();
        rest.iter().for_each(|(_, of)| add(&mut other, of));
        sorted.push((OTHER, other));
    }
    sorted
}

/// The pools that have series, each with its host.
fn listed(view: &View) -> impl Iterator<Item = (&HostView, &PoolSnapshot)> {
    view.pools().take(MAX_POOLS)
}

/// A class's name; a class that the picture does not name has its number.
fn class_name(view: &View, class: ClassId) -> Cow<'_, str> {
    let named = view.classes.get(usize::from(class.0));
    named.map_or_else(|| format!("#{}", class.0).into(), |class| Cow::Borrowed(class.name.as_str()))
}

#[cfg(test)]
mod tests;
