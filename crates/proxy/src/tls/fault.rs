//! Why TLS cannot be set up: the file and the reason, for a start or a reload that is refused.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why TLS cannot be set up as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFault {
    /// The file, where one is to blame.
    file: Option<PathBuf>,
    why: String,
}

impl TlsFault {
    pub(super) fn of(file: &Path, why: impl Into<String>) -> Self {
        Self { file: Some(file.to_owned()), why: why.into() }
    }

    pub(super) fn other(why: impl Into<String>) -> Self {
        Self { file: None, why: why.into() }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl std::error::Error for TlsFault {}
