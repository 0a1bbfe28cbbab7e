//! The review: the whole chain of limits, from client to backend, checked against rules before it matters.
//!
//! Inputs become one [`Dossier`]; rules read it, one file each; a [`Report`] says what was found and what could not be checked.
//! Pure: files and facts are handed in.

mod allow;
pub mod baseline;
pub mod chain;
mod dossier;
pub mod edit;
mod finding;
mod judge;
pub mod manual;
mod need;
mod place;
mod render;
mod rule;
mod source;
mod spot;
mod sums;
mod traffic;
pub mod waterfall;
mod words;

pub use dossier::{Dossier, Facts, Text};
pub use finding::{Edit, Finding, Fix, Label};
pub use judge::{Judged, Required, Standing, Terms, Verdict, exit_code, judge};
pub use need::{NEEDS, Need};
pub use place::{Known, Place};
pub use render::{Paint, printable, render};
pub use rule::{Rule, rules};
pub use source::{Gathered, Input, gather};
pub use spot::{Atlas, Spot};
pub use sums::{least, plus, times};

use std::cmp::Reverse;

/// What a review says.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was found: the worst first, then in the order of the files.
    pub findings: Vec<Finding>,
    /// Rules that could not be checked, or not for all: the code, and what is missing of whom (empty: of everybody).
    pub not_checked: Vec<NotChecked>,
}

/// A rule that could not be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotChecked {
    /// The rule's code.
    pub code: &'static str,
    /// What it needs: names of [`NEEDS`].
    pub needs: Vec<&'static str>,
    /// Of whom it is missing; empty: of everybody.
    pub of: Vec<String>,
}

/// Checks every rule.
#[must_use]
pub fn review(dossier: &Dossier) -> Report {
    let mut report = Report::default();
    for rule in rules() {
        let missing: Vec<_> =
            rule.needs.iter().filter(|need| !(need.is_known)(dossier)).map(|need| need.name).collect();
        if !missing.is_empty() {
            report.not_checked.push(NotChecked { code: rule.code, needs: missing, of: Vec::new() });
            continue;
        }
        let mut out = rule::Out::new(rule);
        (rule.check)(dossier, &mut out);
        let (findings, lacking) = out.done();
        report.findings.extend(findings);
        if !lacking.is_empty() {
            let mut needs: Vec<_> = lacking.iter().map(|(need, _)| *need).collect();
            needs.sort_unstable();
            needs.dedup();
            let of = lacking.into_iter().map(|(_, of)| of).collect();
            report.not_checked.push(NotChecked { code: rule.code, needs, of });
        }
    }
    report.findings.sort_by_key(|finding| (Reverse(finding.severity), place_of(finding)));
    report
}

/// The order of the files, then of their lines.
fn place_of(finding: &Finding) -> (usize, usize) {
    match finding.labels.first().map(|label| &label.place) {
        Some(Place::Text { file, span }) => (*file, span.start),
        Some(Place::Default(_) | Place::Told { .. }) | None => (usize::MAX, 0),
    }
}
