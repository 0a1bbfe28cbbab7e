//! One table of the file while it is read: its values by kind, and a finding with its place for everything else.

use std::ops::Range;
use std::time::Duration;

use poolwarden_config::{Finding, Severity, parse_duration, parse_rate};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong so far.
pub(super) struct Faults<'t> {
    pub(super) text: &'t str,
    pub(super) findings: Vec<Finding>,
}

/// A table and how messages call it.
#[derive(Clone)]
pub(super) struct Section<'t> {
    pub(super) path: String,
    pub(super) table: &'t DeTable<'t>,
    pub(super) span: Range<usize>,
}

/// What is said of a value that is not what its key takes: what it is, and what to write.
type Wrong = (String, &'static str);

impl<'t> Faults<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, findings: Vec::new() }
    }

    /// Something is wrong there, and what to write instead.
    pub(super) fn add(&mut self, code: &'static str, span: Range<usize>, message: String, fix: &str) {
        let before = &self.text[..span.start.min(self.text.len())];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        let fix = fix.to_owned();
        self.findings.push(Finding { severity: Severity::Error, code, message, span, line, column, fix });
    }

    /// Refuses every key but these.
    pub(super) fn only(&mut self, section: &Section<'_>, known: &[&str]) {
        for key in section.table.keys() {
            let word: &str = key.get_ref();
            if !known.contains(&word) {
                let inside = if section.path.is_empty() { String::new() } else { format!(" in {}", section.path) };
                let message = format!("unknown key `{word}`{inside}");
                self.add("unknown-key", key.span(), message, &format!("known here: {}", known.join(", ")));
            }
        }
    }

    /// The value of `key` as `read` understands it.
    pub(super) fn value<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let item = section.table.get(key)?;
        match read(item.get_ref()) {
            Ok(value) => Some(value),
            Err((why, fix)) => {
                self.add("wrong-value", item.span(), format!("{}{why}", section.at(key)), fix);
                None
            }
        }
    }

    /// What must be written; its absence is a fault, unless something wrong was written and named already.
    pub(super) fn needed<T>(&mut self, section: &Section<'_>, key: &str, value: Option<T>, example: &str) -> Option<T> {
        if value.is_none() && section.table.get(key).is_none() {
            let message = format!("{} does not say `{key}`", section.called());
            self.add("missing", section.span.clone(), message, &format!("write {key} = {example}"));
        }
        value
    }

    pub(super) fn text(&mut self, section: &Section<'_>, key: &str) -> Option<String> {
        self.value(section, key, |value| match value.as_str() {
            Some(text) if !text.is_empty() && !text.contains('\0') => Ok(text.to_owned()),
            Some(_) | None => Err(("not a text".to_owned(), "write it in quotes: key = \"value\"")),
        })
    }

    pub(super) fn duration(&mut self, section: &Section<'_>, key: &str) -> Option<Duration> {
        const FIX: &str = "write a number and its unit in quotes: \"250ms\", \"2s\", \"1m\"";
        self.value(section, key, |value| match value.as_str() {
            Some(text) => parse_duration(text).map_err(|why| (why, FIX)),
            None => Err(("not a duration".to_owned(), FIX)),
        })
    }

    /// A duration that is longer than nothing.
    pub(super) fn span(&mut self, section: &Section<'_>, key: &str) -> Option<Duration> {
        let span = self.duration(section, key)?;
        if span.is_zero() {
            let place = section.table.get(key).map_or(section.span.clone(), Spanned::span);
            self.add("wrong-value", place, format!("{}nothing at all", section.at(key)), "write a longer time");
            return None;
        }
        Some(span)
    }

    pub(super) fn rate(&mut self, section: &Section<'_>, key: &str) -> Option<f64> {
        const FIX: &str = "write a number and its unit in quotes: \"300/s\", \"1200/m\"";
        self.value(section, key, |value| match value.as_str() {
            Some(text) => parse_rate(text).map_err(|why| (why, FIX)),
            None => Err(("not a rate".to_owned(), FIX)),
        })
    }

    pub(super) fn whole(&mut self, section: &Section<'_>, key: &str, least: u64, most: u64) -> Option<u64> {
        self.value(section, key, |value| {
            let number = whole(value).filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| {
                (format!("not a whole number from {least} to {most}"), "write such a number, without quotes")
            })
        })
    }

    /// As [`Faults::whole`], for what fits 32 bits.
    pub(super) fn count(&mut self, section: &Section<'_>, key: &str, least: u32, most: u32) -> Option<u32> {
        let number = self.whole(section, key, u64::from(least), u64::from(most))?;
        u32::try_from(number).ok()
    }

    /// A number from 0 to `most`.
    pub(super) fn number(&mut self, section: &Section<'_>, key: &str, most: f64) -> Option<f64> {
        self.value(section, key, |value| {
            let number = number(value).filter(|number| (0.0..=most).contains(number));
            number.ok_or_else(|| (format!("not a number from 0 to {most}"), "write such a number, without quotes"))
        })
    }

    /// Numbers from 0 to `most`, at least one.
    pub(super) fn numbers(&mut self, section: &Section<'_>, key: &str, most: f64) -> Option<Vec<f64>> {
        self.value(section, key, |value| {
            let items = value.as_array().map(|items| items.iter().map(|item| number(item.get_ref())).collect());
            let numbers: Option<Option<Vec<f64>>> = items;
            let fits = |all: &Vec<f64>| !all.is_empty() && all.iter().all(|one| (0.0..=most).contains(one));
            let wrong = || (format!("not a list of numbers from 0 to {most}"), "write such numbers: [1, 2.5, 0.5]");
            numbers.flatten().filter(fits).ok_or_else(wrong)
        })
    }

    pub(super) fn truth(&mut self, section: &Section<'_>, key: &str) -> Option<bool> {
        self.value(section, key, |value| {
            value.as_bool().ok_or_else(|| ("neither true nor false".to_owned(), "write true or false, without quotes"))
        })
    }

    /// One of these words.
    pub(super) fn word<T: Copy>(&mut self, section: &Section<'_>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let written = self.text(section, key)?;
        let found = words.iter().find(|(word, _)| *word == written).map(|(_, meant)| *meant);
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let place = section.table.get(key).map_or(section.span.clone(), Spanned::span);
            let message = format!("{}\"{written}\" is not known", section.at(key));
            self.add("wrong-value", place, message, &format!("write one of {}", known.join(", ")));
        }
        found
    }

    /// The table below `key`.
    pub(super) fn inner<'s>(&mut self, section: &Section<'s>, key: &str) -> Option<Section<'s>> {
        let item = section.table.get(key)?;
        let path = if section.path.is_empty() { format!("[{key}]") } else { format!("{} {key}", section.path) };
        let table = item.get_ref().as_table();
        if table.is_none() {
            self.add(
                "wrong-type",
                item.span(),
                format!("{}not a table", section.at(key)),
                &format!("write [{key}] and its keys below"),
            );
        }
        Some(Section { path, table: table?, span: item.span() })
    }

    /// Every `[[key]]`.
    pub(super) fn list<'s>(&mut self, section: &Section<'s>, key: &str) -> Vec<Section<'s>> {
        let Some(item) = section.table.get(key) else { return Vec::new() };
        let tables =
            item.get_ref().as_array().map(|items| items.iter().map(|item| (item.get_ref().as_table(), item.span())));
        let tables: Option<Vec<_>> = tables.map(Iterator::collect);
        let Some(tables) = tables.filter(|tables| tables.iter().all(|(table, _)| table.is_some())) else {
            let message = format!("{key}: not a list of tables");
            self.add("wrong-type", item.span(), message, &format!("write [[{key}]] and its keys below"));
            return Vec::new();
        };
        let section = |(table, span)| {
            Some(Section { path: format!("[[{key}]]"), table: Option::<&DeTable>::clone(&table)?, span })
        };
        tables.into_iter().filter_map(section).collect()
    }
}

impl Section<'_> {
    /// Begins a message about one of its keys.
    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { format!("{key}: ") } else { format!("{} {key}: ", self.path) }
    }

    fn called(&self) -> &str {
        if self.path.is_empty() { "the scenario" } else { &self.path }
    }

    /// Where `key` stands, or the table if it does not.
    pub(super) fn place(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span.clone(), Spanned::span)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }
}

fn whole(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    if let Some(float) = value.as_float() {
        return float.as_str().replace('_', "").parse().ok();
    }
    let whole = i32::try_from(whole(value)?).ok()?;
    Some(f64::from(whole))
}
