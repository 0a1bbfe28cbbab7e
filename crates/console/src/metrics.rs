//! Metrics in OpenMetrics 1.0 text, drawn from one picture of the process.
//!
//! [`CATALOGUE`] lists every metric once, in the order it is written; the text and the reference
//! page come from it. Labels are names out of the configuration and out of closed lists: never an
//! address, a pid or SQL; at most [`MAX_POOLS`] pools have series of their own.

mod catalogue;
mod host;
mod pool;
mod process;
mod text;

pub use catalogue::{CATALOGUE, Kind, Metric};
pub use text::Samples;

use poolwarden_watch::pool::PoolSnapshot;
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

#[cfg(test)]
mod tests;
