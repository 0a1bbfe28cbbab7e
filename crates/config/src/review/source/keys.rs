//! Values of a poolwarden.toml with their places: as written, else the catalogue's default, which says so.

use std::ops::Range;
use std::time::Duration;

use super::poolwarden::OURS;
use crate::catalogue;
use crate::pgbouncer::value::FOREVER;
use crate::review::chain::{Bound, Limit, Maybe};
use crate::review::place::Known;
use crate::value::{Value, read_default};
use crate::walk::{Named, Walked, join};

/// One file's values.
pub(super) struct Keys<'a> {
    pub(super) file: usize,
    pub(super) walked: &'a Walked,
}

/// One table: as the catalogue writes it, and as this file does.
pub(super) struct Table {
    pattern: String,
    path: String,
}

impl Table {
    pub(super) fn top(section: &str) -> Self {
        Self { pattern: section.to_owned(), path: section.to_owned() }
    }

    pub(super) fn named(section: &str, name: &str) -> Self {
        Self { pattern: format!("{section}.NAME"), path: join(section, name) }
    }

    /// One table of an array.
    pub(super) fn item(section: &str, number: &str) -> Self {
        Self { pattern: format!("{section}[]"), path: format!("{section}[{number}]") }
    }
}

impl Keys<'_> {
    /// The names that the operator chose in a section, and where.
    pub(super) fn names(&self, section: &str) -> &[Named] {
        self.walked.names.get(section).map_or(&[], Vec::as_slice)
    }

    pub(super) fn place<T>(&self, value: T, span: &Range<usize>) -> Known<T> {
        Known::written(value, self.file, span.clone())
    }

    /// As it is written.
    pub(super) fn written(&self, table: &Table, key: &str) -> Maybe<Value> {
        let written = self.walked.values.get(&join(&table.path, key))?;
        Some(self.place(written.value.clone(), &written.span))
    }

    /// As it is written, else by default.
    pub(super) fn value(&self, table: &Table, key: &str) -> Maybe<Value> {
        self.written(table, key).or_else(|| {
            let setting = catalogue::find(&format!("{}.{key}", table.pattern))?;
            Some(Known::default_of(read_default(setting.kind, setting.default)?, OURS))
        })
    }

    /// Every value as it is written, by its full key.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, Known<String>)> {
        let text = |(key, written): (&String, &crate::walk::Written)| {
            (key.clone(), self.place(written.value.to_string(), &written.span))
        };
        self.walked.values.iter().map(text)
    }
}

/// The same place with what `pick` makes of the value.
fn picked<T>(known: Maybe<Value>, pick: impl Fn(Value) -> Option<T>) -> Maybe<T> {
    let Known { value, place } = known?;
    Some(Known { value: pick(value)?, place })
}

/// A whole number, or bytes.
pub(super) fn number(known: Maybe<Value>) -> Maybe<u64> {
    picked(known, |value| {
        let whole = if let Value::Integer(number) = value { u64::try_from(number).ok() } else { None };
        if let Value::Size(bytes) = value { Some(bytes) } else { whole }
    })
}

/// A whole number, or `"unlimited"`.
pub(super) fn bound(known: Maybe<Value>) -> Maybe<Bound> {
    if known.as_ref().is_some_and(|known| known.value == Value::Unlimited) {
        return picked(known, |_| Some(Bound::Unlimited));
    }
    Some(number(known)?.map(Bound::Of))
}

/// A duration.
pub(super) fn time(known: Maybe<Value>) -> Maybe<Duration> {
    picked(known, |value| if let Value::Duration(time) = value { Some(time) } else { None })
}

/// A time limit; what lasts a hundred years never ends.
pub(super) fn limit(known: Maybe<Value>) -> Maybe<Limit> {
    Some(time(known)?.map(|time| if time >= FOREVER { Limit::Never } else { Limit::After(time) }))
}

/// A time limit of which zero is none.
pub(super) fn limit_or_off(known: Maybe<Value>) -> Maybe<Limit> {
    Some(limit(known)?.map(|limit| if limit == Limit::After(Duration::ZERO) { Limit::Never } else { limit }))
}

/// A rate, or a share.
pub(super) fn ratio(known: Maybe<Value>) -> Maybe<f64> {
    picked(known, |value| if let Value::Rate(number) | Value::Ratio(number) = value { Some(number) } else { None })
}

/// A text that is not empty.
pub(super) fn text(known: Maybe<Value>) -> Maybe<String> {
    picked(known, |value| if let Value::Text(text) = value { Some(text).filter(|text| !text.is_empty()) } else { None })
}
