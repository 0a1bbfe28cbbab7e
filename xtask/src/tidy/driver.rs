//! Which driver is tested for what: read from the names of the live tests, so that the page claims nothing untested.
//!
//! A driver of our own language has a file of tests; the others have a test in `drivers.rs` that runs a script with a
//! list of checks, and fails if the script leaves one out.

use std::fmt::Write;

use anyhow::{Context, Result, bail};

use super::finding::Tree;

const FOLDER: &str = "crates/testbed/tests";
/// The file whose tests run the scripts.
const SCRIPTS: &str = "crates/testbed/tests/drivers.rs";

/// What a driver can be tested for, and how a test's or a check's name says it.
const BEHAVIOURS: [(&str, &[&str]); 10] = [
    ("queries", &["simple", "queries"]),
    ("parameters", &["parameters"]),
    ("prepared", &["prepared", "with_parameters"]),
    ("rollback, errors", &["rollback", "rolls_back", "error"]),
    ("COPY", &["copy", "copies"]),
    ("cancel", &["cancel"]),
    ("8 MiB row", &["large_row"]),
    ("100 at once", &["hundred"]),
    ("pipeline", &["pipeline"]),
    ("TLS, both modes", &["over_tls_in_both_modes"]),
];

enum Tests {
    /// All tests of this file.
    File(&'static str),
    /// The test of [`SCRIPTS`] whose name begins so.
    Script(&'static str),
}

const DRIVERS: [(&str, &str, Tests); 9] = [
    ("psql", "C (libpq)", Tests::File("psql")),
    ("psycopg 3", "Python", Tests::Script("psycopg_")),
    ("asyncpg", "Python", Tests::Script("asyncpg_")),
    ("SQLAlchemy", "Python", Tests::Script("sqlalchemy_")),
    ("node-postgres", "JavaScript", Tests::Script("node_postgres_")),
    ("postgres.js", "JavaScript", Tests::Script("postgres_js_")),
    ("pgjdbc", "Java", Tests::Script("pgjdbc_")),
    ("tokio-postgres", "Rust", Tests::File("tokio_postgres")),
    ("sqlx", "Rust", Tests::File("sqlx")),
];

/// A row per driver, a column per behaviour.
pub(crate) fn table(tree: &Tree) -> Result<String> {
    let titles = BEHAVIOURS.map(|(title, _)| title).join(" | ");
    let mut text = format!("| driver | language | {titles} |\n|---|---|{}\n", "---|".repeat(BEHAVIOURS.len()));
    for (driver, language, tests) in &DRIVERS {
        let words = words(tree, tests).with_context(|| format!("the tests of {driver}"))?;
        let tested = |needles: &[&str]| needles.iter().any(|needle| words.iter().any(|word| word.contains(needle)));
        let marks = BEHAVIOURS.map(|(_, needles)| if tested(needles) { "✓" } else { "" }).join(" | ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {driver} | {language} | {marks} |");
    }
    Ok(text)
}

/// The names of a driver's tests and checks.
fn words(tree: &Tree, tests: &Tests) -> Result<Vec<String>> {
    match tests {
        Tests::File(name) => {
            let path = format!("{FOLDER}/{name}.rs");
            let text = &tree.file(&path).with_context(|| format!("there is no {path}"))?.text;
            // A file that goes through every way in does so with each of its tests.
            let ways = text.contains("in WAYS").then(|| "over_tls_in_both_modes".to_owned());
            Ok(functions(text).map(|(name, _)| name.to_owned()).chain(ways).collect())
        }
        Tests::Script(prefix) => {
            let text = &tree.file(SCRIPTS).with_context(|| format!("there is no {SCRIPTS}"))?.text;
            let mut words = Vec::new();
            for (name, body) in functions(text).filter(|(name, _)| name.starts_with(prefix)) {
                words.push(name.to_owned());
                // `node(..)` names the list itself.
                if body.contains("CHECKS") || body.contains("with(") || body.contains("node(") {
                    words.extend(checks(text)?);
                }
                words.extend(quoted(body).map(str::to_owned));
            }
            if words.is_empty() {
                bail!("{SCRIPTS} has no test {prefix}...");
            }
            Ok(words)
        }
    }
}

/// Every `#[test]` with its name and its text.
fn functions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let bodies = text.split("#[test]").skip(1);
    bodies.filter_map(|body| Some((body.split_once("fn ")?.1.split_once('(')?.0, body)))
}

fn checks(text: &str) -> Result<Vec<String>> {
    let Some((_, list)) = text.split_once("const CHECKS") else { bail!("{SCRIPTS} has no list of checks") };
    let list = list.split_once("];").map_or(list, |(list, _)| list);
    Ok(quoted(list).map(str::to_owned).collect())
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::plant::Plant;

    fn plant(scripts: &str) -> Plant {
        let plant = Plant::new();
        plant.write(SCRIPTS, scripts);
        plant
    }

    #[test]
    fn a_script_is_tested_for_its_checks_and_a_file_for_its_names() {
        let plant = plant(
            "const CHECKS: [&str; 2] = [\n\"simple\",\n\"copy_in\",\n];\n\
             #[test]\nfn psycopg_works() {\n python(\"x.py\", &with(\"pipeline\"));\n}\n#[test]\nfn asyncpg_works() {\n python(\"y.py\", &CHECKS);\n}\n",
        );
        plant.write("crates/testbed/tests/sqlx.rs", "#[test]\nfn sqlx_carries_a_large_row() {}\n");
        let tree = plant.tree();
        let all = |tests| words(&tree, &tests).unwrap();
        assert_eq!(all(Tests::Script("psycopg_")), ["psycopg_works", "simple", "copy_in", "x.py", "pipeline"]);
        assert_eq!(all(Tests::Script("asyncpg_")), ["asyncpg_works", "simple", "copy_in", "y.py"]);
        assert_eq!(all(Tests::File("sqlx")), ["sqlx_carries_a_large_row"]);
    }

    #[test]
    fn a_driver_that_lost_its_test_fires() {
        let plant = plant("const CHECKS: [&str; 0] = [];\n");
        assert!(format!("{:#}", table(&plant.tree()).unwrap_err()).contains("the tests of psql"));
        assert!(words(&plant.tree(), &Tests::Script("asyncpg_")).is_err());
    }
}
