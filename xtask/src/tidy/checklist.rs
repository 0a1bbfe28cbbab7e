//! What goes wrong with poolers, and the tests that show it does not here: read from the testbed's list, and checked to exist.
//!
//! A row without a test and without a conversation is a fault; so is a test that nobody has written.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::finding::Tree;

const LIST: &str = "crates/testbed/checklist.toml";
const TESTS: &str = "crates/testbed/tests";
const CORPUS: &str = "crates/testbed/corpus";
const MATRIX: &str = "proof/matrix.json";

/// A row per item: what it is, the conversations that cover it, and the tests by name.
pub(crate) fn table(tree: &Tree) -> Result<String> {
    let list: toml::Table = tree.file(LIST).with_context(|| format!("there is no {LIST}"))?.text.parse()?;
    let items = list.get("item").and_then(toml::Value::as_array).context("the list has no items")?;
    let covers = covered(tree)?;
    let mut text = "| | what must not happen otherwise | conversations | tests |\n|---|---|---|---|\n".to_owned();
    for item in items {
        let word =
            |key: &str| item.get(key).and_then(toml::Value::as_str).with_context(|| format!("an item without {key}"));
        let (id, what) = (word("id")?, word("what")?);
        let tests = item.get("tests").and_then(toml::Value::as_array).with_context(|| format!("{id} has no tests"))?;
        let tests = tests.iter().map(|test| test.as_str().context("a test is a name")).collect::<Result<Vec<_>>>()?;
        for test in &tests {
            exists(tree, test).with_context(|| format!("{LIST}: {id}"))?;
        }
        let conversations = covers.get(id).copied().unwrap_or(0);
        if tests.is_empty() && conversations == 0 {
            bail!("{LIST}: {id} is shown by nothing");
        }
        let tests = tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join("<br>");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {id} | {what} | {conversations} | {tests} |");
    }
    Ok(text)
}

/// A row per release of PostgreSQL, as the last `prove matrix` found it.
pub(crate) fn matrix(tree: &Tree) -> Result<String> {
    let Some(file) = tree.file(MATRIX) else {
        return Ok("No run of the matrix is on file: `cargo xtask prove matrix --json proof/matrix.json`.\n".to_owned());
    };
    let proof: Value = serde_json::from_str(&file.text)?;
    let releases = proof["releases"].as_array().context("no releases")?;
    let beds = |release: &Value| release["beds"].as_array().cloned().unwrap_or_default();
    let first = beds(releases.first().context("no release")?);
    let titles =
        first.iter().map(|bed| format!("{} mode, size {} | ", bed["mode"].as_str().unwrap_or_default(), bed["size"]));
    let mut text = format!("| PostgreSQL | {}made up | live tests |\n", titles.collect::<String>());
    let _ = writeln!(text, "|---|{}---|---|", "---|".repeat(first.len()));
    for release in releases {
        let _ = write!(text, "| {} | ", release["postgres"].as_str().unwrap_or_default());
        for bed in beds(release) {
            let _ = write!(text, "{} alike, {} known, {} differ | ", bed["alike"], bed["known"], bed["differ"]);
        }
        let sum = |key: &str| {
            let runs = release["made_up"].as_array().cloned().unwrap_or_default();
            runs.iter().filter_map(|run| run[key].as_u64()).sum::<u64>()
        };
        let _ = writeln!(text, "{} tried, {} differ | {} passed |", sum("seeds"), sum("differ"), release["tests"]);
    }
    Ok(text)
}

/// `FILE::FUNCTION` is a `#[test]` of the testbed.
fn exists(tree: &Tree, test: &str) -> Result<()> {
    let (file, function) = test.split_once("::").with_context(|| format!("{test} is not FILE::FUNCTION"))?;
    let path = format!("{TESTS}/{file}.rs");
    let text = &tree.file(&path).with_context(|| format!("{test}: there is no {path}"))?.text;
    let found = text.split("#[test]").skip(1).any(|body| {
        let name = body.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name);
        name == Some(function)
    });
    if found { Ok(()) } else { bail!("{path} has no test {function}") }
}

/// How many conversations cover each item.
fn covered(tree: &Tree) -> Result<BTreeMap<String, usize>> {
    let mut covers = BTreeMap::new();
    let folder = tree.root.join(CORPUS);
    for group in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let group = group?.path();
        if !group.is_dir() {
            continue;
        }
        for file in fs::read_dir(&group)? {
            let path = file?.path();
            if path.extension().is_none_or(|ending| ending != "talk") {
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let items = text.lines().filter_map(|line| line.strip_prefix("covers ")).flat_map(str::split_whitespace);
            items.for_each(|item| *covers.entry(item.to_owned()).or_insert(0) += 1);
        }
    }
    Ok(covers)
}

#[cfg(test)]
mod tests {
    use super::super::plant::Plant;
    use super::*;

    #[test]
    fn a_test_that_nobody_wrote_is_named() {
        let plant = Plant::new();
        plant.write("crates/testbed/tests/a.rs", "#[test]\nfn it_works() {}\nfn no_test() {}\n");
        let tree = plant.tree();
        assert!(exists(&tree, "a::it_works").is_ok());
        for wrong in ["a::no_test", "a::it_work", "b::it_works", "it_works"] {
            assert!(exists(&tree, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_table_of_releases_is_read_from_the_proof() {
        let proof = r#"{"releases": [{"postgres": "18.4", "tests": 7,
            "beds": [{"mode": "session", "size": 2, "alike": 5, "known": 1, "differ": 0}],
            "made_up": [{"seeds": 10, "differ": 0}, {"seeds": 5, "differ": 0}]}]}"#;
        let plant = Plant::new();
        plant.write("proof/matrix.json", proof);
        let text = matrix(&plant.tree()).expect("well formed");
        assert!(text.contains("| 18.4 | 5 alike, 1 known, 0 differ | 15 tried, 0 differ | 7 passed |"), "{text}");
    }
}
