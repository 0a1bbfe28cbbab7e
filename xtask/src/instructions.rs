//! `instructions`: what one transaction costs in user instructions, counted by callgrind.
//!
//! The example `transcript` of `switch` runs N fixed transactions through relay, switch and core. The
//! difference of two runs leaves start-up out. The count does not swing with the machine, so it is a
//! ratchet: 3 % more than `bench/instructions.toml` says fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;
use toml::{Table, Value};

use crate::bench::commit;

const EXAMPLE: &str = "crates/switch/examples/transcript.rs";
const RATCHET: &str = "bench/instructions.toml";
const KEY: &str = "instructions_per_transaction";
const SHORT: u64 = 1_000;
const LONG: u64 = 2_000;
/// Room for what a patch release of the compiler may change.
const ROOM: f64 = 1.03;
const HEADER: &str =
    "# User instructions of one transaction through relay, switch and core (crates/switch/examples/transcript.rs).
# `make test` fails at 3 % more. `cargo xtask instructions --write` lowers it; raising it is an edit with a reason.
";

pub(crate) fn run(arguments: &[String], root: &Path) -> Result<()> {
    let (mut write, mut json) = (false, None);
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        match flag.as_str() {
            "--write" => write = true,
            "--json" => json = Some(PathBuf::from(rest.next().context("--json needs a file")?)),
            _ => bail!("instructions knows no {flag}: --write, --json FILE"),
        }
    }
    if !root.join(EXAMPLE).exists() {
        eprintln!("instructions: {EXAMPLE} does not exist, nothing to count");
        return Ok(());
    }
    let counted = count(&build(root)?)?;
    let known = read(root)?;
    eprintln!(
        "instructions: {counted} a transaction, ratchet {}",
        known.map_or("none".to_owned(), |known| known.to_string())
    );
    if let Some(path) = json {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let command = "cargo xtask instructions";
        let proof = json!({ "schema": 1, "commit": commit(root)?, "command": command, KEY: counted });
        fs::write(&path, format!("{proof:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if write && known.is_none_or(|known| counted < known) {
        fs::create_dir_all(root.join("bench"))?;
        fs::write(root.join(RATCHET), format!("{HEADER}{KEY} = {counted}\n"))?;
        return Ok(());
    }
    judge(counted, known)
}

fn judge(counted: u64, known: Option<u64>) -> Result<()> {
    let Some(known) = known else { bail!("{RATCHET} does not exist: `cargo xtask instructions --write` makes it") };
    let grown = counted as f64 / known as f64;
    if grown > ROOM {
        bail!(
            "a transaction costs {counted} user instructions, {:.1} % more than the {known} of {RATCHET}",
            (grown - 1.0) * 100.0
        );
    }
    Ok(())
}

fn read(root: &Path) -> Result<Option<u64>> {
    let path = root.join(RATCHET);
    if !path.exists() {
        return Ok(None);
    }
    let table: Table = fs::read_to_string(path)?.parse().context(RATCHET)?;
    let known = table.get(KEY).and_then(Value::as_integer).and_then(|known| u64::try_from(known).ok());
    Ok(Some(known.filter(|known| *known > 0).with_context(|| format!("{RATCHET}: no {KEY} above 0"))?))
}

/// The example as it would ship; answers where it is.
fn build(root: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--release", "--package", "poolwarden-switch", "--example", "transcript"])
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("{EXAMPLE} does not build");
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/examples/transcript"))
}

fn count(binary: &Path) -> Result<u64> {
    let (short, long) = (callgrind(binary, SHORT)?, callgrind(binary, LONG)?);
    let more = long.checked_sub(short).filter(|more| *more > 0);
    let more = more.with_context(|| {
        format!("{LONG} transactions cost no more than {SHORT}: does the example heed its argument?")
    })?;
    Ok(more / (LONG - SHORT))
}

fn callgrind(binary: &Path, transactions: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(binary)
        .arg(transactions.to_string())
        .output()
        .context("cannot start valgrind: run `make setup`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("the transcript ended with {}:\n{said}", output.status);
    }
    collected(&said).with_context(|| format!("callgrind said:\n{said}"))
}

/// `==123== Collected : 4567`
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected :"))?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_percent_more_fails_and_less_is_welcome() {
        assert!(judge(10_300, Some(10_000)).is_ok());
        assert!(judge(10_301, Some(10_000)).is_err());
        assert!(judge(5_000, Some(10_000)).is_ok());
        assert!(judge(5_000, None).is_err());
    }

    #[test]
    fn callgrinds_count_is_read() {
        assert_eq!(collected("==9== Events    : Ir\n==9== Collected : 1234567\n==9==\n"), Some(1_234_567));
        assert_eq!(collected("killed"), None);
    }
}
