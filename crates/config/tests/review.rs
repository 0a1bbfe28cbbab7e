//! Every rule of the review speaks where it must and is silent where it must: small inputs as users have them, below
//! `tests/review/`. `CODE/fires` and `CODE/silent` are one rule's; `casebook/NAME` are things that happened, with the codes that
//! must be among the findings in `codes.txt`; `good/NAME` are sound configurations, of which only information may be said.
//! `POOLWARDEN_BLESS=1` writes each `fires/expected.txt` anew.
#![allow(clippy::disallowed_methods, reason = "fixtures are files, blessed on demand")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use poolwarden_config::Severity;
use poolwarden_config::review::{Dossier, Finding, Gathered, Input, Place, Report, gather, review, rules};

/// What the runner itself keeps beside the inputs.
const OURS: [&str; 4] = ["expected.txt", "codes.txt", "README.md", "SOURCE.md"];

struct Outcome {
    dossier: Dossier,
    findings: Vec<Finding>,
    report: Report,
    unreadable: Vec<(String, String)>,
}

impl Outcome {
    fn codes(&self) -> Vec<&'static str> {
        self.findings.iter().map(|finding| finding.code).collect()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/review")
}

/// The directories below one, sorted.
fn directories(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut paths: Vec<PathBuf> = entries.unwrap_or_default();
    paths.retain(|path| path.is_dir());
    paths.sort();
    paths
}

/// All files of a directory, sorted by name, as inputs.
fn inputs(of: &Path) -> Vec<Input> {
    let mut names: Vec<String> = fs::read_dir(of)
        .unwrap_or_else(|error| panic!("{}: {error}", of.display()))
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !OURS.contains(&name.as_str()))
        .collect();
    names.sort();
    let input = |name: String| {
        let text = fs::read_to_string(of.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Input::File { name, text }
    };
    names.into_iter().map(input).collect()
}

fn run(of: &Path) -> Outcome {
    let mut elsewhere = |path: &str| Err(format!("{path} is not in {}", of.display()));
    let Gathered { dossier, faults, unreadable } = gather(&inputs(of), &mut elsewhere);
    let report = review(&dossier);
    let mut findings = faults;
    findings.extend(report.findings.iter().cloned());
    Outcome { dossier, findings, report, unreadable }
}

/// `file:line:column`, or whose default or fact it is.
fn place(dossier: &Dossier, place: &Place) -> String {
    match place {
        Place::Default(whose) => format!("({whose} default)"),
        Place::Told { source, key } => format!("{}: {key}", dossier.facts[*source].name),
        Place::Text { file, span } => {
            let text = &dossier.texts[*file];
            let before = text.text.get(..span.start).unwrap_or_else(|| panic!("{}: {span:?} cuts a letter", text.name));
            assert!(text.text.get(span.clone()).is_some(), "{}: {span:?} is not of the text", text.name);
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            format!("{}:{line}:{column}", text.name)
        }
    }
}

fn written(dossier: &Dossier, finding: &Finding) -> String {
    let mut out = format!("{}[{}]: {}\n", finding.severity.name(), finding.code, finding.message);
    for label in &finding.labels {
        let arrow = if label.primary { "-->" } else { ":::" };
        writeln!(out, "  {arrow} {} {}", place(dossier, &label.place), label.text).expect("a string takes all");
    }
    for (word, text) in [("why", &finding.why), ("fix", &finding.fix.text)] {
        if !text.is_empty() {
            writeln!(out, "  = {word}: {text}").expect("a string takes all");
        }
    }
    for edit in &finding.fix.edits {
        let at = place(dossier, &Place::Text { file: edit.file, span: edit.span.clone() });
        let safe = if finding.fix.safe { ", safe" } else { "" };
        writeln!(out, "  = edit{safe}: {at} {:?} -> {:?}", &dossier.texts[edit.file].text[edit.span.clone()], edit.new)
            .expect("a string takes all");
    }
    out
}

/// The findings of `code` whole; of the others that there are any.
fn expected(code: &str, outcome: &Outcome) -> String {
    let mut out = String::new();
    for finding in outcome.findings.iter().filter(|finding| finding.code == code) {
        out += &written(&outcome.dossier, finding);
        out.push('\n');
    }
    for finding in outcome.findings.iter().filter(|finding| finding.code != code) {
        writeln!(out, "also {}[{}]: {}", finding.severity.name(), finding.code, finding.message)
            .expect("a string takes all");
    }
    for lack in outcome.report.not_checked.iter().filter(|lack| lack.code == code) {
        let of = if lack.of.is_empty() { String::new() } else { format!(" of {}", lack.of.join(", ")) };
        writeln!(out, "not checked: {}{of}", lack.needs.join(", ")).expect("a string takes all");
    }
    out
}

fn told(dossier: &Dossier, findings: &[Finding]) -> String {
    findings.iter().map(|finding| written(dossier, finding)).collect()
}

#[test]
fn every_rule_fires_on_its_fixture_and_is_silent_on_the_one_put_right() {
    let mut wrong = Vec::new();
    for rule in rules() {
        for (name, must) in [("fires", true), ("silent", false)] {
            let of = root().join(rule.code).join(name);
            if !of.is_dir() {
                wrong.push(format!("{}/{name} is missing", rule.code));
                continue;
            }
            let outcome = run(&of);
            for (file, why) in &outcome.unreadable {
                wrong.push(format!("{}/{name}/{file}: {why}", rule.code));
            }
            if outcome.codes().contains(&rule.code) != must {
                let found = told(&outcome.dossier, &outcome.findings);
                let lacks: Vec<_> = outcome.report.not_checked.iter().filter(|lack| lack.code == rule.code).collect();
                wrong.push(format!(
                    "{}/{name}: the rule {}\n{lacks:?}\n{found}",
                    rule.code,
                    if must { "is silent" } else { "fires" }
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_each_rule_says_on_its_fixture_is_as_it_was_agreed() {
    let bless = std::env::var_os("POOLWARDEN_BLESS").is_some();
    let mut wrong = Vec::new();
    for rule in rules() {
        let of = root().join(rule.code).join("fires");
        if !of.is_dir() {
            continue; // the test above says so
        }
        let now = expected(rule.code, &run(&of));
        let kept = of.join("expected.txt");
        if bless {
            fs::write(&kept, &now).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
        } else if fs::read_to_string(&kept).ok().as_deref() != Some(now.as_str()) {
            wrong.push(format!("{}: now it says\n{now}", rule.code));
        }
    }
    assert!(wrong.is_empty(), "POOLWARDEN_BLESS=1 keeps this as agreed:\n{}", wrong.join("\n"));
}

#[test]
fn every_directory_of_fixtures_is_of_a_rule_that_exists() {
    let codes: Vec<&str> = rules().map(|rule| rule.code).collect();
    let names =
        directories(&root()).into_iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let strange: Vec<String> = names
        .filter(|name| !codes.contains(&name.as_str()) && !["casebook", "good", "hurried"].contains(&name.as_str()))
        .collect();
    assert!(strange.is_empty(), "no rule is called {strange:?}");
}

#[test]
fn the_casebook_is_flagged_by_its_rules() {
    let mut wrong = Vec::new();
    for of in directories(&root().join("casebook")) {
        let outcome = run(&of);
        let codes =
            fs::read_to_string(of.join("codes.txt")).unwrap_or_else(|error| panic!("{}: {error}", of.display()));
        let missing: Vec<&str> = codes.split_whitespace().filter(|code| !outcome.codes().contains(code)).collect();
        if codes.trim().is_empty() || !missing.is_empty() || !outcome.unreadable.is_empty() {
            let found = told(&outcome.dossier, &outcome.findings);
            wrong.push(format!("{}: {missing:?} missing, {:?} unreadable\n{found}", of.display(), outcome.unreadable));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn of_good_configurations_nothing_is_said_that_matters() {
    let mut wrong = Vec::new();
    for of in directories(&root().join("good")) {
        let outcome = run(&of);
        let said: Vec<Finding> =
            outcome.findings.iter().filter(|finding| finding.severity > Severity::Info).cloned().collect();
        if !said.is_empty() || !outcome.unreadable.is_empty() {
            wrong.push(format!("{}: {:?}\n{}", of.display(), outcome.unreadable, told(&outcome.dossier, &said)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
