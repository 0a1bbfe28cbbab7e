//! The walls of the house, checked: arrows, purity, sizes, headers, words, generated text.
//!
//! Each wall is a module with one `check` and a test that plants a violation and sees it fire.
//! `--write` brings generated text up to date and tightens the ratchet; it never loosens anything.

mod arrow;
mod casebook;
mod checklist;
mod docs;
mod driver;
mod example;
mod finding;
mod measured;
#[cfg(test)]
mod plant;
mod purity;
mod reference;
mod review;
mod size;
mod words;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use finding::{Finding, Tree};

/// Checks the tree at `root`, after bringing it up to date if `write` says so.
pub(crate) fn run(root: &Path, write: bool) -> Result<()> {
    if write {
        update(&Tree::read(root)?)?;
    }
    let findings = findings(&Tree::read(root)?)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("tidy: 1 finding"),
        n => bail!("tidy: {n} findings"),
    }
}

fn findings(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = arrow::check(tree);
    findings.extend(arrow::check_reasons(tree));
    findings.extend(purity::check(tree));
    findings.extend(size::check(tree)?);
    findings.extend(words::check(tree));
    findings.extend(docs::check(tree));
    findings.extend(example::check(tree));
    findings.extend(review::check(tree));
    findings.sort();
    findings.dedup();
    Ok(findings)
}

fn update(tree: &Tree) -> Result<()> {
    for file in tree.ending(".md") {
        let text = docs::filled(tree, &file.text).with_context(|| file.path.clone())?;
        if text != file.text {
            fs::write(tree.root.join(&file.path), text)?;
        }
    }
    if let Some(text) = size::tightened(tree)? {
        fs::write(tree.root.join(size::RATCHET), text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let findings = findings(&Tree::read(&root).unwrap()).unwrap();
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }
}
