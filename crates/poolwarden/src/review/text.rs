//! A review for people: findings, the waterfall of limits, what could not be checked, the sum.

use std::collections::BTreeMap;
use std::fmt::Write;

use poolwarden_config::review::{NEEDS, NotChecked, Paint, Standing, printable, render, waterfall};

use super::{Review, some};

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
    out.push_str(&not_checked(review));
    for line in review.incomplete.iter().chain(&review.verdict.missing) {
        let _ = writeln!(out, "inconclusive: {}", printable(line));
    }
    let _ = writeln!(out, "{}", review.sum());
    out
}

/// Rules that could not be checked, below each thing that is missing. While files are wrong, what else to give is not the question.
fn not_checked(review: &Review) -> String {
    let all = &review.verdict.not_checked;
    if all.is_empty() {
        return String::new();
    }
    if review.is_broken() {
        return format!("not checked while that stands: {}\n\n", some(all.len(), "rule"));
    }
    let mut wants: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for NotChecked { code, needs, of } in all {
        let whose = if of.is_empty() { String::new() } else { format!(" ({})", printable(&of.join(", "))) };
        for need in needs {
            wants.entry(need).or_default().push(format!("{code}{whose}"));
        }
    }
    let mut out = "not checked, for want of\n".to_owned();
    for known in NEEDS {
        let Some(codes) = wants.get(known.name) else { continue };
        let _ = writeln!(out, "  {}: give {}\n      {}", known.name, known.from, codes.join(" "));
    }
    out.push('\n');
    out
}
