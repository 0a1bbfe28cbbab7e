//! `mutants`: does a test fail when a rule of the review is broken?
//!
//! In a copy of the repository each rule is silenced in turn, and each number of a rule's file is nudged up and down;
//! the tests of `config` must fail each time. What survives is told with its place. A mutant that does not compile is no mutant.

use std::fs;
use std::ops::Range;
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
        files.retain(|file| file.file_name().is_some_and(|name| name != "tests.rs"));
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

/// Each number of the code a tenth more and a tenth less: constants and what stands in a formula. Left alone are tests, strings,
/// comments, the lengths of arrays, and 0 and 1 outside of constants, which count and index.
fn nudged(path: &Path, text: &str) -> Vec<Mutant> {
    let code = text.find("#[cfg(test)]").map_or(text, |tests| &text[..tests]);
    let mut mutants = Vec::new();
    for Range { start, end } in numbers(code) {
        let number = &code[start..end];
        let head = &code[code[..start].rfind('\n').map_or(0, |at| at + 1)..start];
        let name = head
            .trim_start()
            .trim_start_matches("pub(super) ")
            .strip_prefix("const ")
            .and_then(|rest| rest.split(':').next());
        if name.is_none() && matches!(number, "0" | "1" | "0.0" | "1.0") {
            continue;
        }
        for (share, word) in [(NUDGE, "more"), (-NUDGE, "less")] {
            let Some(new) = moved(number, share) else { continue };
            let what = format!("{} {word}: {new} instead of {number}", name.unwrap_or("a number"));
            let line = code[..start].matches('\n').count() + 1;
            mutants.push(Mutant {
                file: path.to_owned(),
                line,
                what,
                text: format!("{}{new}{}", &text[..start], &text[end..]),
            });
        }
    }
    mutants
}

/// Where numbers stand in code; not those of strings, comments, names, fields and lengths (`[T; 3]`).
fn numbers(code: &str) -> Vec<Range<usize>> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &code[at..];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if bytes[at] == b'"' {
            at += string(&bytes[at..]);
        } else if rest.starts_with("'\"'") {
            at += 3;
        } else if bytes[at].is_ascii_alphabetic() || bytes[at] == b'_' {
            at += length(&bytes[at..], |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        } else if bytes[at].is_ascii_digit() {
            let field = at > 0 && bytes[at - 1] == b'.';
            let of_array = code[..at].ends_with("; ");
            let mut long = length(&bytes[at..], |byte| byte.is_ascii_digit() || byte == b'_');
            if rest[long..].starts_with('.') && rest[long + 1..].starts_with(|next: char| next.is_ascii_digit()) {
                long += 1 + length(&bytes[at + long + 1..], |byte| byte.is_ascii_digit());
            }
            if !(field || of_array) {
                found.push(at..at + long);
            }
            // behind it may stand its type, or an exponent: no number of its own
            at += long + length(&bytes[at + long..], |byte| byte.is_ascii_alphanumeric());
        } else {
            at += 1;
        }
    }
    found
}

fn length(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| belongs(**byte)).count()
}

/// Bytes of the string literal that `bytes` starts with, its quotes included.
fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn moved(number: &str, share: f64) -> Option<String> {
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
    // the quick ones first: most mutants do not live longer
    for some in [["--test", "review"], ["--lib", "review::rule"]] {
        let done = run(&some)?;
        if !done.status.success() {
            return Ok(done);
        }
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
    fn numbers_move_both_ways_and_those_of_tests_texts_and_lengths_stay() {
        let text = "const A: f64 = 1.25;\nconst B: u64 = 1; // 7 of them\nconst C: Duration = Duration::from_secs(30);\nconst D: [&str; 3] = \
                    [\"x \\\" 4\"];\nfn f(of: &(u64, f64)) -> f64 { g4(of.0) + 0.0 + of.1 / 1_000f64 }\n#[cfg(test)]\nmod tests {\n    const E: u64 = 2;\n}\n";
        let all: Vec<String> = nudged(Path::new("a.rs"), text).into_iter().map(|mutant| mutant.what).collect();
        assert_eq!(
            all,
            [
                "A more: 1.375 instead of 1.25",
                "A less: 1.125 instead of 1.25",
                "B more: 2 instead of 1",
                "B less: 0 instead of 1",
                "C more: 33 instead of 30",
                "C less: 27 instead of 30",
                "a number more: 1100 instead of 1_000",
                "a number less: 900 instead of 1_000",
            ]
        );
        assert_eq!(moved("0", -NUDGE), None);
    }
}
