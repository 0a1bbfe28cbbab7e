//! Metrics in OpenMetrics 1.0 text, drawn from one picture of the process.
//!
//! [`CATALOGUE`] lists every metric once, in the order it is written; the text and the reference
//! page come from it. Labels are names out of the configuration and out of closed lists: never an
//! address, a pid or SQL; at most [`MAX_POOLS`] pools have series of their own.

mod catalogue;
mod class;
mod host;
mod pool;
mod process;
mod text;

pub use catalogue::{CATALOGUE, Kind, Metric};
pub use text::Samples;

use std::borrow::Cow;

use poolwarden_watch::pool::{ClassId, PoolSnapshot};
use poolwarden_watch::{HostView, View};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Pools beyond this many have no series, and `poolwarden_pools_unlisted` counts them: a pool has
/// about 150 series, and a scraper should not be given more than some tens of thousands.
pub const MAX_POOLS: usize = 300;

/// Everything, as text.
#[must_use]
pub fn encode(view: &View) -> String {
    let mut samples = Samples::new();
    for metric in &CATALOGUE {
        samples.family(metric);
        (metric.samples)(view, &mut samples);
    }
    samples.end()
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
