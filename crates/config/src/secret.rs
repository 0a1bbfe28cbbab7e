//! What must never be printed, and where it is to be found.

use std::fmt;

/// A password or a SCRAM/md5 secret. Neither `Debug` nor anything else of this crate prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for authentication and for nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<set>")
    }
}

/// Where the file says a secret is. The caller of [`crate::Config::parse`] knows how to get it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// `scram_file`: the first line of a file; a relative path starts at the configuration file's directory.
    File(String),
    /// `password_env`: an environment variable.
    Env(String),
    /// `userlist`, `hba`, `ident_map`: a whole file, found as `File`.
    Text(String),
}
