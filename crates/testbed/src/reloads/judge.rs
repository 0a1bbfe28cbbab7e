//! What runs, as a pooler tells it, and whether that is what its file says.
//!
//! It reads the file line by line and compares every setting by what is written, lengths of time by how long they are. By their
//! names it knows no settings but those that a user or a server has in place of a pool's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

use crate::bed::Bed;
use crate::pooler::http_get;
use crate::wire::Wire;

/// What PgBouncer logs of a file that it cannot load.
const PGBOUNCERS_WORDS: &str = "config file loading failed";
/// Differences that are told.
const TOLD: usize = 3;
/// Limits whose size is a setting; the others move by themselves.
const SET: [&str; 7] = ["pool_size", "reserve", "user", "database", "host_budget", "queue_length", "max_clients"];

/// Asks a pooler what it runs by, always over the same session: after a broken file some let nobody in.
#[derive(Debug)]
pub struct Judge<'a> {
    console: Wire,
    bed: &'a Bed,
}

/// A reload that was refused.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub why: String,
    /// Whether RELOAD was answered with that; else it stands in the log alone.
    pub told: bool,
}

impl Judge<'_> {
    /// One for the pooler of this bed.
    #[must_use]
    #[track_caller]
    pub fn new(bed: &Bed) -> Judge<'_> {
        Judge { console: bed.console(), bed }
    }

    /// RELOAD.
    ///
    /// # Errors
    /// Why it was refused.
    pub fn reload(&mut self) -> Result<(), Refused> {
        let before = self.failures();
        match self.console.query("RELOAD") {
            Err(fault) => Err(Refused { why: fault.to_string(), told: true }),
            Ok(_) if self.failures() > before => Err(Refused { why: PGBOUNCERS_WORDS.to_owned(), told: false }),
            Ok(_) => Ok(()),
        }
    }

    /// Files that PgBouncer's log says could not be loaded: its console says nothing of it.
    fn failures(&self) -> usize {
        if self.bed.pooler().is_some() { 0 } else { self.bed.pgbouncer().log().matches(PGBOUNCERS_WORDS).count() }
    }

    /// Everything that is set, by name, byte for byte as it is told; what is counted is not among it.
    #[must_use]
    #[track_caller]
    pub fn in_force(&mut self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for table in ["CONFIG", "DATABASES", "USERS"] {
            for row in self.rows(table) {
                let name = row.values().next().cloned().unwrap_or_default();
                let name = row.get("key").or(row.get("name")).unwrap_or(&name).clone();
                let set = row.into_iter().filter(|(column, _)| !column.starts_with("current_"));
                all.extend(set.map(|(column, value)| (format!("{table} {name} {column}"), value)));
            }
        }
        for row in self.rows("POOLS") {
            all.insert(format!("POOLS {} {} pool_mode", row["database"], row["user"]), row["pool_mode"].clone());
        }
        if self.bed.pooler().is_some() {
            all.insert("api".to_owned(), self.api());
            for row in self.limits() {
                let of = ["pool", "user", "limit"].map(|column| row[column].as_str()).join(" ");
                all.insert(format!("LIMITS {of}"), row["size"].clone());
            }
        }
        all
    }

    /// Whether what runs is what these bytes say: every setting that stands there has its value, every other its default, and there
    /// are the same pools and users.
    ///
    /// # Errors
    /// What differs.
    pub fn as_written(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.bed.pooler().is_none() {
            return Ok(()); // an ini is another language, and its pooler not ours to judge
        }
        let text = std::str::from_utf8(bytes).map_err(|e| format!("no text: {e}"))?;
        let (written, names) = read(text);
        let config: Value = serde_json::from_str(&self.api()).map_err(|e| e.to_string())?;
        let mut wrong = Vec::new();
        let (mut shown, mut there) = (BTreeSet::new(), BTreeSet::new());
        for setting in config["settings"].as_array().ok_or("no settings are told")? {
            let text = |what: &str| setting[what].as_str().unwrap_or_default();
            let (key, value) = (text("key"), text("value"));
            there.extend(name(key));
            shown.insert(key.to_owned());
            let due = written.get(key).map_or(text("default"), String::as_str);
            if !same(due, value) && value != "<set>" {
                wrong.push(format!("{key} is {value}, the file says {due}"));
            }
        }
        wrong.extend(written.keys().filter(|key| !shown.contains(*key)).map(|key| format!("{key} is not told")));
        wrong.extend(names.symmetric_difference(&there).map(|name| format!("{name} is not on both sides")));
        for row in self.limits() {
            let (limit, size) = (&row["limit"], &row["size"]);
            match deciding(&row).iter().find_map(|key| written.get(key)) {
                Some(due) if due != size => wrong.push(format!("{limit} of {}: {size}, not {due}", row["pool"])),
                Some(_) | None => {}
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// The limits that the core obeys.
    fn limits(&mut self) -> Vec<BTreeMap<String, String>> {
        let rows = self.rows("LIMITS").into_iter();
        rows.filter(|row| SET.contains(&row["limit"].as_str())).collect()
    }

    fn rows(&mut self, table: &str) -> Vec<BTreeMap<String, String>> {
        let answer = self.console.query(&format!("SHOW {table}")).unwrap_or_else(|e| panic!("SHOW {table}: {e}"));
        let named = |row: &Vec<Option<String>>| {
            let values = row.iter().map(|value| value.clone().unwrap_or_default());
            answer.columns.iter().cloned().zip(values).collect()
        };
        answer.rows.iter().map(named).collect()
    }

    fn api(&self) -> String {
        http_get(self.bed.pooler().expect("poolwarden").http(), "/api/v1/config")
    }
}

/// The settings that may decide a limit's size; the first that is written does.
fn deciding(row: &BTreeMap<String, String>) -> Vec<String> {
    let (setting, user, server) = (row["setting"].clone(), &row["user"], &row["server"]);
    match row["limit"].as_str() {
        "pool_size" => vec![format!("users.{user}.pool_size"), setting],
        "user" => vec![setting, format!("servers.{server}.max_user_connections")],
        _ => vec![setting],
    }
}

/// What of `before` is otherwise now, and what is new.
#[must_use]
pub fn apart(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> String {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let text = |of: Option<&String>| of.map_or("nothing", String::as_str).to_owned();
    let differs: Vec<String> = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| format!("{key}: {} -> {}", text(before.get(key)), text(after.get(key))))
        .collect();
    let mut told = differs.iter().take(TOLD).cloned().collect::<Vec<_>>().join("; ");
    if differs.len() > TOLD {
        write!(told, "; and {} more", differs.len() - TOLD).expect("writing to a string");
    }
    told
}

/// The settings of a file by their full keys, and the names of its pools and users.
fn read(text: &str) -> (BTreeMap<String, String>, BTreeSet<String>) {
    let (mut settings, mut names, mut table) = (BTreeMap::new(), BTreeSet::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = header.to_owned();
            names.extend(name(&format!("{header}.")));
        } else if let Some((key, value)) = line.split_once(" = ") {
            settings.insert(format!("{table}.{key}"), plain(value));
        }
    }
    (settings, names)
}

/// `pools.app` of `pools.app.size`; of what has no name, nothing.
fn name(key: &str) -> Option<String> {
    let mut words = key.split('.');
    let (section, name) = (words.next()?, words.next()?);
    (["pools", "users"].contains(&section) && words.next().is_some()).then(|| format!("{section}.{name}"))
}

/// A value without its quotes and brackets.
fn plain(value: &str) -> String {
    let inside = value.trim_start_matches('[').trim_end_matches(']');
    inside.replace('"', "")
}

/// Whether two texts say the same: letter for letter, or the same length of time.
fn same(one: &str, other: &str) -> bool {
    one == other || nanos(one).is_some_and(|span| nanos(other) == Some(span))
}

fn nanos(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = match &text[digits..] {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_and_values_are_compared_by_what_they_say() {
        let (settings, names) =
            read("[pools.a]\nsize = 7\nmax_wait = \"90s\"\n[listen]\nx = [\"1\", \"2\"]\n[users.b]\n");
        let all: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(all, ["listen.x=1, 2", "pools.a.max_wait=90s", "pools.a.size=7"]);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["pools.a", "users.b"]);
        assert!(same("60s", "1m") && same("auto", "auto") && same("0s", "0ms"));
        assert!(!same("61s", "1m") && !same("60", "1m") && !same("2", "3"));
    }

    #[test]
    fn what_differs_is_told() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let (before, after) = (map(&[("a", "1"), ("b", "2")]), map(&[("a", "1"), ("b", "3"), ("c", "4")]));
        assert_eq!(apart(&before, &after), "b: 2 -> 3; c: nothing -> 4");
        assert_eq!(apart(&before, &before), "");
    }
}
