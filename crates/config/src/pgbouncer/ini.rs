//! PgBouncer's ini grammar: sections, `key = value` lines, `%include`. Texts in, items with their places and faults out.
//!
//! Knows no setting. As in PgBouncer: `;` and `#` begin a comment only at the start of a line; a value runs to the end of
//! its line; the section goes on into an included file and back out of it; a name with other letters stands in double quotes.
//! Unlike it, reading goes on behind a fault, so that all of them are told at once.

use std::ops::Range;

use super::World;
use crate::finding::{Finding, Severity};

/// Includes below includes; PgBouncer's own bound.
const MOST_DEPTH: usize = 10;
/// Files of one configuration: a bound on what a circle of includes may read before its depth ends it.
const MOST_FILES: usize = 256;

/// A file that was read, and what is wrong in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path as it was asked for.
    pub name: String,
    /// Its text, with stars for the letters of passwords.
    pub text: String,
    /// What is said about it, in the order of the text.
    pub findings: Vec<Finding>,
}

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Index of the file.
    pub(crate) file: usize,
    /// Bytes of its text.
    pub(crate) span: Range<usize>,
}

/// A piece of text and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) spot: Spot,
}

/// One thing the files say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Section(Word),
    Pair { key: Word, value: Word },
}

/// All files, read.
#[derive(Debug, Default)]
pub(crate) struct Ini {
    pub(crate) sources: Vec<Source>,
    pub(crate) items: Vec<Item>,
}

impl Ini {
    /// Reads `entry` and all it includes.
    ///
    /// # Errors
    /// Why `entry` cannot be read; what an include lacks is a finding.
    pub(crate) fn read(entry: &str, world: &mut dyn World) -> Result<Self, String> {
        let mut ini = Self::default();
        let text = world.read(entry)?;
        ini.file(entry, text, 0, world);
        Ok(ini)
    }

    /// A setting that stands in no file, as if it stood in one called SET.
    pub(crate) fn made(&mut self, key: &str, value: &str) -> (Word, Word) {
        let file = self.sources.len();
        let text = format!("{key} = {value}");
        let word = |text: &str, start: usize| Word {
            text: text.to_owned(),
            spot: Spot { file, span: start..start + text.len() },
        };
        let words = (word(key, 0), word(value, key.len() + " = ".len()));
        self.sources.push(Source { name: "SET".to_owned(), text: masked(&text), findings: Vec::new() });
        words
    }

    pub(crate) fn error(&mut self, code: &'static str, spot: &Spot, message: String, fix: String) {
        self.say(Severity::Error, code, spot, (message, fix));
    }

    pub(crate) fn say(&mut self, severity: Severity, code: &'static str, spot: &Spot, texts: (String, String)) {
        let source = &mut self.sources[spot.file];
        let mut finding = Finding::new(severity, code, spot.span.clone(), texts.0, texts.1);
        // A file that is none would be counted through for each of its lines; those of the rest that are kept are located last.
        if source.findings.len() < 10 * crate::parse::MAX_FINDINGS {
            finding.locate(&source.text);
        }
        source.findings.push(finding);
    }

    fn file(&mut self, name: &str, text: String, depth: usize, world: &mut dyn World) {
        let file = self.sources.len();
        self.sources.push(Source { name: name.to_owned(), text: masked(&text), findings: Vec::new() });
        let mut cursor = Cursor { text: &text, at: 0, file };
        while let Some(step) = cursor.step() {
            match step {
                Ok(Step::Item(item)) => self.items.push(item),
                Ok(Step::Include(path)) => self.include(&path, depth, world),
                Err((spot, message, fix)) => self.error("syntax", &spot, message, fix.to_owned()),
            }
        }
    }

    fn include(&mut self, path: &Word, depth: usize, world: &mut dyn World) {
        if depth >= MOST_DEPTH || self.sources.len() >= MOST_FILES {
            let message = format!("more than {MOST_DEPTH} files include one another, or a file includes itself");
            self.error("include", &path.spot, message, "remove this %include".to_owned());
            return;
        }
        match world.read(&path.text) {
            Ok(text) => self.file(&path.text, text, depth + 1, world),
            Err(why) => {
                let message = format!("the included file {} cannot be read: {why}", path.text);
                let fix = "write its whole path: it is looked for from the directory the process was started in";
                self.error("include", &path.spot, message, fix.to_owned());
            }
        }
    }
}

enum Step {
    Item(Item),
    Include(Word),
}

type Fault = (Spot, String, &'static str);

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    file: usize,
}

impl Cursor<'_> {
    /// The next thing of this file; `None` at its end.
    fn step(&mut self) -> Option<Result<Step, Fault>> {
        loop {
            self.skip(|c| c.is_ascii_whitespace() || c == '\u{b}');
            match self.rest().chars().next()? {
                '#' | ';' => self.skip(|c| c != '\n'),
                '[' => return Some(self.section()),
                '%' => return Some(self.directive()),
                _ => return Some(self.pair()),
            }
        }
    }

    fn section(&mut self) -> Result<Step, Fault> {
        let start = self.at;
        self.at += 1;
        let name = self.word(|c| c != ']' && c != '\n');
        if !self.rest().starts_with(']') {
            return Err(self.fault(start, "a section without its closing bracket", "write it as [pgbouncer]"));
        }
        self.at += 1;
        Ok(Step::Item(Item::Section(name)))
    }

    fn directive(&mut self) -> Result<Step, Fault> {
        let start = self.at;
        let behind = self.rest().strip_prefix("%include").filter(|rest| rest.starts_with([' ', '\t']));
        if behind.is_none() {
            return Err(self.fault(start, "an unknown directive", "the only one is %include FILE"));
        }
        self.at += "%include".len();
        self.blanks();
        let path = self.value();
        if path.text.is_empty() {
            return Err(self.fault(start, "%include names no file", "write %include FILE"));
        }
        Ok(Step::Include(path))
    }

    fn pair(&mut self) -> Result<Step, Fault> {
        let start = self.at;
        let key = if self.rest().starts_with('"') {
            self.quoted()?
        } else {
            self.word(|c| c.is_ascii_alphanumeric() || "_.-*".contains(c))
        };
        self.blanks();
        if !self.rest().starts_with('=') {
            let fix =
                "write it as name = value; a name with other letters than a-z, 0-9, _ . - * stands in double quotes";
            return Err(self.fault(start, "a line that is neither a [section] nor name = value", fix));
        }
        self.at += 1;
        self.blanks();
        let value = self.value();
        Ok(Step::Item(Item::Pair { key, value }))
    }

    /// A name as SQL quotes it: within `"`, where `""` is one quote.
    fn quoted(&mut self) -> Result<Word, Fault> {
        let start = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            let part = self.word(|c| c != '"' && c != '\n');
            text.push_str(&part.text);
            if !self.rest().starts_with('"') {
                return Err(self.fault(start, "a name without its closing quote", "close it on the same line"));
            }
            self.at += 1;
            if !self.rest().starts_with('"') {
                return Ok(Word { text, spot: Spot { file: self.file, span: start..self.at } });
            }
            self.at += 1;
            text.push('"');
        }
    }

    /// To the end of the line, without the white space there.
    fn value(&mut self) -> Word {
        let mut word = self.word(|c| c != '\n');
        word.text.truncate(word.text.trim_ascii_end().len());
        word.spot.span.end = word.spot.span.start + word.text.len();
        word
    }

    fn word(&mut self, inside: impl Fn(char) -> bool) -> Word {
        let start = self.at;
        self.skip(inside);
        let text = self.text[start..self.at].to_owned();
        Word { text, spot: Spot { file: self.file, span: start..self.at } }
    }

    fn blanks(&mut self) {
        self.skip(|c| c == ' ' || c == '\t');
    }

    fn skip(&mut self, inside: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !inside(c)).unwrap_or(rest.len());
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// A fault about what stands from `start` to the end of the line; reading goes on behind it.
    fn fault(&mut self, start: usize, message: &str, fix: &'static str) -> Fault {
        self.at = start;
        self.skip(|c| c != '\n');
        let end = start + self.text[start..self.at].trim_ascii_end().len();
        (Spot { file: self.file, span: start..end.max(start) }, message.to_owned(), fix)
    }
}

/// The same text with the values of `password` unreadable, byte for byte as long.
fn masked(text: &str) -> String {
    text.split_inclusive('\n').map(masked_line).collect()
}

fn masked_line(line: &str) -> String {
    let (mut out, mut shown) = (String::with_capacity(line.len()), 0);
    for (at, word) in line.to_ascii_lowercase().match_indices("password") {
        if at < shown {
            continue; // inside a secret that is hidden already
        }
        let behind = &line[at + word.len()..];
        let value = behind.trim_start().strip_prefix('=').map(str::trim_start);
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let (start, length) = (line.len() - value.len(), secret_end(value));
            out.push_str(&line[shown..start]);
            out.extend(std::iter::repeat_n('*', length));
            shown = start + length;
        }
    }
    out.push_str(&line[shown..]);
    out
}

/// Where a password ends: at its closing quote, else before the next `key=`, else at the end of the line.
/// What is not quoted as it should be is rather hidden too far than shown.
fn secret_end(value: &str) -> usize {
    let line = value.trim_end().len();
    let quoted = value.strip_prefix('\'');
    let from = quoted.map_or(0, |inside| inside.find('\'').map_or(line, |at| at + 2));
    let next_key = |at: usize| {
        let rest = value[at..].trim_start();
        let key = rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(rest.len());
        key > 0 && rest[key..].trim_start().starts_with('=')
    };
    value[..line].match_indices(' ').map(|(at, _)| at).find(|at| *at >= from && next_key(*at)).unwrap_or(line)
}

#[cfg(test)]
mod tests;
