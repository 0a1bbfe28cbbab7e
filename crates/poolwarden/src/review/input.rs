//! The inputs of a review: files as they were named, files that those name, and what runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use poolwarden_config::review::{Gathered, Input, gather};

use super::Given;
use crate::discover;

/// Files that were read, by the name they were given.
#[derive(Debug, Default)]
pub(crate) struct Files {
    read: BTreeMap<String, (PathBuf, String)>,
    /// Where files that are named by others are looked for.
    folders: Vec<PathBuf>,
}

/// Everything a review is made of.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) files: Files,
    inputs: Vec<Input>,
    /// Files that cannot be read, and why.
    unreadable: Vec<(String, String)>,
}

impl Files {
    /// Where a file is, and its text.
    pub(super) fn original(&self, name: &str) -> Option<(&Path, &str)> {
        self.read.get(name).map(|(path, text)| (path.as_path(), text.as_str()))
    }

    fn take(&mut self, name: String, path: &Path) -> anyhow::Result<String> {
        let bytes = discover::read_bounded(path, discover::MAX_FILE_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            anyhow::anyhow!("line {line}: not UTF-8 text (byte {at}): save the file as UTF-8")
        })?;
        self.read.insert(name, (path.to_owned(), text.clone()));
        Ok(text)
    }

    /// A file that another one names: where it says, else beside one of the files that were given.
    fn named(&mut self, name: &str) -> Result<String, String> {
        if let Some((_, text)) = self.read.get(name) {
            return Ok(text.clone());
        }
        let beside = self.folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        let path = Some(PathBuf::from(name)).filter(|path| path.is_file()).or(beside);
        let path = path.unwrap_or_else(|| PathBuf::from(name));
        self.take(name.to_owned(), &path).map_err(|why| format!("{why:#}"))
    }
}

impl Inputs {
    /// Reads files. One that cannot be read is no reason not to look at the others.
    pub(crate) fn read(paths: &[PathBuf]) -> Self {
        let mut inputs = Self::default();
        for path in paths {
            let name = path.to_string_lossy().into_owned();
            match inputs.files.take(name.clone(), path) {
                Ok(text) => inputs.inputs.push(Input::File { name, text }),
                Err(why) => inputs.unreadable.push((name, format!("{why:#}"))),
            }
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            if !inputs.files.folders.contains(&folder) {
                inputs.files.folders.push(folder);
            }
        }
        inputs
    }

    /// Texts and facts that a running process has, under the names of its files. Files that those name are read.
    pub(crate) fn given(given: Given) -> Self {
        let mut inputs = Self::default();
        for (name, text) in given.texts {
            let path = PathBuf::from(&name);
            inputs.files.folders.extend(path.parent().map(Path::to_owned));
            inputs.files.read.insert(name.clone(), (path, text.clone()));
            inputs.inputs.push(Input::File { name, text });
        }
        inputs.inputs.extend(given.facts.into_iter().map(Input::Facts));
        inputs
    }

    /// The files to look at where none is named.
    pub(crate) fn usual() -> anyhow::Result<Vec<PathBuf>> {
        let found = discover::CANDIDATES.iter().map(PathBuf::from).find(|path| path.try_exists().unwrap_or(true));
        match found {
            Some(path) => Ok(vec![path]),
            None => bail!(
                "nothing to review: neither {} exists; name a FILE or --live URL",
                discover::CANDIDATES.join(" nor ")
            ),
        }
    }

    /// What was told by who runs.
    pub(crate) fn told(&mut self, facts: poolwarden_config::review::Facts) {
        self.inputs.push(Input::Facts(facts));
    }

    /// Everything they tell.
    pub(crate) fn gathered(&mut self) -> Gathered {
        let files = &mut self.files;
        let mut gathered = gather(&self.inputs, &mut |name| files.named(name));
        gathered.unreadable.splice(0..0, self.unreadable.iter().cloned());
        gathered
    }

    /// The same files as they are now.
    pub(crate) fn again(&self) -> anyhow::Result<Self> {
        let mut again = Self {
            files: Files { folders: self.files.folders.clone(), ..Files::default() },
            inputs: Vec::new(),
            unreadable: self.unreadable.clone(),
        };
        for input in &self.inputs {
            again.inputs.push(match input {
                Input::Facts(facts) => Input::Facts(facts.clone()),
                Input::File { name, .. } => {
                    let text = again.files.take(name.clone(), Path::new(name));
                    Input::File { name: name.clone(), text: text.with_context(|| format!("cannot read {name} again"))? }
                }
            });
        }
        Ok(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_many_others_name_is_read_once_and_looked_for_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        let beside = dir.path().join("userlist.txt");
        std::fs::write(&beside, "\"app\" \"x\"\n").unwrap();
        std::fs::write(dir.path().join("a.ini"), "[pgbouncer]\n").unwrap();
        let mut inputs = Inputs::read(&[dir.path().join("a.ini")]);
        assert_eq!(inputs.files.named("userlist.txt").unwrap(), "\"app\" \"x\"\n");
        std::fs::remove_file(&beside).unwrap();
        for _ in 0..50 {
            assert!(inputs.files.named("userlist.txt").is_ok(), "it was read before");
        }
        assert!(inputs.files.named("more.txt").unwrap_err().contains("No such file"));
    }

    #[test]
    fn what_is_no_text_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("poolwarden.toml");
        std::fs::write(&path, b"[listen]\nx = \xff\n").unwrap();
        let gathered = Inputs::read(&[path]).gathered();
        assert!(gathered.unreadable[0].1.starts_with("line 2: not UTF-8 text"), "{:?}", gathered.unreadable);
    }
}
