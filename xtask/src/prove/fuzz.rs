//! `prove fuzz`: libFuzzer over the targets of `fuzz`, one after the other, and what it cost added up in a file.
//!
//! A finding becomes a seed (`fuzz/seeds/TARGET/found-...`), which every test replays from then on; the search fails.
//! What the search has learnt so far stays under the target directory and is where the next one begins.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bench::commit;

/// Coverage the way libFuzzer reads it, by the compiler's own pass: no other toolchain is needed.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions";
/// An input is a handful of messages or a page of configuration; longer ones say the same more slowly.
const LONGEST_INPUT: u32 = 2048;
/// Nothing that is read before somebody has proven who he is may take longer.
const MOST_SECONDS_PER_INPUT: u32 = 30;
const MOST_MEGABYTES: u32 = 1000;

/// What one search cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    cpu_seconds: f64,
    executions: u64,
}

pub(super) fn run(seconds: &str, target: Option<&str>, file: &Path, root: &Path) -> Result<()> {
    let seconds: u32 = seconds.parse().with_context(|| format!("fuzz needs whole seconds, not \"{seconds}\""))?;
    let targets = chosen(&root.join("fuzz/seeds"), target)?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("fuzz");
    let binary = build(root, &folder)?;
    for target in targets {
        let cost = search(&binary, &target, seconds, root, &folder)?;
        add(file, &target, cost, &commit(root)?)?;
        eprintln!("prove: {target}: {} executions in {:.0} s of CPU, nothing found", cost.executions, cost.cpu_seconds);
    }
    Ok(())
}

/// All targets, or the one that is named.
fn chosen(seeds: &Path, target: Option<&str>) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(seeds).with_context(|| format!("cannot read {}", seeds.display()))? {
        all.push(entry?.file_name().to_string_lossy().into_owned());
    }
    all.sort();
    match target {
        None => Ok(all),
        Some(name) if all.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("\"{name}\" is no target: {}", all.join(", ")),
    }
}

/// Builds the fuzzer beside everything else, since its flags would build everything else anew.
fn build(root: &Path, folder: &Path) -> Result<PathBuf> {
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output().context("cannot ask rustc")?;
    let host = String::from_utf8(host.stdout)?.trim().to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", folder);
    command.args(["build", "--quiet", "--locked", "--profile", "search", "--target", &host]);
    command.args(["--package", "poolwarden-fuzz", "--features", "libfuzzer"]);
    if !command.status().context("cannot start cargo")?.success() {
        bail!("the fuzzer does not build");
    }
    Ok(folder.join(host).join("search/poolwarden-fuzz"))
}

fn search(binary: &Path, target: &str, seconds: u32, root: &Path, folder: &Path) -> Result<Cost> {
    let corpus = folder.join("corpus").join(target);
    fs::create_dir_all(&corpus)?;
    let seeds = root.join("fuzz/seeds").join(target);
    let said = fs::File::create(folder.join(format!("{target}.log")))?;
    let before = children_cpu_seconds()?;
    let status = Command::new(binary)
        .env("POOLWARDEN_FUZZ", target)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST_INPUT}"))
        .arg(format!("-timeout={MOST_SECONDS_PER_INPUT}"))
        .arg(format!("-report_slow_units={MOST_SECONDS_PER_INPUT}"))
        .arg(format!("-rss_limit_mb={MOST_MEGABYTES}"))
        .arg(format!("-artifact_prefix={}/found-", seeds.display()))
        .arg("-print_final_stats=1")
        .args([&corpus, &seeds])
        .stdout(Stdio::null())
        .stderr(said)
        .status()
        .with_context(|| format!("cannot start {}", binary.display()))?;
    let cpu_seconds = children_cpu_seconds()? - before;
    let log = fs::read(folder.join(format!("{target}.log")))?;
    let log = String::from_utf8_lossy(&log);
    if !status.success() {
        let tail: Vec<&str> = log.lines().filter(|line| !line.starts_with('#')).collect();
        bail!("{target} has found something: {status}\n{}", tail[tail.len().saturating_sub(40)..].join("\n"));
    }
    let executions = executed(&log).with_context(|| format!("{target} does not say how many inputs it tried"))?;
    Ok(Cost { cpu_seconds, executions })
}

/// `stat::number_of_executed_units: 1234`
fn executed(log: &str) -> Option<u64> {
    log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok())
}

/// CPU time of this process's children that have ended: fields 16 and 17 of its line in /proc, in ticks of 10 ms.
fn children_cpu_seconds() -> Result<f64> {
    let line = fs::read_to_string("/proc/self/stat").context("cannot read the CPU time of children")?;
    children_of(&line).with_context(|| format!("/proc/self/stat says {line}"))
}

fn children_of(line: &str) -> Option<f64> {
    // The name, in brackets, may hold spaces; the third field follows it.
    let (_, rest) = line.rsplit_once(')')?;
    let ticks: Vec<f64> = rest.split_whitespace().skip(13).take(2).filter_map(|field| field.parse().ok()).collect();
    (ticks.len() == 2).then(|| ticks.iter().sum::<f64>() / 100.0)
}

/// Adds what a search cost to what is there.
fn add(file: &Path, target: &str, cost: Cost, commit: &str) -> Result<()> {
    let known = match fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is no proof", file.display()))?,
        Err(_) => Value::Null, // the first search of all
    };
    let text = format!("{:#}\n", added(&known, target, cost, commit));
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn added(known: &Value, target: &str, cost: Cost, commit: &str) -> Value {
    let mut targets: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in known["targets"].as_object().into_iter().flatten() {
        targets.insert(name.clone(), value.clone());
    }
    let before = &known["targets"][target];
    let cpu_seconds = before["cpu_seconds"].as_f64().unwrap_or_default() + cost.cpu_seconds;
    let executions = before["executions"].as_u64().unwrap_or_default() + cost.executions;
    let entry = json!({
        "cpu_seconds": cpu_seconds.round(),
        "executions": executions,
        "open_findings": 0,
        "commit": commit,
    });
    targets.insert(target.to_owned(), entry);
    json!({ "schema": 1, "command": "make fuzz", "targets": targets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_every_search_is_added_up_per_target() {
        let cost = Cost { cpu_seconds: 10.4, executions: 7 };
        let once = added(&Value::Null, "scram", cost, "abc");
        let twice = added(&once, "scram", cost, "def");
        let all = added(&twice, "relay", cost, "def");
        assert_eq!(all["targets"]["scram"]["cpu_seconds"], json!(20.0));
        assert_eq!(all["targets"]["scram"]["executions"], json!(14));
        assert_eq!(all["targets"]["scram"]["commit"], json!("def"));
        assert_eq!(all["targets"]["relay"]["executions"], json!(7));
    }

    #[test]
    fn what_libfuzzer_and_the_kernel_say_is_read() {
        let log = "#1 INITED\nstat::number_of_executed_units: 539917\nstat::average_exec_per_sec:     41532\n";
        assert_eq!(executed(log), Some(539_917));
        assert_eq!(executed("#1 INITED"), None);
        let stat = "7 (a ) b) S 1 7 7 0 -1 4 100 200 0 0 11 22 1500 250 20 0 1 0 5 6 7";
        assert_eq!(children_of(stat), Some(17.5));
        assert_eq!(children_of("7 (a) S 1"), None);
        assert!(children_cpu_seconds().unwrap() >= 0.0);
    }

    #[test]
    fn a_target_that_does_not_exist_is_named() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        let all = chosen(&folder, None).unwrap();
        assert!(all.is_sorted() && all.contains(&"relay".to_owned()));
        assert_eq!(chosen(&folder, Some("relay")).unwrap(), ["relay"]);
        let fault = chosen(&folder, Some("rumours")).unwrap_err().to_string();
        assert!(fault.starts_with("\"rumours\" is no target: "), "{fault}");
    }
}
