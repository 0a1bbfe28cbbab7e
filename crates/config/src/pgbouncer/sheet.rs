//! What the files say, setting by setting: sections resolved, names known, values readable, refusals told.
//!
//! As in PgBouncer: the last of a name counts, and a second `[pgbouncer]` puts all of them back to their defaults first.

use std::collections::BTreeMap;

use super::catalogue::{Becomes, CATALOGUE, Entry, Section, Verdict, find};
use super::connstr;
use super::ini::{Ini, Item, Spot, Word};
use super::value;
use crate::finding::{Finding, Severity};
use crate::nearest::nearest;

/// The name of the virtual database of the console, which is no database's.
const CONSOLE: &str = "pgbouncer";

/// Settings of one thing by their names; only those that are written and readable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given(BTreeMap<&'static str, Word>);

/// One line of `[databases]`, `[users]` or `[peers]`.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: Word,
    pub(crate) given: Given,
}

/// All that the files say.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) main: Given,
    pub(crate) databases: BTreeMap<String, Line>,
    pub(crate) users: BTreeMap<String, Line>,
    pub(crate) peers: BTreeMap<String, Line>,
}

impl Given {
    pub(crate) fn word(&self, name: &str) -> Option<&Word> {
        self.0.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.word(name).map(|word| word.text.as_str())
    }

    pub(crate) fn spot(&self, name: &str) -> Option<&Spot> {
        self.word(name).map(|word| &word.spot)
    }

    /// A number of a connection string.
    pub(crate) fn leading(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(value::leading).map(|(number, _)| number)
    }
}

impl Sheet {
    /// `set` holds over what the files say.
    pub(crate) fn fill(ini: &mut Ini, set: &[(String, String)]) -> Self {
        let mut sheet = Self::default();
        let mut section = None;
        for item in std::mem::take(&mut ini.items) {
            match item {
                Item::Section(word) => section = sheet.section(ini, &word),
                Item::Pair { key, value } => match section {
                    Some(Some(section)) => sheet.pair(ini, section, (key, value)),
                    // The section was refused, and with it what stands there.
                    Some(None) => {}
                    None => {
                        let message = format!("`{}` stands in no section", key.text);
                        ini.error("syntax", &key.spot, message, "write [pgbouncer] above it".to_owned());
                    }
                },
            }
        }
        for (key, value) in set {
            let words = ini.made(key, value);
            sheet.pair(ini, Section::Pgbouncer, words);
        }
        sheet.judge(ini);
        sheet
    }

    fn section(&mut self, ini: &mut Ini, word: &Word) -> Option<Option<Section>> {
        let found = Section::ALL.into_iter().find(|section| section.name() == word.text);
        let names = || Section::ALL.iter().map(|section| section.name());
        match found {
            Some(Section::Pgbouncer) if !self.main.0.is_empty() => {
                let message = "a second [pgbouncer]: every setting above it is back at its default, as in PgBouncer";
                let texts = (message.to_owned(), "keep all settings below one [pgbouncer]".to_owned());
                ini.say(Severity::Warning, "repeated", &word.spot, texts);
                self.main = Given::default();
            }
            Some(_) => {}
            None => {
                let near = nearest(&word.text, names());
                let fix =
                    near.map_or_else(|| format!("there are {}", known(names())), |near| format!("write [{near}]"));
                ini.error("unknown-key", &word.spot, format!("unknown section [{}]", word.text), fix);
            }
        }
        Some(found)
    }

    fn pair(&mut self, ini: &mut Ini, section: Section, (key, value): (Word, Word)) {
        let setting = section != Section::Pgbouncer && find(Section::Pgbouncer, &key.text).is_some();
        if setting && !value.text.contains('=') {
            let message = format!("`{}` is a setting of [pgbouncer], and this is [{}]", key.text, section.name());
            let fix = format!("write {} = {} below [pgbouncer], and take it out here", key.text, value.text.trim());
            ini.error("unknown-key", &key.spot, message, fix);
            return;
        }
        match section {
            Section::Pgbouncer => match find(section, &key.text) {
                Some(entry) => keep(ini, entry, &key, value, &mut self.main),
                None if ["host=", "dbname="].iter().any(|word| value.text.contains(word)) => {
                    let message = format!("`{}` is a database, and this is [pgbouncer]", key.text);
                    ini.error("unknown-key", &key.spot, message, "write this line below [databases]".to_owned());
                }
                None => unknown(ini, section, &key),
            },
            Section::Databases => {
                if key.text == CONSOLE {
                    let message = format!("the name {CONSOLE} is the console's and cannot be a database");
                    ini.error("reserved-name", &key.spot, message, "give it another name, and dbname=".to_owned());
                }
                let line = line(ini, section, key, &value);
                self.databases.insert(line.name.text.clone(), line);
            }
            Section::Users => {
                let line = line(ini, section, key, &value);
                self.users.insert(line.name.text.clone(), line);
            }
            Section::Peers => {
                let line = line(ini, section, key, &value);
                self.peers.insert(line.name.text.clone(), line);
            }
        }
    }

    /// Refusals, and remarks about what is not needed here: only for what counts in the end.
    fn judge(&self, ini: &mut Ini) {
        let lines =
            [(Section::Databases, &self.databases), (Section::Users, &self.users), (Section::Peers, &self.peers)];
        let mut given = vec![(Section::Pgbouncer, &self.main)];
        given.extend(lines.iter().flat_map(|(section, lines)| lines.values().map(|line| (*section, &line.given))));
        for (section, given) in given {
            for entry in CATALOGUE.iter().filter(|entry| entry.section == section) {
                if let Some(word) = given.word(entry.name) {
                    judge(ini, entry, word);
                }
            }
        }
    }
}

fn judge(ini: &mut Ini, entry: &Entry, word: &Word) {
    let fine = |of: &[&str]| of.iter().any(|fine| value::alike(entry, &word.text, fine));
    if !entry.default.is_empty() && fine(&[entry.default]) || entry.default.is_empty() && word.text.is_empty() {
        return;
    }
    match (entry.verdict, entry.becomes) {
        (Verdict::Refused(others), _) if !fine(others) => {
            let message = format!("{} = {} is not served: {}", entry.name, word.text, entry.why);
            let fix = if entry.section == Section::Pgbouncer {
                format!("write {} = {}, or leave it out", entry.name, entry.default)
            } else {
                format!("remove {}=", entry.name)
            };
            ini.error("refused", &word.spot, message, fix);
        }
        (Verdict::Same | Verdict::Better, Becomes::Nothing) => {
            let message = format!("{} changes nothing here: {}", entry.name, entry.why);
            ini.say(Severity::Info, "needless", &word.spot, (message, String::new()));
        }
        (
            Verdict::Refused(_) | Verdict::Same | Verdict::Better,
            Becomes::Nothing | Becomes::Setting(_) | Becomes::Process,
        ) => {}
    }
}

/// A line of `[databases]`, `[users]` or `[peers]`; with what of it could be read.
fn line(ini: &mut Ini, section: Section, name: Word, value: &Word) -> Line {
    let mut given = Given::default();
    match connstr::pairs(value) {
        Ok(pairs) => {
            for pair in pairs {
                match find(section, &pair.key.text) {
                    Some(entry) => keep_pair(ini, entry, pair, &mut given),
                    None => unknown(ini, section, &pair.key),
                }
            }
        }
        Err((spot, message, fix)) => ini.error("syntax", &spot, message, fix),
    }
    Line { name, given }
}

fn keep(ini: &mut Ini, entry: &'static Entry, key: &Word, value: Word, given: &mut Given) {
    if let Some((message, fix)) = value::fault(entry, &value.text) {
        let spot = if value.text.is_empty() { &key.spot } else { &value.spot };
        ini.error("wrong-value", spot, message, fix);
    } else {
        given.0.insert(entry.name, value);
    }
}

/// A number of a connection string may have a tail that PgBouncer overlooks; here it is remarked.
fn keep_pair(ini: &mut Ini, entry: &'static Entry, pair: connstr::Pair, given: &mut Given) {
    if entry.form == super::Form::Number {
        match value::leading(&pair.value.text) {
            Some((_, true)) => {}
            Some((number, false)) => {
                let message = format!("{}={} is read as {number}, as in PgBouncer", entry.name, pair.value.text);
                let texts = (message, format!("write {}={number}", entry.name));
                ini.say(Severity::Warning, "wrong-value", &pair.value.spot, texts);
            }
            None => {
                let message = format!("{}={} is not a whole number", entry.name, pair.value.text);
                ini.error("wrong-value", &pair.value.spot, message, format!("write {}={}", entry.name, entry.example));
                return;
            }
        }
    } else if let Some((message, fix)) = value::fault(entry, &pair.value.text) {
        ini.error("wrong-value", &pair.value.spot, message, fix);
        return;
    }
    given.0.insert(entry.name, pair.value);
}

fn unknown(ini: &mut Ini, section: Section, key: &Word) {
    let names = || CATALOGUE.iter().filter(move |entry| entry.section == section).map(|entry| entry.name);
    let elsewhere = CATALOGUE.iter().find(|entry| entry.name == key.text).map(|entry| entry.section.name());
    let fix = match (nearest(&key.text, names()), elsewhere) {
        (_, Some(section)) => format!("it belongs into [{section}]"),
        (Some(near), None) => format!("did you mean `{near}`?"),
        (None, None) if section == Section::Pgbouncer => "docs/pgbouncer.md lists all settings".to_owned(),
        (None, None) => format!("known here: {}", known(names())),
    };
    let message = format!("unknown setting `{}` in [{}]", key.text, section.name());
    ini.error("unknown-key", &key.spot, message, fix);
}

fn known<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

impl Ini {
    /// The files with their findings, errors first, each group in the order of the text.
    pub(crate) fn settled(mut self) -> Vec<super::Source> {
        for source in &mut self.sources {
            source.findings.sort_by_key(|finding: &Finding| (std::cmp::Reverse(finding.severity), finding.span.start));
            source.findings.truncate(crate::parse::MAX_FINDINGS);
            for finding in source.findings.iter_mut().filter(|finding| finding.line == 0) {
                finding.locate(&source.text);
            }
        }
        self.sources
    }
}
