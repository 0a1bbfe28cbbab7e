//! The answer for people: one table, what would be enough, what it hangs on, and what is assumed.

use std::fmt::Write;
use std::time::Duration;

use poolwarden_pool::Limit;
use poolwarden_sim::study::{Change, Interval, Smallest};

use super::answer::{Answer, Row, Variant};

pub(crate) fn text(answer: &Answer) -> String {
    let mut out = String::new();
    let names = answer.variants.iter().map(|variant| variant.name.len()).chain(["measured".len()]);
    let widest = names.max().unwrap_or(0);
    // Writing to a String does not fail, here and below.
    let _ = writeln!(
        out,
        "{:<widest$}  {:<20} {:>9} {:>9} {:>9} {:>9} {:>9}  {:<24} binding limit",
        "", "pool", "granted", "failed", "wait p50", "p95", "p99", "p99 of nine in ten"
    );
    for measured in &answer.measured {
        row(&mut out, ("measured", widest), &Row::from(measured), None);
    }
    for variant in &answer.variants {
        for (place, pool) in variant.outcome.course.pools.iter().enumerate() {
            row(&mut out, (&variant.name, widest), &Row::from(pool), variant.interval(place));
        }
    }
    for variant in &answer.variants {
        smallest(&mut out, answer, variant);
        if variant.is_extrapolated {
            let _ = writeln!(
                out,
                "{}: extrapolated: {} at once, more than was ever seen; PostgreSQL may slow down there",
                variant.name, variant.outcome.most_lent
            );
        }
    }
    table(&mut out, answer);
    for note in &answer.notes {
        let _ = writeln!(out, "note: {note}");
    }
    let _ = writeln!(out, "simulated: the core's decisions in virtual time, without scheduler delay or socket cost");
    if let Some(why) = answer.inconclusive() {
        let _ = writeln!(out, "inconclusive: {why}");
    }
    out
}

fn row(out: &mut String, (name, widest): (&str, usize), row: &Row<'_>, interval: Option<&Interval>) {
    let between = interval.map(|of| format!("{} to {}", ms(of.wait_p99.0), ms(of.wait_p99.1))).unwrap_or_default();
    let _ = writeln!(
        out,
        "{name:<widest$}  {:<20} {:>9} {:>9} {:>9} {:>9} {:>9}  {between:<24} {}",
        format!("{}/{}", row.key.database, row.key.user),
        row.granted,
        format!("{:.2}%", row.failed * 100.0),
        ms(row.waits.p50),
        ms(row.waits.p95),
        ms(row.waits.p99),
        row.binding.unwrap_or("none"),
    );
}

fn smallest(out: &mut String, answer: &Answer, variant: &Variant) {
    let goal = format!("p99 at most {} and at most {}% failed", ms(answer.goal.wait_p99), answer.goal.failed * 100.0);
    for (pool, smallest) in variant.outcome.course.pools.iter().zip(&variant.smallest) {
        let what = match smallest {
            Smallest::Size(size) => format!("smallest size with {goal}: {size}"),
            Smallest::None(Some(limit)) => format!("no size gives {goal}: {} binds", limit.name()),
            Smallest::None(None) => format!("no size gives {goal}"),
        };
        let _ = writeln!(out, "{}: {}/{}: {what}", variant.name, pool.key.database, pool.key.user);
    }
}

fn table(out: &mut String, answer: &Answer) {
    if !answer.sensitivity.is_empty() {
        let _ = writeln!(
            out,
            "\nwhat it hangs on       {:<20} {:>9}  {:<24} {:>9}  nine in ten",
            "pool", "p99", "nine in ten", "failed"
        );
    }
    for row in &answer.sensitivity {
        let Interval { wait_p99, failed } = row.interval;
        let _ = writeln!(
            out,
            "{:<22} {:<20} {:>9}  {:<24} {:>9}  {:.2}% to {:.2}%",
            change(row.change),
            format!("{}/{}", row.key.database, row.key.user),
            ms(row.wait_p99),
            format!("{} to {}", ms(wait_p99.0), ms(wait_p99.1)),
            format!("{:.2}%", row.failed * 100.0),
            failed.0 * 100.0,
            failed.1 * 100.0
        );
    }
}

/// `demand x 1.5`.
pub(super) fn change(of: Change) -> String {
    let all = [("demand", of.demand), ("work", of.work), ("connects", of.connect)];
    let said: Vec<String> =
        all.into_iter().filter(|(_, times)| *times != 1.0).map(|(name, times)| format!("{name} x {times}")).collect();
    said.join(", ")
}

pub(super) fn ms(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 100.0 { format!("{ms:.1}ms") } else { format!("{ms:.0}ms") }
}

/// The limit's name, or that there was none.
pub(super) fn limit(of: Option<Limit>) -> &'static str {
    of.map_or("none", Limit::name)
}
