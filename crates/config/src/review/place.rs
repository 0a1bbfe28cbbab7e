//! A value and where it was found: every number of a finding can be pointed at.

use std::ops::Range;

/// Where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes of one of [`super::Dossier::texts`].
    Text {
        /// Which text.
        file: usize,
        /// Which bytes of it.
        span: Range<usize>,
    },
    /// Nobody wrote it: whose default it is, `PgBouncer's`.
    Default(&'static str),
    /// A running process or PostgreSQL told it: which of [`super::Dossier::facts`], and the fact's key.
    Told {
        /// Which source.
        source: usize,
        /// The key.
        key: String,
    },
}

/// A value and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl<T> Known<T> {
    /// A value written in a text.
    pub const fn written(value: T, file: usize, span: Range<usize>) -> Self {
        Self { value, place: Place::Text { file, span } }
    }

    /// A default that nobody changed.
    pub const fn default_of(value: T, whose: &'static str) -> Self {
        Self { value, place: Place::Default(whose) }
    }

    /// Whether somebody wrote or told it.
    pub const fn is_given(&self) -> bool {
        !matches!(self.place, Place::Default(_))
    }

    /// The same place with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Known<U> {
        Known { value: change(self.value), place: self.place }
    }
}
