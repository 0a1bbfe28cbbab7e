//! Which release of PostgreSQL this run is about, and the releases of the matrix.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::child;
use crate::pooler::workspace;
use crate::template;

/// The major version of the PostgreSQL tests start: 13 to 18.
#[must_use]
#[track_caller]
pub fn major() -> u32 {
    static FOUND: OnceLock<u32> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let said = child::run(Command::new(template::programs().join("postgres")).arg("--version"));
        said.split_whitespace().find_map(read).unwrap_or_else(|| panic!("no version in {said:?}"))
    })
}

/// `15.20` is 15, `19devel` is 19.
fn read(word: &str) -> Option<u32> {
    let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The releases that `scripts/setup-postgres-versions.sh` installed, oldest first, with their programs.
#[must_use]
pub fn installed() -> Vec<(u32, PathBuf)> {
    let folder = workspace().join(".local/postgres");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, programs)| programs.join("postgres").exists())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says_of_itself() {
        let of = |said: &str| said.split_whitespace().find_map(read);
        assert_eq!(of("postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)"), Some(15));
        assert_eq!(of("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(of("postgres"), None);
    }
}
