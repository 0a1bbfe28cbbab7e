//! The verdict of a review: which findings count, which were known or are allowed, and what cannot be concluded.

use std::cmp::Reverse;

use super::allow::{self, Allowed};
use super::baseline::{Entry, Known, fingerprint};
use super::dossier::Dossier;
use super::finding::Finding;
use super::need;
use super::source::Gathered;
use super::spot::Atlas;
use super::{NotChecked, Report, place_of};
use crate::finding::Severity;

/// What a review must have had to be conclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// PostgreSQL's slots, and replicas and pool size of every application.
    Topology,
    /// What a running process or PostgreSQL tells.
    Live,
    /// Recorded traffic.
    Recording,
}

/// How it is judged.
#[derive(Clone, Debug)]
pub struct Terms<'a> {
    /// Findings that were known.
    pub baseline: &'a [Entry],
    /// The day, `2026-11-22`.
    pub today: &'a str,
    /// What it must have had.
    pub required: &'a [Required],
    /// From here on a finding fails.
    pub fail_level: Severity,
}

/// What becomes of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It counts.
    New,
    /// The baseline knows it.
    Known,
    /// The allow-list accepts it, with this reason.
    Allowed(String),
}

/// A finding and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The finding.
    pub finding: Finding,
    /// What becomes of it.
    pub standing: Standing,
    /// By what it is recognised.
    pub fingerprint: String,
}

/// The whole.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Everything that was found, the worst first.
    pub findings: Vec<Judged>,
    /// Rules that could not be checked.
    pub not_checked: Vec<NotChecked>,
    /// Lines of the baseline that nothing was found for, though their rules were checked.
    pub vanished: Vec<Entry>,
    /// What was required and is missing, in words.
    pub missing: Vec<String>,
    /// Whether a finding fails.
    pub fails: bool,
}

/// Judges what was found.
#[must_use]
pub fn judge(gathered: &Gathered, report: Report, terms: &Terms<'_>) -> Verdict {
    let dossier = &gathered.dossier;
    let atlas = Atlas::new(dossier);
    let (allowed, faults) = allow::allowed(dossier, terms.today);
    let mut found: Vec<Finding> = gathered.faults.iter().cloned().chain(faults).chain(report.findings).collect();
    found.sort_by_key(|finding| (Reverse(finding.severity), place_of(finding)));
    let mut known = Known::new(terms.baseline);
    let findings: Vec<Judged> = found
        .into_iter()
        .map(|finding| {
            let fingerprint = fingerprint(&atlas, &finding);
            let standing = standing(&finding, &fingerprint, &allowed, &mut known);
            Judged { finding, standing, fingerprint }
        })
        .collect();
    let checked = |entry: &Entry| !report.not_checked.iter().any(|other| other.code == entry.code);
    let fails = |judged: &Judged| judged.standing == Standing::New && judged.finding.severity >= terms.fail_level;
    Verdict {
        fails: findings.iter().any(fails),
        vanished: known.left().into_iter().filter(checked).collect(),
        missing: terms.required.iter().flat_map(|required| missing(dossier, *required)).collect(),
        findings,
        not_checked: report.not_checked,
    }
}

/// A known finding uses up its line of the baseline, also where it is allowed: it has not vanished.
fn standing(finding: &Finding, fingerprint: &str, allowed: &[Allowed], known: &mut Known<'_>) -> Standing {
    let was_known = known.take(fingerprint);
    match allowed.iter().find(|allowed| allowed.code == finding.code) {
        Some(allowed) => Standing::Allowed(allowed.reason.clone()),
        None if was_known => Standing::Known,
        None => Standing::New,
    }
}

/// What of a required input is not there.
fn missing(dossier: &Dossier, required: Required) -> Vec<String> {
    let lacking = |of: &str, need: &need::Need| format!("--require {of}: {} is missing: {}", need.name, need.from);
    let unknown = |of: &'static str, needs: &[need::Need]| -> Vec<String> {
        needs.iter().filter(|need| !(need.is_known)(dossier)).map(|need| lacking(of, need)).collect()
    };
    match required {
        Required::Topology => {
            let needs = [need::APP, need::APP_POOL_SIZE, need::APP_REPLICAS, need::PG_MAX_CONNECTIONS];
            let mut all = unknown("topology", &needs);
            let partly = |what: bool, who: &str, need: &need::Need| {
                (what && (need.is_known)(dossier)).then(|| format!("{} (of {who})", lacking("topology", need)))
            };
            for app in &dossier.apps {
                all.extend(partly(app.pool_size.is_none(), &app.name, &need::APP_POOL_SIZE));
                all.extend(partly(app.replicas.is_none(), &app.name, &need::APP_REPLICAS));
            }
            for postgres in &dossier.postgres {
                all.extend(partly(postgres.max_connections.is_none(), &postgres.name, &need::PG_MAX_CONNECTIONS));
            }
            all
        }
        Required::Live => {
            let told = ["pg.", "pgbouncer.", "poolwarden."].iter().any(|of| dossier.facts_below(of).next().is_some());
            let words = "--require live: nothing running has told anything: name it with --live URL".to_owned();
            if told { Vec::new() } else { vec![words] }
        }
        Required::Recording => unknown("recording", &[need::RECORDED]),
    }
}

/// The exit code: nothing to read or to speak to, then findings, then what is inconclusive, then all is well.
#[must_use]
pub const fn exit_code(unusable: bool, fails: bool, inconclusive: bool) -> u8 {
    match (unusable, fails, inconclusive) {
        (true, ..) => 2,
        (false, true, _) => 1,
        (false, false, true) => 3,
        (false, false, false) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::{Fix, Label, Place, Text, baseline};

    fn finding(code: &'static str, severity: Severity, message: &str, span: std::ops::Range<usize>) -> Finding {
        let label = Label { place: Place::Text { file: 0, span }, text: String::new(), primary: true };
        Finding {
            code,
            severity,
            message: message.into(),
            labels: vec![label],
            why: String::new(),
            fix: Fix::default(),
        }
    }

    fn gathered(text: &str) -> Gathered {
        let texts = vec![Text { name: "poolwarden.toml".into(), text: text.into() }];
        Gathered { dossier: Dossier { texts, ..Dossier::default() }, ..Gathered::default() }
    }

    fn judged(text: &str, findings: Vec<Finding>, known: &[Entry], level: Severity) -> Verdict {
        let terms = Terms { baseline: known, today: "2026-11-22", required: &[], fail_level: level };
        judge(&gathered(text), Report { findings, not_checked: Vec::new() }, &terms)
    }

    #[test]
    fn a_finding_is_recognised_when_lines_and_numbers_change_and_not_when_it_becomes_worse() {
        let (before, after) = ("size = 20\n", "# new\n\n[a]\nsize = 300\n");
        let old = gathered(before);
        let one = finding("CAP-01", Severity::Warning, "pool app has 20 of 7.5", 7..9);
        let text = baseline::write(&Atlas::new(&old.dossier), [&one].into_iter());
        let known = baseline::read(&text).unwrap();
        let now = |severity, message: &str, span| {
            let verdict = judged(after, vec![finding("CAP-01", severity, message, span)], &known, Severity::Warning);
            (verdict.fails, verdict.vanished.len())
        };
        assert_eq!(now(Severity::Warning, "pool app has 300 of 8", 18..21), (false, 0));
        assert_eq!(now(Severity::Error, "pool app has 300 of 8", 18..21), (true, 1));
        assert_eq!(now(Severity::Warning, "pool web has 300 of 8", 18..21), (true, 1));
        let twice = vec![one.clone(), one];
        let verdict = judged(before, twice, &known, Severity::Warning);
        let standings: Vec<_> = verdict.findings.iter().map(|judged| judged.standing.clone()).collect();
        assert_eq!(standings, [Standing::Known, Standing::New], "a line knows one finding");
        assert!(baseline::read("CAP-01 nothing\n").unwrap_err().contains("line 1"));
        assert_eq!(baseline::read("# only\n\n").unwrap(), []);
    }

    #[test]
    fn what_is_not_checked_now_has_not_vanished() {
        let known = baseline::read("0123456789abcdef CAP-01 f: gone\n").unwrap();
        let terms = Terms { baseline: &known, today: "2026-11-22", required: &[], fail_level: Severity::Info };
        let unchecked = NotChecked { code: "CAP-01", needs: vec!["max_connections"], of: Vec::new() };
        let report = Report { findings: Vec::new(), not_checked: vec![unchecked] };
        assert_eq!(judge(&gathered(""), report, &terms).vanished, []);
        assert_eq!(judge(&gathered(""), Report::default(), &terms).vanished, known);
    }

    #[test]
    fn the_fail_level_and_the_allow_list_decide_what_counts() {
        let text = "[[review.allow]]\ncode = \"CAP-01\"\nreason = \"ticket 7\"\n";
        let one = |code, severity| vec![finding(code, severity, "m", 0..1)];
        assert!(!judged(text, one("CAP-01", Severity::Error), &[], Severity::Info).fails);
        assert!(judged("", one("CAP-01", Severity::Error), &[], Severity::Error).fails);
        assert!(!judged("", one("CAP-01", Severity::Warning), &[], Severity::Error).fails);
        assert!(judged("", one("CAP-01", Severity::Info), &[], Severity::Info).fails);
    }

    #[test]
    fn exit_codes_have_their_precedence() {
        let all = [(true, true, true), (false, true, true), (false, false, true), (false, false, false)];
        assert_eq!(all.map(|(a, b, c)| exit_code(a, b, c)), [2, 1, 3, 0]);
    }

    #[test]
    fn what_is_required_is_named_with_how_to_give_it() {
        let required = [Required::Topology, Required::Live, Required::Recording];
        let terms = Terms { baseline: &[], today: "2026-11-22", required: &required, fail_level: Severity::Info };
        let missing = judge(&gathered(""), Report::default(), &terms).missing;
        assert_eq!(missing.len(), 6, "{missing:?}");
        assert!(missing.iter().all(|line| line.starts_with("--require ")), "{missing:?}");
    }
}
