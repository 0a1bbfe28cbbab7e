//! What no file may say: unfinished work, places on one developer's machine, and how a text came to be.
//! And what every source file must say: its header.

use super::finding::{File, Finding, Tree};
use crate::source::{Kind, Source};

/// Work put off is an issue, not a comment.
const PUT_OFF: [&str; 3] = ["TODO", "FIXME", "XXX"];
const UNFINISHED: [&str; 2] = ["todo", "unimplemented"];
/// Folders of somebody's machine, as the beginning of a path.
const MACHINE_PATHS: [&str; 4] = ["/root/", "/work/", "/home/", "/tmp/target"];
/// The repository speaks of the project, not of how its text was made.
const OFF_TOPIC: [&str; 4] = ["subagent", "sub-agent", "language model", "ai assistant"];

/// The list above is the one place that has to spell the words.
const SPELLS_THEM: &str = "xtask/src/tidy/words.rs";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path != SPELLS_THEM) {
        check_lines(file, &mut findings);
        if file.path.ends_with(".rs") {
            check_rust(file, &mut findings);
        } else if !file.path.ends_with(".md") && !file.path.ends_with(".json") {
            check_put_off(file, file.text.lines().enumerate().map(|(i, text)| (i + 1, text)), &mut findings);
        }
    }
    findings
}

fn check_lines(file: &File, findings: &mut Vec<Finding>) {
    for (at, line) in file.text.lines().enumerate() {
        for path in MACHINE_PATHS.iter().filter(|path| has_path(line, path)) {
            findings.push(Finding::new(&file.path, at + 1, format!("names a folder of one machine: {path}")));
        }
        let lower = line.to_lowercase();
        for word in OFF_TOPIC.iter().filter(|word| lower.contains(**word)) {
            findings.push(Finding::new(&file.path, at + 1, format!("speaks of \"{word}\", not of the project")));
        }
    }
}

/// `path` where a path can begin: `crates/work/` is not `/work/`.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | '}' | '*' | '$' | '~')))
    })
}

fn check_rust(file: &File, findings: &mut Vec<Finding>) {
    let source = Source::read(&file.text);
    if !file.text.starts_with("//!") {
        findings.push(Finding::new(
            &file.path,
            1,
            "does not open with `//!`: say what it is and what it must not know",
        ));
    }
    check_put_off(file, source.comments.iter().map(|comment| (comment.line, comment.text.as_str())), findings);
    for (at, token) in source.tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Word) {
        let word = token.text.as_str();
        let unfinished = UNFINISHED.contains(&word) && source.is(at + 1, "!");
        let ignored = word == "ignore" && at >= 2 && source.matches(at - 2, &["#", "["]);
        if unfinished {
            findings.push(Finding::new(&file.path, token.line, format!("{word}! is not an implementation")));
        } else if ignored {
            findings.push(Finding::new(&file.path, token.line, "an ignored test is no test"));
        }
    }
}

fn check_put_off<'a>(file: &File, lines: impl Iterator<Item = (usize, &'a str)>, findings: &mut Vec<Finding>) {
    for (at, line) in lines {
        let words = line.split(|c: char| !c.is_alphanumeric());
        for word in words.filter(|word| PUT_OFF.contains(word)) {
            findings.push(Finding::new(&file.path, at, format!("{word}: do it, or open an issue")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::plant::Plant;

    fn messages(path: &str, text: &str) -> Vec<String> {
        let plant = Plant::new();
        plant.write(path, text);
        check(&plant.tree()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_without_header_fires() {
        assert_eq!(messages("crates/a/src/lib.rs", "fn f() {}\n").len(), 1);
        assert!(messages("crates/a/src/lib.rs", "//! a\nfn f() {}\n").is_empty());
    }

    #[test]
    fn unfinished_work_fires() {
        for code in [
            "todo!()",
            "unimplemented!(\"x\")",
            "#[ignore] fn f() {}",
            "#[ignore = \"slow\"]",
            "// TODO: later",
            "/* FIXME */",
        ] {
            assert_eq!(messages("crates/a/src/lib.rs", &format!("//! a\n{code}\n")).len(), 1, "{code}");
        }
        assert_eq!(messages("Makefile", "# TODO\n").len(), 1);
        assert!(messages("crates/a/src/lib.rs", "//! a\nfn f() { ignore(\"TODO\"); }\n").is_empty());
    }

    #[test]
    fn places_on_one_machine_fire() {
        for path in MACHINE_PATHS {
            assert_eq!(messages("docs/a.md", &format!("see {path}x/y\n")).len(), 1, "{path}");
        }
        assert!(messages("docs/a.md", "crates/work/src, https://x.org/root/a\n").is_empty());
    }

    #[test]
    fn talk_about_anything_but_the_project_fires() {
        for word in OFF_TOPIC {
            assert_eq!(messages("README.md", &format!("made by a {word}\n")).len(), 1, "{word}");
        }
    }
}
