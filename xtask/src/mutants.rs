//! `mutants`: does a test fail when a rule of the review is broken?
//!
//! In a copy of the repository each rule is silenced in turn, and each numeric constant of a rule's file is nudged up and down;
//! the tests of `config` must fail each time. What survives is told with its place. A mutant that does not compile is no mutant.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bench::commit;

/// Where rules stand.
const RULES: &str = "crates/config/src/review/rule";
/// How much a constant is nudged, in parts of itself; whole numbers by one at least.
const NUDGE: f64 = 0.1;

/// One broken version of one file.
#[derive(Debug)]
struct Mutant {
    file: PathBuf,
    line: usize,
    what: String,
    text: String,
}

/// How a mutant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Survived,
    Unbuildable,
}

pub(crate) fn run(arguments: &[String], root: &Path) -> Result<()> {
    let (only, file) = match arguments {
        [] => (None, None),
        [flag, file] if flag == "--json" => (None, Some(file)),
        [only] => (Some(only.as_str()), None),
        _ => bail!("usage: cargo xtask mutants [CODE | --json FILE]"),
    };
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("mutants");
    let tree = copy(root, &folder)?;
    let clean = test(&tree, &folder)?;
    if !clean.status.success() {
        bail!("the tests fail without any mutant:\n{}", String::from_utf8_lossy(&clean.stdout));
    }
    let mut mutants = Vec::new();
    for path in rule_files(&tree.join(RULES))? {
        let text = fs::read_to_string(&path)?;
        mutants.extend(silenced(&path, &text));
        mutants.extend(nudged(&path, &text));
    }
    let wanted = |of: &Mutant| {
        only.is_none_or(|only| of.file.ends_with(format!("{}.rs", only.to_lowercase().replace('-', "_"))))
    };
    mutants.retain(wanted);
    if mutants.is_empty() {
        bail!("there is nothing to break in {RULES}");
    }
    let mut ends = Vec::new();
    for mutant in &mutants {
        let end = broken(mutant, &tree, &folder)?;
        let place = mutant.file.strip_prefix(&tree).unwrap_or(&mutant.file).display().to_string();
        eprintln!("{:<12} {place}:{}: {}", format!("{end:?}").to_lowercase(), mutant.line, mutant.what);
        ends.push((end, json!({ "place": format!("{place}:{}", mutant.line), "what": mutant.what })));
    }
    let of = |wanted: End| ends.iter().filter(|(end, _)| *end == wanted).map(|(_, what)| what).collect::<Vec<&Value>>();
    let (survived, unbuildable) = (of(End::Survived), of(End::Unbuildable));
    if !(survived.is_empty() && unbuildable.is_empty()) {
        bail!("{} of {} mutants survived, {} do not build", survived.len(), ends.len(), unbuildable.len());
    }
    eprintln!("mutants: {} killed, none survived", ends.len());
    let Some(file) = file else { return Ok(()) };
    let rules = mutants.iter().filter(|of| of.what == SILENCED).count();
    let found = json!({ "rules_silenced": rules, "constants_nudged": mutants.len() - rules, "killed": ends.len(), "survived": 0 });
    let proof = json!({ "schema": 1, "commit": commit(root)?, "command": "make mutants", "found": found });
    fs::write(file, format!("{proof:#}\n")).with_context(|| format!("cannot write {file}"))
}

/// What git knows and what is new, copied so that the original is never broken; files that are equal keep their times.
fn copy(root: &Path, folder: &Path) -> Result<PathBuf> {
    let tree = folder.join("tree");
    let list = Command::new("git").current_dir(root).args(["ls-files", "-co", "--exclude-standard"]).output()?;
    if !list.status.success() {
        bail!("git ls-files failed");
    }
    for name in String::from_utf8(list.stdout)?.lines() {
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(new) = fs::read(&from) else { continue }; // deleted, and not yet committed
        if fs::read(&to).is_ok_and(|old| old == new) {
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&to, new).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(tree)
}

fn rule_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for family in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let family = family?.path();
        if !family.is_dir() {
            continue;
        }
        for file in fs::read_dir(&family)? {
            files.push(file?.path());
        }
    }
    files.sort();
    Ok(files)
}

const SILENCED: &str = "the rule is silent";

/// The rule finds nothing any more.
fn silenced(path: &Path, text: &str) -> Option<Mutant> {
    let (at, line) = text.lines().enumerate().find(|(_, line)| matches!(line.trim(), "check," | "check: check,"))?;
    let silent = line.replace(line.trim(), "check: |_, _| {},");
    let whole = text.lines().enumerate().map(|(n, line)| if n == at { silent.as_str() } else { line });
    // the function stays, unused
    let text = format!("#![allow(dead_code, unused)]\n{}\n", whole.collect::<Vec<_>>().join("\n"));
    Some(Mutant { file: path.to_owned(), line: at + 1, what: SILENCED.to_owned(), text })
}

/// `const NAME: TYPE = NUMBER;`, a tenth more and a tenth less; those of the tests are left alone.
fn nudged(path: &Path, text: &str) -> Vec<Mutant> {
    let code = text.find("#[cfg(test)]").map_or(text, |tests| &text[..tests]);
    let mut mutants = Vec::new();
    for (at, line) in code.lines().enumerate() {
        let Some((head, number)) = constant(line) else { continue };
        for (sign, word) in [(1.0, "more"), (-1.0, "less")] {
            let Some(new) = moved(number, sign * NUDGE) else { continue };
            let mutated = line.replacen(&format!("= {number}"), &format!("= {new}"), 1);
            let mut all: Vec<&str> = text.lines().collect();
            all[at] = &mutated;
            let what = format!("{head} {word}: {new} instead of {number}");
            mutants.push(Mutant { file: path.to_owned(), line: at + 1, what, text: format!("{}\n", all.join("\n")) });
        }
    }
    mutants
}

/// The name and the number of a constant of one number.
fn constant(line: &str) -> Option<(&str, &str)> {
    let rest = line.trim_start().trim_start_matches("pub(super) ").strip_prefix("const ")?;
    let (name, rest) = rest.split_once(':')?;
    let (_, value) = rest.split_once("= ")?;
    let value = value.split(';').next()?;
    let inner = value.split(['(', ')']).nth(1).filter(|_| value.starts_with("Duration::from_")).unwrap_or(value);
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '_' | '.');
    (!inner.is_empty() && inner.chars().all(numeric)).then_some((name.trim(), value))
}

fn moved(number: &str, share: f64) -> Option<String> {
    if let Some(inside) = number.strip_prefix("Duration::from_") {
        let (unit, rest) = inside.split_once('(')?;
        return Some(format!("Duration::from_{unit}({})", moved(rest.strip_suffix(')')?, share)?));
    }
    let plain = number.replace('_', "");
    if plain.contains('.') {
        let value: f64 = plain.parse().ok()?;
        return Some(format!("{:?}", value * (1.0 + share)));
    }
    let value: i128 = plain.parse().ok()?;
    let step = ((value as f64 * share.abs()).round() as i128).max(1);
    let new = if share > 0.0 { value + step } else { value - step };
    (new >= 0).then(|| new.to_string())
}

fn broken(mutant: &Mutant, tree: &Path, folder: &Path) -> Result<End> {
    let kept = fs::read(&mutant.file)?;
    fs::write(&mutant.file, &mutant.text)?;
    let out = test(tree, folder);
    fs::write(&mutant.file, kept)?;
    let out = out?;
    if out.status.success() {
        return Ok(End::Survived);
    }
    let built = !String::from_utf8_lossy(&out.stderr).contains("could not compile");
    Ok(if built { End::Killed } else { End::Unbuildable })
}

/// The fixtures; where they notice nothing, the tests beside the rules.
fn test(tree: &Path, folder: &Path) -> Result<Output> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = |what: &[&str]| {
        let mut command = Command::new(&cargo);
        command.current_dir(tree).env("CARGO_TARGET_DIR", folder.join("target"));
        command.args(["test", "--quiet", "--locked", "--package", "poolwarden-config"]).args(what);
        command.output().context("cannot start cargo")
    };
    let fixtures = run(&["--test", "review"])?;
    if !fixtures.status.success() {
        return Ok(fixtures);
    }
    run(&["--lib", "review::"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_silenced_where_it_names_its_check() {
        let text = "pub(super) const RULE: Rule = Rule {\n    code: \"A\",\n    check,\n};\n";
        let mutant = silenced(Path::new("a.rs"), text).unwrap();
        assert!(mutant.text.contains("    check: |_, _| {},\n") && mutant.line == 3, "{}", mutant.text);
    }

    #[test]
    fn constants_move_both_ways_and_those_of_tests_stay() {
        let text = "const A: f64 = 1.25;\nconst B: u64 = 3;\nconst C: Duration = Duration::from_secs(30);\nconst D: &str = \"x\";\n\
                    #[cfg(test)]\nmod tests {\n    const E: u64 = 1;\n}\n";
        let all: Vec<String> = nudged(Path::new("a.rs"), text).into_iter().map(|mutant| mutant.what).collect();
        assert_eq!(
            all,
            [
                "A more: 1.375 instead of 1.25",
                "A less: 1.125 instead of 1.25",
                "B more: 4 instead of 3",
                "B less: 2 instead of 3",
                "C more: Duration::from_secs(33) instead of Duration::from_secs(30)",
                "C less: Duration::from_secs(27) instead of Duration::from_secs(30)",
            ]
        );
        assert!(moved("0", -NUDGE).is_none());
    }
}
