//! Things that happened, as the files their teams had: each case below `tests/review/casebook/` is flagged by the rules of its
//! `codes.txt`, at the places its README names, and by no other error. What is said of it is kept whole in `expected.txt`;
//! `POOLWARDEN_BLESS=1` writes it anew.
#![allow(clippy::disallowed_methods, reason = "fixtures are files, blessed on demand")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use poolwarden_config::Severity;
use poolwarden_config::review::{
    Atlas, Dossier, Finding, Gathered, Input, Paint, Place, gather, render, review, rules,
};

/// How many there are: the thirteen of the casebook and the founding story.
const CASES: usize = 14;
/// How many of them are about two layers that do not fit, so that two files at least are shown.
const OF_TWO_LAYERS: usize = 10;
/// What is no input.
const OURS: [&str; 3] = ["expected.txt", "codes.txt", "README.md"];

struct Case {
    name: String,
    folder: PathBuf,
    dossier: Dossier,
    findings: Vec<Finding>,
}

impl Case {
    fn open(folder: PathBuf) -> Self {
        let name = folder.file_name().expect("a folder has a name").to_string_lossy().into_owned();
        let mut files: Vec<PathBuf> = fs::read_dir(&folder).expect("a folder").flatten().map(|e| e.path()).collect();
        files.sort();
        let input = |path: &PathBuf| {
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (!OURS.contains(&name.as_str())).then_some(Input::File { name, text })
        };
        let inputs: Vec<Input> = files.iter().filter(|path| path.is_file()).filter_map(input).collect();
        let Gathered { dossier, faults, unreadable } = gather(&inputs, &mut |path| Err(format!("{path} is not here")));
        assert!(unreadable.is_empty(), "{name}: {unreadable:?}");
        let report = review(&dossier);
        Case { findings: faults.into_iter().chain(report.findings).collect(), name, folder, dossier }
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_else(|error| panic!("{}/{file}: {error}", self.name))
    }

    fn codes(&self) -> Vec<String> {
        self.text("codes.txt").lines().map(str::to_owned).collect()
    }

    /// `- KEY: value` of the README.
    fn told(&self, key: &str) -> String {
        let readme = self.text("README.md");
        let line = readme.lines().find_map(|line| line.strip_prefix(&format!("- {key}: ")));
        line.unwrap_or_else(|| panic!("{}/README.md has no line \"- {key}: \"", self.name)).to_owned()
    }

    /// The files that a finding shows, the first one first.
    fn files(&self, finding: &Finding) -> Vec<String> {
        let of = |place: &Place| match place {
            Place::Text { file, .. } => Some(self.dossier.texts[*file].name.clone()),
            Place::Told { source, .. } => Some(self.dossier.facts[*source].name.clone()),
            Place::Default(_) => None,
        };
        let mut labels: Vec<_> = finding.labels.iter().collect();
        labels.sort_by_key(|label| !label.primary);
        labels.into_iter().filter_map(|label| of(&label.place)).collect()
    }
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/review/casebook");
    let mut folders: Vec<PathBuf> = fs::read_dir(&root).expect("the casebook").flatten().map(|e| e.path()).collect();
    folders.sort();
    folders.into_iter().map(Case::open).collect()
}

#[test]
fn each_case_is_flagged_by_its_rules_and_by_no_other_error() {
    let cases = cases();
    assert_eq!(cases.len(), CASES);
    for case in cases {
        let (codes, known): (_, Vec<&str>) = (case.codes(), rules().map(|rule| rule.code).collect());
        assert!(!codes.is_empty() && codes.iter().all(|code| known.contains(&code.as_str())), "{}", case.name);
        for code in &codes {
            let said = case.findings.iter().filter(|finding| finding.code == code);
            assert!(said.clone().any(|finding| finding.severity > Severity::Info), "{}: {code} is silent", case.name);
        }
        let errors = case.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let strange: Vec<_> = errors.filter(|finding| !codes.iter().any(|code| code == finding.code)).collect();
        assert!(strange.is_empty(), "{}: {strange:?}", case.name);
    }
}

#[test]
fn no_case_needs_what_only_a_running_process_tells() {
    for case in cases() {
        let files = fs::read_dir(&case.folder).expect("a folder").flatten();
        let facts: Vec<_> = files.filter(|entry| entry.path().extension().is_some_and(|end| end == "facts")).collect();
        assert!(facts.is_empty(), "{}: {facts:?}", case.name);
    }
}

#[test]
fn the_first_place_and_the_other_layer_are_shown() {
    let mut of_two_layers = 0;
    for case in cases() {
        let (codes, places) = (case.codes(), case.told("where"));
        let places: Vec<&str> = places.split(", ").collect();
        let story: Vec<&Finding> =
            case.findings.iter().filter(|finding| codes.iter().any(|code| code == finding.code)).collect();
        let first = story.iter().find(|finding| finding.code == codes[0]).expect("flagged, see above");
        assert_eq!(case.files(first).first().map(String::as_str), Some(places[0]), "{}: {first:?}", case.name);
        let shown: BTreeSet<String> = case.files(first).into_iter().collect();
        for place in &places {
            assert!(shown.contains(*place), "{}: {place} is not among {shown:?}", case.name);
        }
        of_two_layers += usize::from(places.len() > 1);
    }
    assert_eq!(of_two_layers, OF_TWO_LAYERS);
}

#[test]
fn every_readme_tells_what_when_where_and_whose_the_numbers_are() {
    for case in cases() {
        for key in ["happened", "when", "where", "source", "theirs", "ours"] {
            assert!(case.told(key).len() > 3, "{}: {key}", case.name);
        }
    }
}

#[test]
fn what_is_said_of_each_case_is_as_it_was_agreed() {
    let bless = std::env::var_os("POOLWARDEN_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let atlas = Atlas::new(&case.dossier);
        let said: Vec<String> = case.findings.iter().map(|finding| render(&atlas, finding, Paint::Plain)).collect();
        let now = said.join("\n");
        let kept = case.folder.join("expected.txt");
        if bless {
            fs::write(&kept, &now).unwrap_or_else(|error| panic!("{}: {error}", kept.display()));
        } else if fs::read_to_string(&kept).ok().as_deref() != Some(now.as_str()) {
            wrong.push(format!("{}: now it says\n{now}", case.name));
        }
    }
    assert!(wrong.is_empty(), "POOLWARDEN_BLESS=1 keeps this as agreed:\n{}", wrong.join("\n"));
}
