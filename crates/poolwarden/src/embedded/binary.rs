//! Which installed PostgreSQL to use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

/// `initdb` and `postgres` of one version.
#[derive(Debug)]
pub(super) struct Binaries {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
    /// Major version.
    pub(super) version: u32,
}

impl Binaries {
    /// Of the version that made the data, or the first found: PATH, the system's directories (newest first), pg_config.
    pub(super) fn find(wanted: Option<u32>) -> anyhow::Result<Self> {
        Self::choose(candidates(), wanted)
    }

    fn choose(candidates: impl Iterator<Item = PathBuf>, wanted: Option<u32>) -> anyhow::Result<Self> {
        let mut others = Vec::new();
        for directory in candidates {
            let Some(found) = Self::of(&directory) else { continue };
            if wanted.is_none_or(|wanted| wanted == found.version) {
                return Ok(found);
            }
            others.push(found.version.to_string());
        }
        let Some(wanted) = wanted else {
            bail!(
                "no PostgreSQL server is installed (initdb and postgres are neither in PATH nor in /usr/lib/postgresql): \
                 apt install postgresql, or pool one elsewhere with --database URL"
            );
        };
        bail!(
            "the data was made by PostgreSQL {wanted}, which is not installed (found: {}): apt install postgresql-{wanted}, \
             or move the data directory away",
            if others.is_empty() { "none".to_owned() } else { others.join(", ") }
        )
    }

    fn of(directory: &Path) -> Option<Self> {
        let (initdb, postgres) = (directory.join("initdb"), directory.join("postgres"));
        if !initdb.is_file() || !postgres.is_file() {
            return None;
        }
        let output = Command::new(&postgres).arg("--version").output().ok()?;
        let version = major(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { initdb, postgres, version })
    }
}

/// `postgres (PostgreSQL) 15.7 (Debian ...)`, `17beta1`.
fn major(text: &str) -> Option<u32> {
    let word = text.split(") ").nth(1)?;
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    word[..digits].parse().ok()
}

/// An executable's path by its name.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all: Vec<PathBuf> = std::env::split_paths(&path).collect();
    all.extend(installed(Path::new("/usr/lib/postgresql")));
    let asked = on_path("pg_config").and_then(|pg_config| Command::new(pg_config).arg("--bindir").output().ok());
    all.extend(asked.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())));
    all.into_iter()
}

/// Debian's directories, one per version, newest first.
fn installed(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let number = |path: PathBuf| Some((path.file_name()?.to_str()?.parse::<u32>().ok()?, path));
    let mut versions: Vec<(u32, PathBuf)> = entries.filter_map(|entry| number(entry.path())).collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, path)| path.join("bin")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake(root: &Path, version: u32) -> PathBuf {
        let bin = root.join(version.to_string()).join("bin");
        fs::create_dir_all(&bin).expect("a directory");
        for name in ["initdb", "postgres"] {
            fs::write(bin.join(name), format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}.3'\n"))
                .expect("a file");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("executable");
        }
        bin
    }

    #[test]
    fn the_newest_is_taken_unless_the_data_wants_another() {
        let root = tempfile::tempdir().expect("a temporary directory");
        for version in [9, 15, 17] {
            fake(root.path(), version);
        }
        let dirs = || installed(root.path()).into_iter();
        assert_eq!(Binaries::choose(dirs(), None).expect("the newest").version, 17);
        assert_eq!(Binaries::choose(dirs(), Some(15)).expect("the data's").version, 15);
        let error = Binaries::choose(dirs(), Some(16)).expect_err("not installed").to_string();
        assert!(error.contains("apt install postgresql-16") && error.contains("17, 15, 9"), "{error}");
        let error = Binaries::choose(std::iter::empty(), None).expect_err("nothing installed").to_string();
        assert!(error.contains("apt install postgresql"), "{error}");
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(major("postgres (PostgreSQL) 15.7 (Debian 15.7-0+deb12u1)"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta2"), Some(18));
        assert_eq!(major("sh: not found"), None);
    }
}
