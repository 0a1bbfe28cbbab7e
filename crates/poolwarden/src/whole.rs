//! A file written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::Path;

use anyhow::{Context, bail};

/// Puts a new text in place of one that must still be there. The file keeps its owner and its mode.
pub(crate) fn replace(path: &Path, original: &str, new: &str) -> anyhow::Result<()> {
    let path = fs::canonicalize(path)?; // behind a symbolic link it is the file that changes
    if fs::read(&path)? != original.as_bytes() {
        bail!("it has changed since it was read");
    }
    write(&path, new)
}

/// Writes a file, so that a crash at any moment leaves the old one or the new one.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let name = path.file_name().context("it has no name")?.to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let before = fs::metadata(path).ok();
    let mode = before.as_ref().map_or(0o644, |of| of.mode() & 0o7777);
    let written = || -> std::io::Result<()> {
        let mut file = begin(&beside, mode)?;
        file.write_all(text.as_bytes())?;
        if let Some(before) = &before {
            file.set_permissions(before.permissions())?; // what the umask took away
            let now = file.metadata()?;
            if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
                chown(&beside, Some(before.uid()), Some(before.gid()))?;
            }
        }
        file.sync_all()?;
        fs::rename(&beside, path)?;
        // the new name, too, is to outlast a loss of power
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    };
    let written = written().inspect_err(|_| {
        // Whether it was there or not, it is not left behind.
        fs::remove_file(&beside).unwrap_or_default();
    });
    written.with_context(|| format!("writing {} to take its place", beside.display()))
}

/// A new file. One of that name is left from a write that was cut short: process ids come again, in a container always.
fn begin(path: &Path, mode: u32) -> std::io::Result<File> {
    let new = || OpenOptions::new().create_new(true).write(true).mode(mode).open(path);
    match new() {
        Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            new()
        }
        opened => opened,
    }
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
        fs::write(dir.path().join(format!(".real.toml.{}.new", std::process::id())), "cut sh").unwrap();
        replace(&link, "new\n", "newer\n").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "newer\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
    }
}
