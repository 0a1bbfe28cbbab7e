//! The poolwarden.toml an ini becomes, in the making: rows that remember which line of the ini they come from.

use std::collections::BTreeMap;

use super::ini::{Ini, Spot};
use crate::finding::Severity;
use crate::walk::{join, quote};

/// Tables in the order they are first written to, each with its rows in order.
#[derive(Debug, Default)]
pub(crate) struct Toml {
    tables: Vec<Table>,
    places: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Table {
    header: String,
    spot: Option<Spot>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    key: String,
    value: String,
    /// `None`: a default of PgBouncer's.
    spot: Option<Spot>,
}

/// Where a table is written: `Path::top("limits")`, `Path::named("pools", "app")`.
#[derive(Clone, Debug)]
pub(crate) struct Path(String);

impl Path {
    pub(crate) fn top(section: &str) -> Self {
        Self(section.to_owned())
    }

    pub(crate) fn named(section: &str, name: &str) -> Self {
        Self(join(section, name))
    }

    pub(crate) fn inner(&self, table: &str) -> Self {
        Self(join(&self.0, table))
    }
}

/// The text, and the ini's place of each of its lines.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) text: String,
    spots: Vec<Option<Spot>>,
}

impl Written {
    /// The place of a line, from 1; the start of the first file where the ini does not say it.
    pub(crate) fn spot(&self, line: usize) -> Spot {
        let known = line.checked_sub(1).and_then(|index| self.spots.get(index).cloned().flatten());
        known.unwrap_or(Spot { file: 0, span: 0..0 })
    }
}

impl Toml {
    /// A table that is there even if nothing stands in it.
    pub(crate) fn table(&mut self, path: &Path, spot: Option<&Spot>) {
        let index = self.index(path);
        self.tables[index].spot = self.tables[index].spot.take().or_else(|| spot.cloned());
    }

    /// `value` as TOML writes it.
    pub(crate) fn put(&mut self, path: &Path, key: &str, value: String, spot: Option<&Spot>) {
        let index = self.index(path);
        let row = Row { key: join("", key), value, spot: spot.cloned() };
        let rows = &mut self.tables[index].rows;
        match rows.iter_mut().find(|old| old.key == row.key) {
            Some(old) => *old = row,
            None => rows.push(row),
        }
    }

    pub(crate) fn text_of(&mut self, path: &Path, key: &str, value: &str, spot: Option<&Spot>) {
        self.put(path, key, quote(value), spot);
    }

    pub(crate) fn list(&mut self, path: &Path, key: &str, items: &[String], spot: Option<&Spot>) {
        let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
        self.put(path, key, format!("[{}]", items.join(", ")), spot);
    }

    fn index(&mut self, path: &Path) -> usize {
        if let Some(index) = self.places.get(&path.0) {
            return *index;
        }
        self.tables.push(Table { header: path.0.clone(), spot: None, rows: Vec::new() });
        self.places.insert(path.0.clone(), self.tables.len() - 1);
        self.tables.len() - 1
    }

    /// Everything, with what was remarked about the ini above it.
    pub(crate) fn text(&self, ini: &Ini) -> Written {
        let mut out = Written { text: String::new(), spots: Vec::new() };
        out.line(&format!("# the same as {}", one_line(&ini.sources[0].name)), None);
        out.line("# what the ini does not say is marked: there PgBouncer's defaults hold", None);
        for source in &ini.sources {
            for finding in source.findings.iter().filter(|finding| finding.severity != Severity::Error) {
                let place = format!("{}:{}", one_line(&source.name), finding.line);
                out.line(&format!("# {place}: {}", one_line(&finding.message)), None);
            }
        }
        for table in &self.tables {
            out.line("", None);
            let first = || table.rows.iter().find_map(|row| row.spot.clone());
            out.line(&format!("[{}]", table.header), table.spot.clone().or_else(first));
            for row in &table.rows {
                let comment = if row.spot.is_some() { "" } else { " # default" };
                let spot = row.spot.clone().or_else(|| table.spot.clone());
                out.line(&format!("{} = {}{comment}", row.key, row.value), spot);
            }
        }
        out
    }
}

impl Written {
    fn line(&mut self, line: &str, spot: Option<Spot>) {
        self.text.push_str(line);
        self.text.push('\n');
        self.spots.push(spot);
    }
}

/// A comment ends with its line, and holds no control characters.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
