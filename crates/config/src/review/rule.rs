//! The rules: one file each, by families, listed once. A rule reads the [`Dossier`] and says what it finds; it knows no file format.

use super::dossier::Dossier;
use super::finding::{Finding, Fix, Label};
use super::need::Need;
use super::place::Place;
use crate::finding::Severity;

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable code, `CAP-01`.
    pub code: &'static str,
    /// How much its findings matter, where the finding does not say otherwise.
    pub severity: Severity,
    /// What is wrong, in half a sentence.
    pub title: &'static str,
    /// When it fires, as a formula; the symbols are explained on the manual page of the chain.
    pub condition: &'static str,
    /// Why it matters: what happens, with the evidence.
    pub why: &'static str,
    /// What to do, in general; a finding says it with the numbers of its case.
    pub fix: &'static str,
    /// What it needs to know; where one of them is missing the rule is listed as not checked.
    pub needs: &'static [Need],
    pub(crate) check: fn(&Dossier, &mut Out<'_>),
}

/// Where a rule puts what it finds.
#[derive(Debug)]
pub(crate) struct Out<'a> {
    rule: &'a Rule,
    findings: Vec<Finding>,
    /// What was missing for a part of the inputs, though not for all.
    lacking: Vec<(&'static str, String)>,
}

impl<'a> Out<'a> {
    pub(crate) const fn new(rule: &'a Rule) -> Self {
        Self { rule, findings: Vec::new(), lacking: Vec::new() }
    }

    /// Begins a finding about the value at `place`, in the words of this case: lower case, no full stop, with its numbers.
    pub(crate) fn find(&mut self, message: String, place: &Place, label: impl Into<String>) -> &mut Finding {
        self.findings.push(Finding {
            code: self.rule.code,
            severity: self.rule.severity,
            message,
            labels: vec![Label { place: place.clone(), text: label.into(), primary: true }],
            why: String::new(),
            fix: Fix::default(),
        });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    /// `who` could not be judged, for this is not known of it.
    pub(crate) fn lacks(&mut self, need: Need, who: &str) {
        if !self.lacking.iter().any(|(name, of)| *name == need.name && of == who) {
            self.lacking.push((need.name, who.to_owned()));
        }
    }

    pub(crate) fn done(self) -> (Vec<Finding>, Vec<(&'static str, String)>) {
        (self.findings, self.lacking)
    }
}

/// Lists the files of a family and its rules.
macro_rules! rules {
    ($($module:ident,)*) => {
        $(mod $module;)*
        /// The family's rules.
        pub(super) const RULES: &[&Rule] = &[$(&$module::RULE),*];
    };
}

mod cap;
mod dlk;
mod eff;
mod mode;
mod mul;
mod obs;
mod os;
mod tmo;

/// Every rule once, in the order of the catalogue.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let families = [cap::RULES, mul::RULES, tmo::RULES, mode::RULES, dlk::RULES, eff::RULES, os::RULES, obs::RULES];
    families.into_iter().flatten().copied()
}
