//! What a rule found: in words, with every place it is about, and what to write instead.

use std::ops::Range;

use super::place::{Known, Place};
use crate::finding::Severity;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's code.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, with the numbers of this case: lower case, no full stop, never a secret.
    pub message: String,
    /// The places it is about; the first is the one to change.
    pub labels: Vec<Label>,
    /// What happens because of it, with the numbers of this case.
    pub why: String,
    /// What to write instead.
    pub fix: Fix,
}

/// A place and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// What to read there: `1500 per (database, user)`.
    pub text: String,
    /// Whether it is the one to change.
    pub primary: bool,
}

/// What to write instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fix {
    /// In words, ready to be typed: `write max_connections = 831`.
    pub text: String,
    /// The same as edits of the files; empty where a person has to decide.
    pub edits: Vec<Edit>,
    /// Whether `--fix` may make them: it restates what already holds, or only tightens towards what is safe.
    pub safe: bool,
}

/// One edit of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Which text.
    pub file: usize,
    /// The bytes that go.
    pub span: Range<usize>,
    /// What comes.
    pub new: String,
}

impl Finding {
    /// Another place it is about.
    pub(crate) fn and<T>(&mut self, known: &Known<T>, text: impl Into<String>) -> &mut Self {
        self.labels.push(Label { place: known.place.clone(), text: text.into(), primary: false });
        self
    }

    /// What happens because of it.
    pub(crate) fn because(&mut self, why: impl Into<String>) -> &mut Self {
        self.why = why.into();
        self
    }

    /// What to write instead, in words.
    pub(crate) fn fix(&mut self, text: impl Into<String>) -> &mut Self {
        self.fix.text = text.into();
        self
    }

    /// The same as an edit: the value of `known` becomes `new`, if it is written in a file.
    pub(crate) fn write<T>(&mut self, known: &Known<T>, new: impl Into<String>) -> &mut Self {
        if let Place::Text { file, span } = &known.place {
            self.fix.edits.push(Edit { file: *file, span: span.clone(), new: new.into() });
        }
        self
    }

    /// `--fix` may do it.
    pub(crate) fn safe(&mut self) -> &mut Self {
        self.fix.safe = !self.fix.edits.is_empty();
        self
    }

    /// Matters more or less than its rule's findings do.
    pub(crate) fn matters(&mut self, severity: Severity) -> &mut Self {
        self.severity = severity;
        self
    }
}
