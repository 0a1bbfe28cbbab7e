//! Where a place is, for people and for programs: file, line and column; and in words where it is in no file.

use std::ops::Range;

use super::dossier::Dossier;
use super::place::Place;

/// The places of one dossier. The lines of its texts are counted once.
#[derive(Debug)]
pub struct Atlas<'a> {
    dossier: &'a Dossier,
    lines: Vec<Lines<'a>>,
}

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot<'a> {
    /// The file, as it was given.
    pub file: &'a str,
    /// Its place among [`Dossier::texts`].
    pub number: usize,
    /// Where it begins.
    pub line: usize,
    /// Where it begins.
    pub column: usize,
    /// The line of its last character.
    pub end_line: usize,
    /// Behind its last character.
    pub end_column: usize,
    /// The bytes, on character boundaries.
    pub span: Range<usize>,
}

/// Where the lines of a text begin.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    pub(super) text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let behind = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(behind).collect() }
    }

    /// The index of the line that a byte is on.
    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// The bytes of these lines, without the last one's end.
    pub(super) fn bytes(&self, lines: Range<usize>) -> Range<usize> {
        let start = self.starts.get(lines.start).copied().unwrap_or(self.text.len());
        let end = self.starts.get(lines.end).copied().unwrap_or(self.text.len()).max(start);
        let whole = &self.text[start..end];
        start..start + whole.strip_suffix('\n').map_or(whole.len(), str::len)
    }

    fn column(&self, at: usize) -> usize {
        let start = self.starts.get(self.line(at)).copied().unwrap_or(0);
        self.text[start..at].chars().count() + 1
    }
}

impl<'a> Atlas<'a> {
    /// Of all texts.
    #[must_use]
    pub fn new(dossier: &'a Dossier) -> Self {
        Self { dossier, lines: dossier.texts.iter().map(|text| Lines::of(&text.text)).collect() }
    }

    pub(super) fn lines(&self, file: usize) -> Option<&Lines<'a>> {
        self.lines.get(file)
    }

    /// The place in a file; `None`: it is in none.
    #[must_use]
    pub fn spot(&self, place: &Place) -> Option<Spot<'a>> {
        let Place::Text { file, span } = place else { return None };
        let (text, lines) = (self.dossier.texts.get(*file)?, self.lines.get(*file)?);
        let start = floor(lines.text, span.start);
        let end = floor(lines.text, span.end).max(start);
        let last = lines.text[start..end].char_indices().next_back().map_or(start, |(at, _)| start + at);
        let (end_line, wide) = (lines.line(last), usize::from(last < end));
        Some(Spot {
            file: &text.name,
            number: *file,
            line: lines.line(start) + 1,
            column: lines.column(start),
            end_line: end_line + 1,
            end_column: lines.column(last) + wide,
            span: start..end,
        })
    }

    /// A place that is in no file, in words: whose default it is, or who told it.
    #[must_use]
    pub fn words(&self, place: &Place) -> Option<String> {
        match place {
            Place::Text { .. } => None,
            Place::Default(whose) => Some(format!("{whose} default")),
            Place::Told { source, key } => {
                let who = self.dossier.facts.get(*source).map_or("somebody", |facts| facts.name.as_str());
                Some(format!("{key}, told by {who}"))
            }
        }
    }
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::{Facts, Text};

    #[test]
    fn a_place_has_its_lines_and_columns_wherever_it_points() {
        let text = "a = 1\n\u{e9}\u{e9} = 22\nlast".to_owned();
        let dossier = Dossier { texts: vec![Text { name: "f".into(), text }], ..Dossier::default() };
        let atlas = Atlas::new(&dossier);
        let at = |span: Range<usize>| {
            let spot = atlas.spot(&Place::Text { file: 0, span }).unwrap();
            (spot.line, spot.column, spot.end_line, spot.end_column)
        };
        assert_eq!(at(4..5), (1, 5, 1, 6));
        assert_eq!(at(13..15), (2, 6, 2, 8));
        assert_eq!(at(7..13), (2, 1, 2, 6), "a broken boundary begins at the character");
        assert_eq!(at(4..13), (1, 5, 2, 6));
        assert_eq!(at(20..99), (3, 5, 3, 5), "behind the end is the end");
        assert_eq!(atlas.spot(&Place::Text { file: 1, span: 0..1 }), None);
    }

    #[test]
    fn what_is_in_no_file_is_said_in_words() {
        let facts = vec![Facts { name: "postgres://db".into(), ..Facts::default() }];
        let dossier = Dossier { facts, ..Dossier::default() };
        let atlas = Atlas::new(&dossier);
        assert_eq!(atlas.words(&Place::Default("PgBouncer's")).unwrap(), "PgBouncer's default");
        let told = Place::Told { source: 0, key: "pg.setting.max_connections".into() };
        assert_eq!(atlas.words(&told).unwrap(), "pg.setting.max_connections, told by postgres://db");
        assert_eq!(atlas.words(&Place::Text { file: 0, span: 0..0 }), None);
    }
}
