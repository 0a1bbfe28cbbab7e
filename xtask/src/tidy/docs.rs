//! Text in documents that has one source elsewhere: reference pages, the table of arrows, and measured numbers.
//!
//! `<!-- generated:NAME -->` .. `<!-- /generated -->` holds a block printed from the code.
//! `<!-- proof:NAME.path:DECIMALS -->value<!-- /proof -->` holds one number of `proof/NAME.json`;
//! A mark right behind a backtick is quoted, and stays as it is.
//! `path` is made of keys and indices joined by points, `:DECIMALS` may be left out.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::finding::{Finding, Tree};
use super::reference;

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending(".md") {
        match filled(tree, &file.text) {
            Ok(text) if text == file.text => {}
            Ok(text) => {
                let line = file.text.lines().zip(text.lines()).position(|(old, new)| old != new).unwrap_or(0) + 1;
                findings.push(Finding::new(
                    &file.path,
                    line,
                    "differs from its source: run `cargo xtask tidy --write`",
                ));
            }
            Err(fault) => findings.push(Finding::new(&file.path, 0, format!("{fault:#}"))),
        }
    }
    for (name, path) in reference::BLOCKS {
        let mark = mark(name);
        if !tree.file(path).is_some_and(|file| file.text.contains(&mark)) {
            findings.push(Finding::new(path, 0, format!("does not print what it is for ({mark})")));
        }
    }
    findings
}

fn mark(name: &str) -> String {
    format!("<!-- generated:{name} -->")
}

/// The document with every generated part as its source says now.
pub(crate) fn filled(tree: &Tree, text: &str) -> Result<String> {
    let text = replaced(text, "<!-- generated:", "<!-- /generated -->", |name| reference::block(tree, name))?;
    replaced(&text, "<!-- proof:", "<!-- /proof -->", |name| proven(tree, name))
}

/// Every `OPENING name -->old CLOSING` with `new(name)` for `old`.
fn replaced(text: &str, opening: &str, closing: &str, new: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(opening) {
        let (before, span) = rest.split_at(at);
        if before.ends_with('`') {
            result.push_str(before);
            result.push_str(opening);
            rest = &span[opening.len()..];
            continue;
        }
        let (name, body) = span[opening.len()..].split_once("-->").with_context(|| format!("unclosed {opening}"))?;
        let name = name.trim();
        let (_, after) = body.split_once(closing).with_context(|| format!("{opening}{name} --> without {closing}"))?;
        result.push_str(&format!("{before}{opening}{name} -->{}{closing}", new(name)?));
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

fn proven(tree: &Tree, name: &str) -> Result<String> {
    let (path, decimals) = match name.rsplit_once(':') {
        Some((path, decimals)) => {
            (path, Some(decimals.parse::<usize>().with_context(|| format!("decimals of {name}"))?))
        }
        None => (name, None),
    };
    let mut keys = path.split('.');
    let proof = format!("proof/{}.json", keys.next().unwrap_or(""));
    let file = tree.file(&proof).with_context(|| format!("{name}: there is no {proof}"))?;
    let whole: Value = serde_json::from_str(&file.text).with_context(|| proof.clone())?;
    let mut value = &whole;
    for key in keys {
        let next = key.parse::<usize>().ok().and_then(|index| value.get(index)).or_else(|| value.get(key));
        value = next.with_context(|| format!("{proof} has no {path}"))?;
    }
    match (value, decimals) {
        (Value::Number(number), Some(decimals)) => {
            Ok(format!("{:.decimals$}", number.as_f64().with_context(|| format!("{name} is no number"))?))
        }
        (Value::Number(number), None) => Ok(number.to_string()),
        (Value::String(text), None) => Ok(text.clone()),
        (Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::String(_), _) => {
            bail!("{name} is neither a number nor a text in {proof}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::tidy::arrow::ARCHITECTURE;
    use crate::tidy::plant::Plant;

    fn plant() -> Plant {
        let plant = Plant::new();
        plant.write("proof/bench.json", r#"{"cells": [{"ratio_to_peer": 0.8249, "tps": 31000}], "commit": "abc"}"#);
        copy_drivers(&plant);
        plant.write("proof/why.txt", "all is calm\n");
        plant.write("proof/top.txt", "poolwarden top\n");
        let item = "id = \"P1\"\nwhat = \"x\"\ntests = [\"drivers::asyncpg_works_in_transaction_mode\"]\n";
        plant.write("crates/testbed/checklist.toml", &format!("[[item]]\n{item}"));
        plant.write("crates/testbed/corpus/x/y.talk", "covers P1\n");
        let tree = plant.tree();
        let mut pages: BTreeMap<&str, String> = BTreeMap::new();
        for (name, path) in reference::BLOCKS {
            let text = reference::block(&tree, name).unwrap();
            let page = pages.entry(path).or_insert_with(|| "# A\n".to_owned());
            page.push_str(&format!("{}{text}<!-- /generated -->\n", mark(name)));
        }
        for (path, page) in pages {
            plant.write(path, &page);
        }
        plant
    }

    /// The page of drivers is made from the live tests.
    fn copy_drivers(plant: &Plant) {
        let tests = "crates/testbed/tests";
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(tests);
        for file in ["drivers.rs", "psql.rs", "sqlx.rs", "tokio_postgres.rs"] {
            plant.write(&format!("{tests}/{file}"), &fs::read_to_string(root.join(file)).unwrap());
        }
    }

    #[test]
    fn a_stale_number_fires_and_writing_heals_it() {
        let plant = plant();
        plant.write("README.md", "ratio <!-- proof:bench.cells.0.ratio_to_peer:2 -->0.70<!-- /proof -->, <!-- proof:bench.commit -->abc<!-- /proof -->\n");
        assert_eq!(check(&plant.tree()).len(), 1);
        let tree = plant.tree();
        let text = filled(&tree, &tree.file("README.md").unwrap().text).unwrap();
        assert!(text.contains("-->0.82<!--"), "{text}");
        plant.write("README.md", &text);
        assert!(check(&plant.tree()).is_empty());
    }

    #[test]
    fn a_number_without_its_proof_fires() {
        let plant = plant();
        plant.write("README.md", "<!-- proof:other.x -->1<!-- /proof -->\n");
        assert!(check(&plant.tree())[0].message.contains("there is no proof/other.json"));
        plant.write("README.md", "<!-- proof:bench.cells.7.tps -->1<!-- /proof -->\n");
        assert!(check(&plant.tree())[0].message.contains("has no bench.cells.7.tps"));
        plant.write("README.md", "<!-- proof:bench.commit -->abc\n");
        assert!(check(&plant.tree())[0].message.contains("without"));
    }

    #[test]
    fn a_quoted_mark_is_text() {
        let plant = plant();
        plant.write("README.md", "write `<!-- proof:other.x -->` and `<!-- /proof -->`\n");
        assert!(check(&plant.tree()).is_empty());
    }

    #[test]
    fn an_edited_table_fires_and_so_does_a_missing_one() {
        let plant = plant();
        plant.write(ARCHITECTURE, &format!("{}\n| pool | anything |\n<!-- /generated -->\n", mark("arrows")));
        assert_eq!(check(&plant.tree()).len(), 1);
        plant.write(ARCHITECTURE, "# no table\n");
        assert!(check(&plant.tree())[0].message.contains("does not print"));
    }
}
