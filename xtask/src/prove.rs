//! `prove NAME`: the long searches for faults and the live measurements, kept as files of proof.
//!
//! Searches run programs of the packages they search, in a profile that is fast and still notices what a release would not
//! (overflow, debug assertions) and survives a panic to name its seed. Live ones run programs of `testbed` against a real
//! PostgreSQL and the release binary. What finds something, or misses its bound, fails and writes nothing.

mod casebook;
mod fuzz;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bench::commit;

/// Worlds 0 to 999 are played by every `make test`.
const FIRST_WORLD: u64 = 1000;

/// Live measurements: a name, the example of `testbed` that makes it, and what its number means. The example is given the
/// number, and its last line is an object of JSON: what was found.
const LIVE: [(&str, &str, &str); 9] = [
    ("checks", "checks", "COUNT"),
    ("leak", "leak", "SECONDS"),
    ("logins", "logins", "COUNT"),
    ("cancels", "cancels", "COUNT"),
    ("holds", "holds", "PAIRS"),
    ("causes", "causes", "RUNS"),
    ("guard", "guard", "RUNS"),
    ("reloads", "reloads", "COUNT"),
    ("transfer", "transfer", "RUNS"),
];

/// One search: what is run, and what its last line says.
struct Search {
    package: &'static str,
    example: &'static str,
    profile: &'static str,
    arguments: Vec<String>,
    read: fn(&str) -> Option<Value>,
}

pub(crate) fn run(arguments: &[String], root: &Path) -> Result<()> {
    let (search, file) = match arguments {
        [what, seconds, rest @ .., flag, file] if what == "fuzz" && rest.len() <= 1 && flag == "--json" => {
            return fuzz::run(seconds, rest.first().map(String::as_str), Path::new(file), root);
        }
        [what] if what == "casebook" => return casebook::run(None, root),
        [what, flag, file] if what == "casebook" && flag == "--json" => return casebook::run(Some(file), root),
        [what, number, flag, file] if flag == "--json" => (named(what, number)?, file),
        [what, number, load, flag, file] if what == "transfer" && flag == "--json" => {
            let mut search = named(what, number)?;
            search.arguments.extend([load.clone(), file.clone()]);
            (search, file)
        }
        _ => {
            let live: Vec<String> = LIVE.iter().map(|(name, _, number)| format!("|{name} {number}")).collect();
            bail!(
                "usage: cargo xtask prove soak STEPS|worlds COUNT|queue ROUNDS|theory PART|speed MILLIONS|fuzz SECONDS [TARGET]|casebook{} --json FILE",
                live.concat()
            )
        }
    };
    let path = PathBuf::from(file);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let proof = search.run(root)?;
    fs::write(&path, format!("{proof:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    // What was not as it should be is on file, and said.
    anyhow::ensure!(proof["found"]["good"] != Value::Bool(false), "not all of it holds: see {}", path.display());
    Ok(())
}

fn named(what: &str, number: &str) -> Result<Search> {
    let number: u64 = number.parse().with_context(|| format!("{what} needs a whole number, not \"{number}\""))?;
    match what {
        "soak" => Ok(Search {
            package: "poolwarden-pool",
            example: "soak",
            profile: "search",
            arguments: vec![number.to_string()],
            read: soaked,
        }),
        "worlds" => Ok(Search {
            package: "poolwarden-sim",
            example: "sweep",
            profile: "search",
            arguments: vec![FIRST_WORLD.to_string(), number.to_string()],
            read: played,
        }),
        "theory" | "speed" => Ok(Search {
            package: "poolwarden-sim",
            example: if what == "theory" { "theory" } else { "speed" },
            profile: "release",
            arguments: vec![number.to_string()],
            read: object,
        }),
        "queue" => Ok(Search {
            package: "poolwarden-pool",
            example: "hot",
            profile: "release",
            arguments: vec![number.to_string()],
            read: object,
        }),
        _ => match LIVE.iter().find(|(name, ..)| *name == what) {
            Some((_, example, _)) => Ok(Search {
                package: "poolwarden-testbed",
                example,
                profile: "release",
                arguments: vec![number.to_string()],
                read: object,
            }),
            None => {
                let live: Vec<&str> = LIVE.iter().map(|(name, ..)| *name).collect();
                bail!("nothing proves \"{what}\": soak, worlds, queue, theory, speed, {}", live.join(", "))
            }
        },
    }
}

/// A live measurement's last line: an object of its own.
fn object(said: &str) -> Option<Value> {
    serde_json::from_str(said).ok().filter(Value::is_object)
}

impl Search {
    fn run(&self, root: &Path) -> Result<Value> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(root).args(["run", "--quiet", "--locked", "--profile", self.profile]);
        command.args(["--package", self.package, "--example", self.example, "--"]).args(&self.arguments);
        let line = format!(
            "cargo run --profile {} -p {} --example {} -- {}",
            self.profile,
            self.package,
            self.example,
            self.arguments.join(" ")
        );
        eprintln!("prove: {line}");
        let last = last_line(&mut command)?;
        let found = (self.read)(&last).with_context(|| format!("{line} said: {last}"))?;
        Ok(json!({ "schema": 1, "commit": commit(root)?, "command": line, "found": found }))
    }
}

/// Runs it, shows what it says, and answers with the last of it.
fn last_line(command: &mut Command) -> Result<String> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let said = child.stdout.take().context("no pipe from cargo")?;
    let mut last = String::new();
    for line in BufReader::new(said).lines() {
        last = line?;
        eprintln!("{last}");
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("it has found something: {status}");
    }
    Ok(last)
}

/// `soak: 10000 steps, seed 7: core and model agree, ...`
fn soaked(said: &str) -> Option<Value> {
    let (steps, rest) = said.strip_prefix("soak: ")?.split_once(" steps, seed ")?;
    let (seed, _) = rest.split_once(": core and model agree")?;
    Some(json!({ "steps": number(steps)?, "seed": number(seed)? }))
}

/// `0 of 1000 failed; 123456 steps, Tally { answered: 77, ... }`
fn played(said: &str) -> Option<Value> {
    let (count, rest) = said.split_once(" failed; ")?;
    let (failed, worlds) = count.split_once(" of ")?;
    let (steps, met) = rest.split_once(" steps, ")?;
    let mut clients = json!({});
    for pair in met.strip_prefix("Tally { ")?.strip_suffix(" }")?.split(", ") {
        let (key, value) = pair.split_once(": ")?;
        clients[key] = json!(number(value)?);
    }
    let (worlds, failed, steps) = (number(worlds)?, number(failed)?, number(steps)?);
    Some(json!({ "worlds": worlds, "failed": failed, "steps": steps, "clients": clients }))
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_searches_say_last_is_read() {
        let soak =
            "soak: 500 steps, seed 9: core and model agree, invariants held after each, and a replay gave the same";
        assert_eq!(soaked(soak), Some(json!({ "steps": 500, "seed": 9 })));
        assert_eq!(soaked("soak: 500 steps, seed 9"), None, "what it says first is no proof");
        let sweep = "0 of 20 failed; 1234 steps, Tally { answered: 77, failed: 1 }";
        assert_eq!(
            played(sweep),
            Some(json!({ "worlds": 20, "failed": 0, "steps": 1234, "clients": { "answered": 77, "failed": 1 } }))
        );
        assert_eq!(played("seed 3: lost"), None);
    }

    #[test]
    fn a_search_that_finds_something_fails() {
        assert!(last_line(Command::new("sh").args(["-c", "echo fine; exit 1"])).is_err());
        assert_eq!(last_line(Command::new("sh").args(["-c", "echo one; echo two"])).unwrap(), "two");
    }

    #[test]
    fn faults_of_the_command_line_are_named() {
        let run = |line: &str| run(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), Path::new("."));
        for wrong in ["soak", "soak many --json x", "rumours 1 --json x", "worlds 5 --out x"] {
            assert!(run(wrong).is_err(), "{wrong}");
        }
    }
}
