//! The baseline: findings that were known when it was written, and do not fail.
//!
//! A finding is recognised by what it is about, not by where it stands or by its numbers: lines may move, a size may change,
//! and it is the same finding; it is another one when it becomes more severe. One line per finding, so that versions compare.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::finding::Finding;
use super::place::Place;
use super::spot::Atlas;

/// First line of a baseline.
const HEAD: &str = "# poolwarden check: findings that are known; written by --update-baseline";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// By what it is recognised.
    pub fingerprint: String,
    /// The rule's code.
    pub code: String,
    /// File and message, for people.
    pub words: String,
}

/// By what a finding is recognised: 16 hexadecimal digits. Findings that differ in numbers alone share it.
#[must_use]
pub fn fingerprint(atlas: &Atlas<'_>, finding: &Finding) -> String {
    let mut hash = Fnv::new();
    hash.take(finding.code);
    hash.take(finding.severity.name());
    for part in wordy(&finding.message) {
        hash.take(part);
    }
    match finding.labels.first().map(|label| &label.place) {
        Some(place @ Place::Text { .. }) => {
            if let Some(spot) = atlas.spot(place) {
                hash.take(plain(spot.file));
                let before = atlas.lines(spot.number).map(|lines| {
                    let line = lines.bytes(spot.line - 1..spot.line);
                    &lines.text[line.start..spot.span.start.clamp(line.start, line.end)]
                });
                hash.take(before.unwrap_or_default().trim());
            }
        }
        Some(Place::Default(whose)) => hash.take(whose),
        Some(Place::Told { key, .. }) => hash.take(key),
        None => {}
    }
    format!("{:016x}", hash.0)
}

/// The text between its numbers.
fn wordy(message: &str) -> impl Iterator<Item = &str> {
    message.split(|c: char| c.is_ascii_digit() || c == '.').map(str::trim).filter(|part| !part.is_empty())
}

fn plain(file: &str) -> &str {
    let mut file = file;
    while let Some(rest) = file.strip_prefix("./") {
        file = rest;
    }
    file
}

/// FNV-1a of 64 bits: to tell findings apart; nobody gains anything by making two alike.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn take(&mut self, text: &str) {
        // A byte that no text holds ends each part.
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The baseline of these findings.
#[must_use]
pub fn write<'a>(atlas: &Atlas<'_>, findings: impl Iterator<Item = &'a Finding>) -> String {
    let mut lines: Vec<String> = findings
        .map(|finding| {
            let file = finding.labels.first().and_then(|label| atlas.spot(&label.place)).map(|spot| plain(spot.file));
            let message = super::render::printable(&finding.message).replace('\n', " ");
            format!("{} {} {}: {message}", fingerprint(atlas, finding), finding.code, file.unwrap_or("-"))
        })
        .collect();
    lines.sort_unstable_by(|a, b| a[FINGERPRINT..].cmp(&b[FINGERPRINT..]).then_with(|| a.cmp(b)));
    let mut out = format!("{HEAD}\n");
    for line in lines {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{line}");
    }
    out
}

const FINGERPRINT: usize = 16;

/// Reads a baseline.
///
/// # Errors
/// The line that is none, and what to do.
pub fn read(text: &str) -> Result<Vec<Entry>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| {
            let wrong = || format!("line {}: this is no line of a baseline: write it with --update-baseline", at + 1);
            let (fingerprint, rest) = line.split_once(' ').ok_or_else(wrong)?;
            let (code, words) = rest.split_once(' ').ok_or_else(wrong)?;
            let is_one = fingerprint.len() == FINGERPRINT && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
            let entry =
                || Entry { fingerprint: fingerprint.to_owned(), code: code.to_owned(), words: words.to_owned() };
            is_one.then(entry).ok_or_else(wrong)
        })
        .collect()
}

/// What of a baseline is still to be found: each line once.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    left: BTreeMap<&'a str, Vec<&'a Entry>>,
}

impl<'a> Known<'a> {
    pub(super) fn new(entries: &'a [Entry]) -> Self {
        let mut left: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in entries {
            left.entry(&entry.fingerprint).or_default().push(entry);
        }
        Self { left }
    }

    /// Whether a finding was known; its line is used up.
    pub(super) fn take(&mut self, fingerprint: &str) -> bool {
        self.left.get_mut(fingerprint).and_then(Vec::pop).is_some()
    }

    /// Lines that nothing was found for.
    pub(super) fn left(self) -> Vec<Entry> {
        self.left.into_values().flatten().cloned().collect()
    }
}
