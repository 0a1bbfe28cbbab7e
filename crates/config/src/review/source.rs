//! Inputs become the [`Dossier`]: each kind of file and each kind of fact has its reader, and readers know no rule.

use super::dossier::{Dossier, Facts};
use super::finding::Finding;

/// One input.
#[derive(Clone, Debug)]
pub enum Input {
    /// A file: what it is, is known by its name and its text.
    File {
        /// Its path as it was given.
        name: String,
        /// Its text.
        text: String,
    },
    /// What was told by a running process, PostgreSQL or a recording.
    Facts(Facts),
}

/// What the inputs came to.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Everything they told.
    pub dossier: Dossier,
    /// What is wrong in the files themselves: unknown keys, missing units, broken syntax.
    pub faults: Vec<Finding>,
    /// Files that could not be read at all: their names and why, with what to do.
    pub unreadable: Vec<(String, String)>,
}

/// Reads all inputs. `read` gets files that they name (includes, user lists, HBA files) by their path.
pub fn gather(inputs: &[Input], read: &mut dyn FnMut(&str) -> Result<String, String>) -> Gathered {
    let _ = (inputs, read);
    Gathered::default()
}
