//! A review as annotations of GitHub's workflows, and as the page of a step.
//!
//! GitHub shows the first ten annotations of each kind that a step makes: the worst are written first, the rest are plain lines
//! that the log shows.

use std::fmt::Write;

use poolwarden_config::Severity;
use poolwarden_config::review::{Atlas, Finding, printable, waterfall};

use super::Review;

/// Annotations of a kind that one step shows.
const MOST: usize = 10;
/// Findings in the table of the page; a page may have 1 MiB.
const MOST_ROWS: usize = 200;

const fn kind(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "notice",
    }
}

/// Paths are told from `workspace` on.
pub(super) fn annotations(review: &Review, workspace: Option<&str>) -> String {
    let atlas = review.atlas();
    let mut out = String::new();
    let mut more = String::new();
    for severity in [Severity::Error, Severity::Warning, Severity::Info] {
        let of = || review.counting().map(|judged| &judged.finding).filter(|finding| finding.severity == severity);
        for finding in of().take(MOST) {
            out.push_str(&annotation(&atlas, finding, workspace));
        }
        for finding in of().skip(MOST) {
            // Writing to a String does not fail, here and below.
            let _ = writeln!(more, "{}", data(&line(&atlas, finding)));
        }
        let hidden = of().count().saturating_sub(MOST);
        if hidden > 0 {
            let _ = writeln!(
                more,
                "{hidden} more of severity {} are not annotations: a step shows {MOST}",
                severity.name()
            );
        }
    }
    for (file, why) in &review.gathered.unreadable {
        let _ = writeln!(out, "::error file={}::{}", property(from(file, workspace)), data(why));
    }
    for line in review.incomplete.iter().chain(&review.verdict.missing) {
        let _ = writeln!(out, "::warning title=inconclusive::{}", data(line));
    }
    out.push_str(&more);
    let _ = writeln!(out, "{}", review.sum());
    out
}

fn annotation(atlas: &Atlas<'_>, finding: &Finding, workspace: Option<&str>) -> String {
    let title = format!("title={}", property(finding.code));
    let primary = finding.labels.first().and_then(|label| atlas.spot(&label.place));
    let place = primary.map(|spot| {
        let mut place =
            format!("file={},line={},col={},", property(from(spot.file, workspace)), spot.line, spot.column);
        // GitHub takes columns only within one line.
        if spot.end_line == spot.line && spot.end_column > spot.column {
            place.push_str(&format!("endLine={},endColumn={},", spot.end_line, spot.end_column));
        }
        place
    });
    let mut text = finding.message.clone();
    for label in finding.labels.iter().skip(1) {
        let place = atlas.spot(&label.place).map(|spot| format!("{}:{}", spot.file, spot.line));
        if let Some(place) = place.or_else(|| atlas.words(&label.place)) {
            text.push_str(&format!("\n{place}: {}", label.text));
        }
    }
    for (word, said) in [("why", &finding.why), ("fix", &finding.fix.text)] {
        if !said.is_empty() {
            text.push_str(&format!("\n{word}: {said}"));
        }
    }
    format!("::{} {}{title}::{}\n", kind(finding.severity), place.unwrap_or_default(), data(&text))
}

/// A finding on one line.
fn line(atlas: &Atlas<'_>, finding: &Finding) -> String {
    let spot = finding.labels.first().and_then(|label| atlas.spot(&label.place));
    let place = spot.map_or_else(String::new, |spot| format!("{}:{}:{}: ", spot.file, spot.line, spot.column));
    format!("{place}{}[{}]: {}", finding.severity.name(), finding.code, finding.message)
}

fn from<'a>(file: &'a str, workspace: Option<&str>) -> &'a str {
    let inside = workspace.filter(|folder| !folder.is_empty()).and_then(|folder| file.strip_prefix(folder));
    inside.and_then(|rest| rest.strip_prefix('/')).or_else(|| file.strip_prefix("./")).unwrap_or(file)
}

/// What stands behind `::`, as the runner unescapes it; its log obeys control characters as a terminal does.
fn data(text: &str) -> String {
    printable(text).replace('%', "%25").replace('\n', "%0A")
}

/// A property's value.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The page.
pub(super) fn summary(review: &Review) -> String {
    let atlas = review.atlas();
    let mut out = format!("## poolwarden check\n\n{}\n\n", cell(&review.sum()));
    if review.counting().next().is_some() {
        out.push_str("| severity | rule | where | what | write instead |\n|---|---|---|---|---|\n");
    }
    for judged in review.counting().take(MOST_ROWS) {
        let finding = &judged.finding;
        let spot = finding.labels.first().and_then(|label| atlas.spot(&label.place));
        let place = spot.map_or_else(String::new, |spot| format!("{}:{}", spot.file, spot.line));
        let [place, message, fix] = [&place, &finding.message, &finding.fix.text].map(|text| cell(text));
        let _ = writeln!(out, "| {} | {} | {place} | {message} | {fix} |", finding.severity.name(), finding.code);
    }
    let hidden = review.counting().count().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        let _ = writeln!(out, "\nand {hidden} more");
    }
    let limits = waterfall::text(&atlas, &review.waterfalls);
    if !limits.is_empty() {
        let _ = writeln!(out, "\n```text\n{}\n```", limits.trim_end().replace("```", "'''"));
    }
    for line in review.incomplete.iter().chain(&review.verdict.missing) {
        let _ = writeln!(out, "\ninconclusive: {}", cell(line));
    }
    out
}

/// Text within a table: no column, no line and no markup of its own.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            control if control.is_control() => out.push(' '),
            plain => out.push(plain),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runner_would_take_for_its_own_is_escaped() {
        assert_eq!(data("50 %, a\nb\u{1b}[31m::error::"), "50 %25, a%0Ab\u{fffd}[31m::error::");
        assert_eq!(property("a:b,c%\nd"), "a%3Ab%2Cc%25%0Ad");
        assert_eq!(cell("a|b `c` <d> [e]\nf\\"), "a\\|b \\`c\\` &lt;d> \\[e\\] f\\\\");
    }

    #[test]
    fn paths_are_told_from_the_workspace_on() {
        let workspace = Some("/builds/ours/work");
        let table = [
            ("/builds/ours/work/k8s/a.ini", "k8s/a.ini"),
            ("/builds/ours/workshop/a.ini", "/builds/ours/workshop/a.ini"),
            ("./a.ini", "a.ini"),
            ("a.ini", "a.ini"),
        ];
        for (file, expected) in table {
            assert_eq!(from(file, workspace), expected);
        }
        assert_eq!(from("/etc/a.ini", Some("")), "/etc/a.ini");
    }
}
