//! `prove matrix`: the corpus and the live tests of the protocol against every release of PostgreSQL that is installed.
//!
//! The releases are those of `scripts/setup-postgres-versions.sh`; one that is missing is a failure, not a gap in the table.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bench::commit;

const RELEASES: [&str; 6] = ["13", "14", "15", "16", "17", "18"];
const FOLDER: &str = ".local/postgres";
/// Conversations from seeds for each release, mode and run.
const SEEDS: u64 = 2_000;
/// The live tests whose subject is the protocol.
const TESTS: [&str; 7] = ["extended", "copying", "asynchronous", "leaving", "cancelling", "gotchas", "tls_servers"];

pub(crate) fn run(arguments: &[String], root: &Path) -> Result<()> {
    let (file, seeds) = match arguments {
        [flag, file] if flag == "--json" => (file, SEEDS),
        [flag, file, more, seeds] if flag == "--json" && more == "--seeds" => (file, seeds.parse()?),
        _ => bail!("usage: cargo xtask prove matrix --json FILE [--seeds {SEEDS}]"),
    };
    let mut releases = Vec::new();
    for major in RELEASES {
        let programs = root.join(FOLDER).join(major).join("bin");
        if !programs.join("postgres").exists() {
            bail!("PostgreSQL {major} is not in {FOLDER}: run scripts/setup-postgres-versions.sh");
        }
        let mut release = corpus(root, &programs, seeds)?;
        release["tests"] = tests(root, &programs)?;
        releases.push(release);
    }
    let command =
        "TESTBED_POSTGRES=DIR cargo run -p poolwarden-testbed --example conform; cargo test of the live tests";
    let proof =
        json!({ "schema": 1, "commit": commit(root)?, "command": command, "seeds": seeds, "releases": releases });
    let path = PathBuf::from(file);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&path, format!("{proof:#}\n")).with_context(|| format!("cannot write {}", path.display()))
}

/// Cargo in the repository, with the programs of one release.
fn cargo(root: &Path, programs: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).env("TESTBED_POSTGRES", programs);
    command
}

fn corpus(root: &Path, programs: &Path, seeds: u64) -> Result<Value> {
    let mut command = cargo(root, programs);
    command.args(["run", "--quiet", "--locked", "--package", "poolwarden-testbed", "--example", "conform", "--"]);
    let output = command.arg(seeds.to_string()).stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    eprint!("{said}");
    if !output.status.success() {
        bail!("answers differ from those of {}", programs.display());
    }
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).with_context(|| format!("conform said: {last}"))
}

/// How many of the live tests passed; one that fails ends it.
fn tests(root: &Path, programs: &Path) -> Result<Value> {
    let mut command = cargo(root, programs);
    command.args(["test", "--locked", "--package", "poolwarden-testbed"]);
    for name in TESTS {
        command.args(["--test", name]);
    }
    let output = command.args(["--", "--test-threads", "2"]).output().context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("live tests fail with {}:\n{said}", programs.display());
    }
    let passed = passed(&said);
    if passed == 0 {
        bail!("no live test was run:\n{said}");
    }
    Ok(json!(passed))
}

/// The sum of `test result: ok. 12 passed; ...`.
fn passed(said: &str) -> u64 {
    let counts =
        said.lines().filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u64>().ok());
    counts.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_is_added_up_over_all_files_of_tests() {
        assert_eq!(passed("test result: ok. 9 passed; 0 failed\nrest\ntest result: ok. 3 passed; 0 failed"), 12);
        assert_eq!(passed("test result: FAILED. 9 passed; 1 failed"), 0);
    }

    #[test]
    fn a_release_that_is_not_installed_is_named() {
        let arguments = ["--json", "x"].map(str::to_owned);
        let fault = run(&arguments, Path::new("/nowhere")).expect_err("there is nothing");
        assert!(fault.to_string().contains("PostgreSQL 13 is not in"), "{fault}");
    }
}
