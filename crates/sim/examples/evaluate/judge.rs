//! What was said, held against the truth.

use std::fmt::Write;

use poolwarden_watch::Urgency;

use crate::oracle;
use crate::seen::Seen;
use crate::worlds::{Kind, NAMES, World};

/// With less lead than this nobody could do anything.
const LEAD_S: f64 = 120.0;
/// A page this long before clients feel it is about it; earlier ones are false.
const ABOUT_S: f64 = 4.0 * 3_600.0;

/// One world's.
#[derive(Debug)]
pub(crate) struct Score {
    pub(crate) name: String,
    pub(crate) seed: u64,
    kind: Kind,
    hours: f64,
    /// When clients felt it, after it began.
    onset_s: Option<f64>,
    /// How long before that the oracle knew, and the watcher paged. Below 0: after.
    oracle_s: Option<f64>,
    lead_s: Option<f64>,
    /// How long after it began the page came.
    after_s: Option<f64>,
    /// Pages about nothing.
    false_pages: usize,
    /// What was named first, and whether it is right; `None`: nothing was.
    named: Option<(String, bool)>,
    stock_lead_s: Option<f64>,
    stock_false: usize,
    watched_s: f64,
}

/// Scores one world.
pub(crate) fn score(world: &World, seen: &Seen) -> Score {
    let truth = &world.truth;
    let begins = truth.begins_s;
    let onset = if truth.kind == Kind::Benign { None } else { seen.onset(begins) };
    let pages: Vec<_> = seen.told.iter().filter(|told| told.urgency >= Urgency::PageEarly).collect();
    let about = |at_s: f64| match onset {
        Some(onset) => at_s >= begins && at_s >= onset - ABOUT_S,
        None => truth.kind != Kind::Benign && at_s >= begins,
    };
    // Clients may have felt something in a benign world, too: a page then is right.
    let felt = |at_s: f64| {
        let at = at_s as usize;
        let near = seen.seconds.iter().take(at + 1).skip(at.saturating_sub(15));
        near.filter(|second| second.is_bad).count() >= 3
    };
    let first = pages.iter().find(|told| about(told.at_s));
    let false_pages = pages.iter().filter(|told| !about(told.at_s) && !felt(told.at_s)).count();
    let is_right = |cause: &str| truth.causes.iter().any(|right| right == cause);
    let named = match truth.kind {
        Kind::Benign => None,
        Kind::Gradual | Kind::Sudden => {
            // The cause the first page names, or the first one it is raised with.
            let cause = pages.iter().filter(|told| about(told.at_s)).find_map(|told| told.cause);
            cause.map(|cause| (cause.to_owned(), is_right(cause)))
        }
    };
    let stock = seen.stock.iter().filter_map(|(_, fired)| *fired);
    let stock_first = stock.clone().filter(|at_s| about(*at_s)).min_by(f64::total_cmp);
    Score {
        name: world.name.clone(),
        seed: world.seed,
        kind: truth.kind,
        hours: seen.seconds.len() as f64 / 3_600.0,
        onset_s: onset,
        oracle_s: onset.and_then(|onset| Some(onset - oracle::knows(seen, truth)?)),
        lead_s: onset.and_then(|onset| Some(onset - first?.at_s)),
        after_s: first.map(|told| told.at_s - begins),
        false_pages,
        named,
        stock_lead_s: onset.and_then(|onset| Some(onset - stock_first?)),
        stock_false: stock.filter(|at_s| !about(*at_s) && !felt(*at_s)).count(),
        watched_s: seen.watched_s,
    }
}

impl Score {
    pub(crate) fn said(&self) -> String {
        let seconds = |of: Option<f64>| of.map_or("-".to_owned(), |of| format!("{of:.0}"));
        format!(
            "{} {}: onset {}, oracle's lead {}, lead {}, after {}, named {}, false {}, stock {} ({:.0} us a look)",
            self.name,
            self.seed,
            seconds(self.onset_s),
            seconds(self.oracle_s),
            seconds(self.lead_s),
            seconds(self.after_s),
            self.named
                .as_ref()
                .map_or("nothing".to_owned(), |(name, right)| format!("{name}{}", if *right { "" } else { " WRONG" })),
            self.false_pages,
            seconds(self.stock_lead_s),
            self.watched_s / (self.hours * 3_600.0) * 1e6,
        )
    }
}

fn middle(mut all: Vec<f64>) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    Some((all.get(all.len() / 2)? + all[(all.len() - 1) / 2]) / 2.0)
}

/// The largest mean with which so few events are not unlikely: the upper bound, 95 %, of a Poisson mean (Garwood 1936), by Wilson
/// and Hilferty's cube.
fn poisson_upper(count: usize) -> f64 {
    let shape = count as f64 + 1.0;
    let ninth = 1.0 / (9.0 * shape);
    shape * (1.0 - ninth + 1.645 * ninth.sqrt()).powi(3)
}

/// All of them.
pub(crate) fn json(seeds: &str, scores: &[Score]) -> String {
    let number = |of: Option<f64>| of.filter(|of| of.is_finite()).map_or("null".to_owned(), |of| format!("{of:.3}"));
    let mut rows = Vec::new();
    for name in NAMES {
        let of: Vec<&Score> = scores.iter().filter(|score| score.name == name).collect();
        if of.is_empty() {
            continue;
        }
        let foreseeable: Vec<&&Score> = of
            .iter()
            .filter(|score| score.kind == Kind::Gradual && score.oracle_s.is_some_and(|lead| lead >= LEAD_S))
            .collect();
        let caught = foreseeable.iter().filter(|score| score.lead_s.is_some_and(|lead| lead > 0.0)).count();
        let parts = foreseeable.iter().filter_map(|score| Some(score.lead_s.unwrap_or(0.0).max(0.0) / score.oracle_s?));
        let felt = of.iter().filter(|score| score.onset_s.is_some()).count();
        let named = of.iter().filter(|score| score.named.is_some()).count();
        let right = of.iter().filter(|score| score.named.as_ref().is_some_and(|(_, right)| *right)).count();
        let late = of.iter().filter_map(|score| Some(-score.lead_s?)).fold(f64::NEG_INFINITY, f64::max);
        let mut row = String::new();
        // Writing to a String does not fail.
        let _ = write!(
            row,
            "{{\"world\":\"{name}\",\"runs\":{},\"felt\":{felt},\"foreseeable\":{},\"caught\":{caught},\"median_lead_s\":{},\
             \"median_part_of_oracle\":{},\"median_after_s\":{},\"latest_s\":{},\"false_pages\":{},\"pool_hours\":{:.1},\"named\":{named},\
             \"right\":{right},\"stock_median_lead_s\":{},\"stock_false\":{}}}",
            of.len(),
            foreseeable.len(),
            number(middle(of.iter().filter_map(|score| score.lead_s).collect())),
            number(middle(parts.collect())),
            number(middle(of.iter().filter_map(|score| score.after_s).collect())),
            number(Some(late)),
            of.iter().map(|score| score.false_pages).sum::<usize>(),
            of.iter().map(|score| score.hours).sum::<f64>(),
            number(middle(of.iter().filter_map(|score| score.stock_lead_s).collect())),
            of.iter().map(|score| score.stock_false).sum::<usize>(),
        );
        rows.push(row);
    }
    let benign = || scores.iter().filter(|score| score.kind == Kind::Benign);
    let (hours, pages) =
        (benign().map(|score| score.hours).sum::<f64>(), benign().map(|score| score.false_pages).sum::<usize>());
    let a_month = poisson_upper(pages) / (hours / 720.0).max(f64::MIN_POSITIVE);
    let look_us = scores.iter().map(|score| score.watched_s).sum::<f64>()
        / scores.iter().map(|score| score.hours * 3_600.0).sum::<f64>().max(1.0)
        * 1e6;
    format!(
        "{{\"seeds\":\"{seeds}\",\"benign_pool_hours\":{hours:.0},\"benign_false_pages\":{pages},\"false_pages_per_pool_month_at_most\":{},\
         \"look_us\":{look_us:.1},\"worlds\":[{}]}}",
        number(Some(a_month)),
        rows.join(",")
    )
}
