//! A review for people: findings, the waterfall of limits, what could not be checked, the sum.

use std::collections::BTreeMap;
use std::fmt::Write;

use poolwarden_config::review::{NEEDS, NotChecked, Paint, Standing, printable, render, waterfall};

use super::Review;

pub(super) fn text(review: &Review, paint: Paint) -> String {
    let atlas = review.atlas();
    let mut out = String::new();
    for judged in review.counting() {
        out.push_str(&render(&atlas, &judged.finding, paint));
        out.push('\n');
    }
    out.push_str(&waterfall::text(&atlas, &review.waterfalls));
    // Writing to a String does not fail, here and below.
    for judged in &review.verdict.findings {
        if let Standing::Allowed(reason) = &judged.standing {
            let words = format!("{}: {}; because: {reason}", judged.finding.code, judged.finding.message);
            let _ = writeln!(out, "allowed: {}", printable(&words));
        }
    }
    for entry in &review.verdict.vanished {
        let words = printable(&entry.words);
        let _ = writeln!(out, "vanished: {} {words}; --update-baseline takes it out", entry.code);
    }
    out.push_str(&not_checked(&review.verdict.not_checked));
    for line in review.incomplete.iter().chain(&review.verdict.missing) {
        let _ = writeln!(out, "inconclusive: {}", printable(line));
    }
    let _ = writeln!(out, "{}", review.sum());
    out
}

/// Rules that could not be checked, by what is missing.
fn not_checked(all: &[NotChecked]) -> String {
    let mut groups: BTreeMap<(&[&str], &[String]), Vec<&str>> = BTreeMap::new();
    for one in all {
        groups.entry((&one.needs, &one.of)).or_default().push(one.code);
    }
    let mut out = String::new();
    for ((needs, of), codes) in groups {
        let who = if of.is_empty() { String::new() } else { format!(" for {}", printable(&of.join(", "))) };
        let _ = writeln!(out, "not checked{who}: {}", codes.join(" "));
        for need in needs {
            let from = NEEDS.iter().find(|known| known.name == *need).map_or("", |need| need.from);
            let _ = writeln!(out, "  missing: {need}; give {from}");
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}
