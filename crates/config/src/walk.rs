//! One walk over the parsed text against the catalogue: known values with their places, names, and a finding for everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::catalogue::{self, FOREIGN, REFUSED, Setting};
use crate::finding::{Finding, Severity};
use crate::nearest::nearest;
use crate::value::{self, Value};

/// A value of the file and where it stands.
pub(crate) struct Written {
    pub(crate) value: Value,
    pub(crate) span: Range<usize>,
    pub(crate) setting: &'static Setting,
}

/// A name the operator chose, and where.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
}

/// What a walk found.
#[derive(Default)]
pub(crate) struct Walked {
    /// By full key, `pools.app.size`.
    pub(crate) values: BTreeMap<String, Written>,
    /// Names by their table's path, `pools` or `pools.app.startup`, in the file's order of keys.
    pub(crate) names: BTreeMap<String, Vec<Named>>,
    /// Keys that are written with a value that was refused; their finding is made.
    pub(crate) refused: BTreeSet<String>,
    pub(crate) findings: Vec<Finding>,
}

/// A table's place: as the catalogue writes it, and as this file does.
struct Place {
    pattern: String,
    path: String,
}

/// Walks a whole document.
pub(crate) fn walk(document: &DeTable<'_>) -> Walked {
    let mut walked = Walked::default();
    walked.table(document, &Place { pattern: String::new(), path: String::new() });
    walked
}

/// `a.b`, or `a."b c"` where TOML needs the quotes.
pub(crate) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let key = if bare { key.to_owned() } else { quote(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// A TOML basic string, quotes included.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl Walked {
    pub(crate) fn error(&mut self, code: &'static str, span: Range<usize>, message: String, fix: String) {
        self.findings.push(Finding::new(Severity::Error, code, span, message, fix));
    }

    fn table(&mut self, table: &DeTable<'_>, place: &Place) {
        let named = join_pattern(&place.pattern, "NAME");
        let takes_names = catalogue::find(&named).is_some() || catalogue::is_table(&named);
        if takes_names {
            // A table that is written and empty says something else than none: [pools] without a pool serves nobody.
            self.names.entry(place.path.clone()).or_default();
        }
        for (key, value) in table {
            let word: &str = key.get_ref();
            let path = join(&place.path, word);
            if takes_names {
                self.named(word, key.span(), place);
                self.item(value, Place { pattern: named.clone(), path });
                continue;
            }
            let pattern = join_pattern(&place.pattern, word);
            if let Some(refused) = REFUSED.iter().find(|refused| refused.key == pattern) {
                let message = format!("{path}: {}", refused.why);
                self.error(refused.code, key.span(), message, refused.fix.to_owned());
            } else if self.is_known(&pattern) {
                self.item(value, Place { pattern, path });
            } else {
                self.unknown(word, key.span(), place, value.get_ref());
            }
        }
    }

    fn is_known(&self, pattern: &str) -> bool {
        // A key with a dot or brackets in it is quoted in the file and never one of ours.
        let array = format!("{pattern}[]");
        catalogue::find(pattern).is_some() || catalogue::is_table(pattern) || catalogue::is_table(&array)
    }

    fn named(&mut self, name: &str, span: Range<usize>, place: &Place) {
        if name.is_empty() || name.contains('\0') {
            let fix = format!("name it: [{}]", join(&place.path, "app"));
            self.error("wrong-value", span.clone(), format!("an empty name in [{}]", place.path), fix);
        }
        self.names.entry(place.path.clone()).or_default().push(Named { name: name.to_owned(), span });
    }

    fn item(&mut self, item: &Spanned<DeValue<'_>>, place: Place) {
        if let Some(setting) = catalogue::find(&place.pattern) {
            self.value(setting, item, place.path);
            return;
        }
        let array = format!("{}[]", place.pattern);
        match (item.get_ref(), catalogue::is_table(&array)) {
            (DeValue::Table(table), false) => self.table(table, &place),
            (DeValue::Array(items), true) => {
                for (n, item) in items.iter().enumerate() {
                    let named = Named { name: n.to_string(), span: item.span() };
                    self.names.entry(place.path.clone()).or_default().push(named);
                    let inner = Place { pattern: array.clone(), path: format!("{}[{n}]", place.path) };
                    match item.get_ref().as_table() {
                        Some(table) => self.table(table, &inner),
                        None => self.not_a_table(item, &place.path, true),
                    }
                }
            }
            (_, is_array) => self.not_a_table(item, &place.path, is_array),
        }
    }

    fn not_a_table(&mut self, item: &Spanned<DeValue<'_>>, path: &str, is_array: bool) {
        let (what, fix) = if is_array {
            ("a list of tables", format!("write [[{path}]] and its keys below"))
        } else {
            ("a table", format!("write [{path}] and its keys below"))
        };
        let found = item.get_ref().type_str();
        self.error("wrong-type", item.span(), format!("{path} is {what}, found {found}"), fix);
    }

    fn value(&mut self, setting: &'static Setting, item: &Spanned<DeValue<'_>>, path: String) {
        match value::read(setting.kind, item.get_ref()) {
            Ok(value) => {
                self.values.insert(path, Written { value, span: item.span(), setting });
            }
            Err(refused) => {
                let usual = Some(setting.default).filter(|default| default.parse::<i64>().is_ok());
                let usual = usual.filter(|default| !refused.fix.ends_with(&format!("nearest is {default}")));
                let usual = usual.filter(|_| refused.code == "out-of-range");
                let usual = usual.map(|default| format!("; the default is {default}"));
                let fix = refused.fix + usual.as_deref().unwrap_or_default();
                self.error(refused.code, item.span(), format!("{path}: {}", refused.why), fix);
                self.refused.insert(path);
            }
        }
    }

    fn unknown(&mut self, word: &str, span: Range<usize>, place: &Place, value: &DeValue<'_>) {
        let shown: String = word.chars().take(64).collect();
        let (what, inside) =
            if place.path.is_empty() { ("section", String::new()) } else { ("key", format!(" in [{}]", place.path)) };
        let foreign = FOREIGN.iter().find(|(theirs, _)| *theirs == word).map(|(_, ours)| *ours);
        let elsewhere = || catalogue::CATALOGUE.iter().map(|s| s.key).find(|key| key.rsplit('.').next() == Some(word));
        let near = nearest(word, catalogue::children(&place.pattern));
        let fix = match (foreign, near) {
            (Some(ours), _) => belongs(ours, &place.pattern, value),
            (None, Some(near)) => format!("did you mean `{near}`?"),
            (None, None) => elsewhere().map_or_else(
                || format!("known here: {}", known(&place.pattern)),
                |key| belongs(key, &place.pattern, value),
            ),
        };
        self.error("unknown-key", span, format!("unknown {what} `{shown}`{inside}"), fix);
    }
}

/// What to write where a key is called otherwise, or stands in the wrong table.
fn belongs(key: &str, here: &str, value: &DeValue<'_>) -> String {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    if table == here {
        return format!("did you mean `{name}`?");
    }
    let header = table.strip_suffix("[]").map_or_else(|| format!("[{table}]"), |list| format!("[[{list}]]"));
    let shown = match (value.as_str(), value.as_integer(), value.as_bool()) {
        // Somebody may have written the password itself where its file or variable belongs.
        (Some(text), ..) => Some(text).filter(|text| text.len() <= 64 && !name.contains("password")).map(quote),
        (_, Some(number), _) => Some(number.to_string()),
        (.., Some(truth)) => Some(truth.to_string()),
        (_, None, None) => None,
    };
    shown.map_or_else(
        || format!("write {name} below {header}"),
        |shown| format!("write {name} = {shown} below {header}, and take it out here"),
    )
}

fn join_pattern(prefix: &str, word: &str) -> String {
    if prefix.is_empty() { word.to_owned() } else { format!("{prefix}.{word}") }
}

fn known(pattern: &str) -> String {
    let mut words: Vec<&str> = catalogue::children(pattern).collect();
    words.dedup();
    words.join(", ")
}
