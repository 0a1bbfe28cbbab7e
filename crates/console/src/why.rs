//! The answer to "why?" as JSON and as text: the forms, not the judgement, which comes whole from [`poolwarden_watch::Watch`].
//!
//! Names of the JSON are stable; times are RFC 3339, ratios 0 to 1, and what is not known is null. The text is read at night
//! on a terminal: the next step first. SQL texts are shown only to those who may see them ([`Texts`]).

mod holder;
mod json;
mod text;
mod word;

pub use holder::{holders_json, holders_text};
pub use json::json;
pub use text::{text, vain};
pub(crate) use word::paragraph;
pub use word::{plain, span};

/// Whether statements of applications are shown. They have no literals, and are somebody's business all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// To operators: who asks has the operate token.
    Shown,
    /// To everybody else.
    Hidden,
}

/// How a text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether statements are shown.
    pub texts: Texts,
}

impl Layout {
    /// Fits most terminals.
    pub const DEFAULT_WIDTH: usize = 100;
    /// Less leaves no place for a sentence beside its heading.
    pub const MIN_WIDTH: usize = 60;
    /// A line longer than this is not read as one.
    pub const MAX_WIDTH: usize = 240;

    /// A layout for a terminal of `width` columns; widths that cannot be are brought to the nearest that can.
    #[must_use]
    pub fn new(width: Option<usize>, texts: Texts) -> Self {
        let width = width.unwrap_or(Self::DEFAULT_WIDTH).clamp(Self::MIN_WIDTH, Self::MAX_WIDTH);
        Self { width, texts }
    }
}

#[cfg(test)]
mod tests;
