//! Findings as text for people, in rustc's manner: the lines of every file a finding is about, why it matters, what to write.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::finding::{Finding, Label};
use super::spot::{Atlas, Lines, Spot};
use crate::finding::Severity;

/// Who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// A file, a pipe, a log.
    Plain,
    /// A terminal that shows colours.
    Colour,
}

/// Labels of one file that are further apart are shown apart; what is between is not even looked at.
const APART: usize = 20;
/// Labels of one finding that are shown; more would hide the first.
const MOST_LABELS: usize = 12;

/// One finding.
#[must_use]
pub fn render(atlas: &Atlas<'_>, finding: &Finding, paint: Paint) -> String {
    let level = match finding.severity {
        Severity::Info => Level::INFO,
        Severity::Warning => Level::WARNING,
        Severity::Error => Level::ERROR,
    };
    let title = level.primary_title(printable(&finding.message)).id(finding.code);
    let labels = &finding.labels[..finding.labels.len().min(MOST_LABELS)];
    let mut group = title.elements(snippets(atlas, labels));
    for label in labels {
        if let Some(words) = atlas.words(&label.place) {
            let text = if label.text.is_empty() { words } else { format!("{} ({words})", label.text) };
            group = group.element(Level::NOTE.message(printable(&text)));
        }
    }
    group = said(group, Level::NOTE.with_name("why"), &finding.why);
    group = said(group, Level::HELP, &finding.fix.text);
    let renderer = match paint {
        Paint::Plain => Renderer::plain(),
        Paint::Colour => Renderer::styled(),
    };
    let mut text = renderer.decor_style(DecorStyle::Ascii).render(&[group]).to_string();
    text.push('\n');
    text
}

fn said<'a>(group: Group<'a>, level: Level<'a>, text: &str) -> Group<'a> {
    if text.is_empty() { group } else { group.element(level.message(printable(text))) }
}

/// The lines of each file, the primary label's first.
fn snippets<'a>(atlas: &Atlas<'a>, labels: &[Label]) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut clusters: Vec<Vec<(Spot<'a>, &Label)>> = Vec::new();
    for label in labels {
        let Some(spot) = atlas.spot(&label.place) else { continue };
        let near = |cluster: &&mut Vec<(Spot<'a>, &Label)>| {
            cluster.iter().any(|(other, _)| {
                other.number == spot.number
                    && spot.line.abs_diff(other.line).min(spot.line.abs_diff(other.end_line)) <= APART
            })
        };
        match clusters.iter_mut().find(near) {
            Some(cluster) => cluster.push((spot, label)),
            None => clusters.push(vec![(spot, label)]),
        }
    }
    clusters.iter().filter_map(|cluster| snippet(atlas, cluster)).collect()
}

fn snippet<'a>(
    atlas: &Atlas<'a>,
    cluster: &[(Spot<'a>, &Label)],
) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let (first, _) = cluster.first()?;
    let lines = atlas.lines(first.number)?;
    let (top, window) = window(lines, cluster)?;
    let mut snippet = Snippet::source(&lines.text[window.clone()]).path(first.file).line_start(top + 1);
    for (spot, label) in cluster {
        let kind = if label.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
        let inside = |at: usize| at.clamp(window.start, window.end) - window.start;
        let mut annotation = kind.span(inside(spot.span.start)..inside(spot.span.end));
        if !label.text.is_empty() {
            annotation = annotation.label(printable(&label.text));
        }
        snippet = snippet.annotation(annotation);
    }
    Some(snippet)
}

/// The lines that are looked at, and the index of the first: of a large file no others cost anything.
fn window(lines: &Lines<'_>, cluster: &[(Spot<'_>, &Label)]) -> Option<(usize, Range<usize>)> {
    let top = cluster.iter().map(|(spot, _)| spot.line - 1).min()?;
    let bottom = cluster.iter().map(|(spot, _)| spot.end_line).max()?;
    Some((top, lines.bytes(top..bottom)))
}

/// A text without control characters but line ends: names come out of files, and a terminal obeys what it is shown.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::{Dossier, Facts, Fix, Place, Text};

    fn label(file: usize, text: &str, at: &str, of: &Dossier, primary: bool) -> Label {
        let start = of.texts[file].text.find(at).unwrap();
        Label { place: Place::Text { file, span: start..start + at.len() }, text: text.into(), primary }
    }

    fn story() -> (Dossier, Finding) {
        let ini =
            format!("[pgbouncer]\ndefault_pool_size = 1500\n{}pool_mode = transaction\n", "; filler\n".repeat(40));
        let texts = vec![
            Text { name: "k8s/pgbouncer.ini".into(), text: ini },
            Text { name: "values.yaml".into(), text: "web:\n  replicas: 6\n".into() },
        ];
        let facts = vec![Facts { name: "postgres://db/app".into(), ..Facts::default() }];
        let dossier = Dossier { texts, facts, ..Dossier::default() };
        let told = Place::Told { source: 0, key: "pg.setting.max_connections".into() };
        let labels = vec![
            label(0, "1500 per (database, user)", "1500", &dossier, true),
            label(1, "6 replicas", "6", &dossier, false),
            label(0, "", "transaction", &dossier, false),
            Label { place: told, text: "5000 slots".into(), primary: false },
            Label { place: Place::Default("PgBouncer's"), text: String::new(), primary: false },
        ];
        let finding = Finding {
            code: "CAP-01",
            severity: Severity::Error,
            message: "backends can exceed PostgreSQL's slots: 9000 > 4989\u{1b}[31m".into(),
            labels,
            why: "at full pools 4011 connects are refused".into(),
            fix: Fix { text: "write max_db_connections = 831".into(), ..Fix::default() },
        };
        (dossier, finding)
    }

    #[test]
    fn a_finding_shows_the_lines_of_every_file_and_the_rest_in_words() {
        let (dossier, finding) = story();
        let text = render(&Atlas::new(&dossier), &finding, Paint::Plain);
        let expected = "\
error[CAP-01]: backends can exceed PostgreSQL's slots: 9000 > 4989\u{fffd}[31m
  --> k8s/pgbouncer.ini:2:21
   |
 2 | default_pool_size = 1500
   |                     ^^^^ 1500 per (database, user)
   |
  ::: values.yaml:2:13
   |
 2 |   replicas: 6
   |             - 6 replicas
   |
  ::: k8s/pgbouncer.ini:43:13
   |
43 | pool_mode = transaction
   |             -----------
   |
   = note: 5000 slots (pg.setting.max_connections, told by postgres://db/app)
   = note: PgBouncer's default
   = why: at full pools 4011 connects are refused
   = help: write max_db_connections = 831
";
        assert_eq!(text, expected);
    }

    #[test]
    fn of_a_large_file_only_the_lines_of_a_finding_are_looked_at() {
        let text = format!("{}size = 7\n{}", "# filler\n".repeat(50_000), "# filler\n".repeat(50_000));
        let dossier = Dossier { texts: vec![Text { name: "f".into(), text }], ..Dossier::default() };
        let label = label(0, "", "7", &dossier, true);
        let atlas = Atlas::new(&dossier);
        let cluster = [(atlas.spot(&label.place).unwrap(), &label)];
        let (top, window) = window(atlas.lines(0).unwrap(), &cluster).unwrap();
        assert_eq!((top, &dossier.texts[0].text[window]), (50_000, "size = 7"));
    }

    #[test]
    fn colour_is_for_terminals_alone() {
        let (dossier, finding) = story();
        let atlas = Atlas::new(&dossier);
        assert!(!render(&atlas, &finding, Paint::Plain).contains('\u{1b}'));
        assert!(render(&atlas, &finding, Paint::Colour).contains('\u{1b}'));
    }
}
