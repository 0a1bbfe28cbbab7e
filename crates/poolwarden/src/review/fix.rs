//! `--fix`: safe edits are made in the files, each of them whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::Path;

use anyhow::{Context, bail};
use poolwarden_config::review::edit;

use super::{Files, Review};

/// Makes the safe edits of findings that count; says what changed. Nothing is written unless all edits can be made.
pub(crate) fn fix(review: &Review, files: &Files) -> anyhow::Result<Option<String>> {
    let edits = edit::safe(review.counting().map(|judged| &judged.finding));
    let mut said = String::new();
    let mut writes = Vec::new();
    for (number, edits) in &edits {
        let text = review.dossier().texts.get(*number).context("an edit of a text that is not there")?;
        // What is shown has stars for secrets; what is written has them as they are.
        let (path, original) = files.original(&text.name).with_context(|| format!("{} was not read", text.name))?;
        if original.len() != text.text.len() {
            bail!("{}: what was reviewed is not what was read: nothing is changed", text.name);
        }
        let beside = || format!("{}: an edit does not fit the text: nothing is changed", text.name);
        let new = edit::apply(original, edits).with_context(beside)?;
        said.push_str(&edit::diff(&text.name, &text.text, edits).with_context(beside)?);
        writes.push((path, original, new));
    }
    for (done, (path, original, new)) in writes.iter().enumerate() {
        replace(path, original, new).with_context(|| {
            let written: Vec<String> = writes[..done].iter().map(|(path, ..)| path.display().to_string()).collect();
            let written = if written.is_empty() {
                "nothing is changed".to_owned()
            } else {
                format!("changed: {}", written.join(", "))
            };
            format!("cannot write {}; {written}", path.display())
        })?;
    }
    Ok((!writes.is_empty()).then_some(said))
}

/// Puts a new text in place of one that must still be there. The file keeps its owner and its mode.
fn replace(path: &Path, original: &str, new: &str) -> anyhow::Result<()> {
    let path = fs::canonicalize(path)?; // behind a symbolic link it is the file that changes
    if fs::read(&path)? != original.as_bytes() {
        bail!("it has changed since it was read");
    }
    write_whole(&path, new)
}

/// Writes a file: whole or not at all.
pub(crate) fn write_whole(path: &Path, text: &str) -> anyhow::Result<()> {
    let name = path.file_name().context("it has no name")?.to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let before = fs::metadata(path).ok();
    let mode = before.as_ref().map_or(0o644, |of| of.mode() & 0o7777);
    let written = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        if let Some(before) = &before {
            file.set_permissions(before.permissions())?; // what the umask took away
            let now = file.metadata()?;
            if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
                chown(&beside, Some(before.uid()), Some(before.gid()))?;
            }
        }
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    written().inspect_err(|_| {
        // Whether it was there or not, it is not left behind.
        fs::remove_file(&beside).unwrap_or_default();
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_behind_its_link_and_only_as_it_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.toml"), dir.path().join("link.toml"));
        fs::write(&real, "old\n").unwrap();
        symlink(&real, &link).unwrap();
        assert!(replace(&link, "other\n", "new\n").unwrap_err().to_string().contains("has changed since"));
        assert_eq!(fs::read_to_string(&real).unwrap(), "old\n");
        replace(&link, "old\n", "new\n").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
    }
}
