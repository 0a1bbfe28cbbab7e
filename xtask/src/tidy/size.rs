//! Sizes of files and functions, and the ratchet: nothing crosses a limit, nothing past one grows.
//!
//! `ratchet.toml` lists what is past a limit today, with its size. Code that only tests compile
//! is left out of a file's size when it stands inside the file, and is measured like any other
//! when it has a file of its own.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::finding::{Finding, Tree};
use crate::source::Source;

/// A reader holds one file in mind; past this it is two.
const FILE_LINES: usize = 700;
/// One screen.
const FUNCTION_LINES: usize = 70;
pub(crate) const RATCHET: &str = "xtask/ratchet.toml";

#[derive(Debug, Default, PartialEq, Eq)]
struct Sizes {
    files: BTreeMap<String, usize>,
    functions: BTreeMap<String, usize>,
}

pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let (ratchet, catalogues) = read(tree)?;
    let mut findings = Vec::new();
    let mut now = Sizes::default();
    for file in tree.ending(".rs") {
        let source = Source::read(&file.text);
        let lines = own_lines(&source);
        if lines > FILE_LINES && !catalogues.contains_key(&file.path) {
            now.files.insert(file.path.clone(), lines);
        }
        for function in source.functions().into_iter().filter(|function| function.lines > FUNCTION_LINES) {
            let key = format!("{}::{}", file.path, function.name);
            let largest = now.functions.entry(key).or_default();
            *largest = function.lines.max(*largest);
        }
    }
    compare(&now.files, &ratchet.files, FILE_LINES, &mut findings);
    compare(&now.functions, &ratchet.functions, FUNCTION_LINES, &mut findings);
    Ok(findings)
}

/// Inline tests do not count; a file that is all test counts whole.
fn own_lines(source: &Source) -> usize {
    if source.test_lines >= source.lines { source.lines } else { source.lines - source.test_lines }
}

fn compare(
    now: &BTreeMap<String, usize>,
    ratchet: &BTreeMap<String, usize>,
    limit: usize,
    findings: &mut Vec<Finding>,
) {
    for (name, lines) in now {
        let message = match ratchet.get(name) {
            None => format!("{lines} lines, limit {limit}: split it"),
            Some(known) if lines > known => {
                format!("grew from {known} to {lines} lines, past the limit of {limit}: split it")
            }
            Some(_) => continue,
        };
        findings.push(Finding::new(name, 0, message));
    }
    for (name, known) in ratchet {
        if now.get(name).is_none_or(|lines| lines < known) {
            findings.push(Finding::new(
                RATCHET,
                0,
                format!("{name} is smaller than its {known} lines: run `cargo xtask tidy --write`"),
            ));
        }
    }
}

fn read(tree: &Tree) -> Result<(Sizes, BTreeMap<String, String>)> {
    let Some(file) = tree.file(RATCHET) else { return Ok(Default::default()) };
    let table: Table = file.text.parse().context(RATCHET)?;
    let entries = |key: &str| table.get(key).and_then(Value::as_table).cloned().unwrap_or_default();
    let sizes = |key: &str| -> Result<BTreeMap<String, usize>> {
        entries(key)
            .into_iter()
            .map(|(name, value)| {
                let lines = value.as_integer().and_then(|lines| usize::try_from(lines).ok());
                Ok((name.clone(), lines.with_context(|| format!("{RATCHET}: {name} is not a number of lines"))?))
            })
            .collect()
    };
    let catalogues = entries("catalogues")
        .into_iter()
        .map(|(name, reason)| {
            let reason = reason.as_str().filter(|reason| !reason.is_empty());
            Ok((name.clone(), reason.with_context(|| format!("{RATCHET}: catalogue {name} has no reason"))?.to_owned()))
        })
        .collect::<Result<_>>()?;
    Ok((Sizes { files: sizes("files")?, functions: sizes("functions")? }, catalogues))
}

/// The ratchet with every entry at its present size or gone; it never gains one, never rises.
pub(crate) fn tightened(tree: &Tree) -> Result<Option<String>> {
    let Some(file) = tree.file(RATCHET) else { return Ok(None) };
    let mut table: Table = file.text.parse().context(RATCHET)?;
    let mut sizes = BTreeMap::new();
    for file in tree.ending(".rs") {
        let source = Source::read(&file.text);
        sizes.insert(file.path.clone(), own_lines(&source));
        for function in source.functions() {
            let largest = sizes.entry(format!("{}::{}", file.path, function.name)).or_default();
            *largest = function.lines.max(*largest);
        }
    }
    for (key, limit) in [("files", FILE_LINES), ("functions", FUNCTION_LINES)] {
        let Some(entries) = table.get_mut(key).and_then(Value::as_table_mut) else { continue };
        entries.retain(|name, _| sizes.get(name).is_some_and(|lines| *lines > limit));
        for (name, value) in entries.iter_mut() {
            let lines = i64::try_from(sizes[name]).context("a file of impossible length")?;
            *value = Value::Integer(lines.min(value.as_integer().unwrap_or(i64::MAX)));
        }
    }
    let header: String =
        file.text.lines().take_while(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    Ok(Some(format!("{header}\n{table}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::plant::Plant;

    fn messages(plant: &Plant) -> Vec<String> {
        check(&plant.tree()).unwrap().iter().map(ToString::to_string).collect()
    }

    fn function(lines: usize) -> String {
        format!("//! x\nfn long() {{\n{}}}\n", "    step();\n".repeat(lines - 2))
    }

    #[test]
    fn a_file_past_the_limit_fires_and_its_tests_do_not_count() {
        let plant = Plant::new();
        plant.write("crates/a/src/lib.rs", &"// line\n".repeat(FILE_LINES + 1));
        let tested =
            format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "// line\n".repeat(FILE_LINES), "// line\n".repeat(50));
        plant.write("crates/b/src/lib.rs", &tested);
        assert_eq!(messages(&plant), ["crates/a/src/lib.rs: 701 lines, limit 700: split it"]);
    }

    #[test]
    fn a_function_past_the_limit_fires() {
        let plant = Plant::new();
        plant.write("crates/a/src/lib.rs", &function(FUNCTION_LINES + 1));
        plant.write("crates/b/src/lib.rs", &function(FUNCTION_LINES));
        assert_eq!(messages(&plant), ["crates/a/src/lib.rs::long: 71 lines, limit 70: split it"]);
    }

    #[test]
    fn what_the_ratchet_knows_may_stay_but_not_grow() {
        let plant = Plant::new();
        plant.write(RATCHET, "[functions]\n\"crates/a/src/lib.rs::long\" = 80\n");
        plant.write("crates/a/src/lib.rs", &function(80));
        assert!(messages(&plant).is_empty());
        plant.write("crates/a/src/lib.rs", &function(81));
        assert_eq!(
            messages(&plant),
            ["crates/a/src/lib.rs::long: grew from 80 to 81 lines, past the limit of 70: split it"]
        );
    }

    #[test]
    fn a_loose_ratchet_fires_until_it_is_tightened() {
        let plant = Plant::new();
        plant.write(
            RATCHET,
            "# why\n[functions]\n\"crates/a/src/lib.rs::gone\" = 90\n\"crates/a/src/lib.rs::long\" = 80\n",
        );
        plant.write("crates/a/src/lib.rs", &function(75));
        assert_eq!(messages(&plant).len(), 2);
        plant.write(RATCHET, &tightened(&plant.tree()).unwrap().unwrap());
        assert!(messages(&plant).is_empty());
        assert!(plant.read(RATCHET).starts_with("# why\n") && plant.read(RATCHET).contains("= 75"));
    }

    #[test]
    fn a_catalogue_is_excepted_by_name_and_with_a_reason() {
        let plant = Plant::new();
        plant.write("crates/a/src/lib.rs", &"// line\n".repeat(FILE_LINES + 1));
        plant.write(RATCHET, "[catalogues]\n\"crates/a/src/lib.rs\" = \"one entry a metric\"\n");
        assert!(messages(&plant).is_empty());
        plant.write(RATCHET, "[catalogues]\n\"crates/a/src/lib.rs\" = \"\"\n");
        assert!(check(&plant.tree()).is_err());
    }
}
