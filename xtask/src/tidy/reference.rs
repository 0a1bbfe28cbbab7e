//! Reference pages, printed from the lists the product itself obeys: settings, metrics, console commands, limits.
//!
//! Knows how a table is written and nothing of what stands in it: a sentence that is wrong here is wrong in its list.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use poolwarden_config::Setting;
use poolwarden_config::pgbouncer::{self, Becomes};
use poolwarden_console::{manual, metrics, sql};
use poolwarden_switch::voice::{SAYINGS, Saying};
use poolwarden_watch::pool::{Limit, PoolKey};
use poolwarden_watch::remedy;

use super::finding::Tree;
use super::{arrow, casebook, checklist, driver, measured, review};

/// Every generated block, and the document that must print it.
pub(crate) const BLOCKS: [(&str, &str); 22] = [
    ("arrows", arrow::ARCHITECTURE),
    ("settings", "docs/configuration.md"),
    ("metrics", "docs/metrics.md"),
    ("commands", "docs/console.md"),
    ("limits", "docs/troubleshooting.md"),
    ("casebook", "docs/casebook.md"),
    ("screen-check", "docs/check.md"),
    ("rules", "docs/check.md"),
    ("needs", "docs/check.md"),
    ("manual", "docs/why.md"),
    ("screen-why", "docs/why.md"),
    ("screen-top", "docs/why.md"),
    ("pgbouncer", "docs/pgbouncer.md"),
    ("sayings", "docs/pgbouncer.md"),
    ("drivers", "docs/drivers.md"),
    ("checklist", "docs/conformance.md"),
    ("matrix", "docs/conformance.md"),
    ("theory", "docs/simulation.md"),
    ("transfer", "docs/simulation.md"),
    ("speed", "docs/simulation.md"),
    ("holds", "docs/overload.md"),
    ("queue", "docs/overload.md"),
];

/// The block of that name, beginning and ending with a line break.
pub(crate) fn block(tree: &Tree, name: &str) -> Result<String> {
    let text = match name {
        "arrows" => arrow::table(),
        "settings" => settings(poolwarden_config::CATALOGUE),
        "metrics" => metric_table(&metrics::CATALOGUE),
        "commands" => commands(&sql::CATALOGUE),
        "limits" => limits(),
        "casebook" => casebook::table(tree)?,
        "screen-check" => review::screen()?,
        "rules" => review::rules_table(),
        "needs" => review::needs_table()?,
        "manual" => manual_pages(),
        "screen-why" => screen(tree, "proof/why.txt")?,
        "screen-top" => screen(tree, "proof/top.txt")?,
        "pgbouncer" => of_pgbouncer(pgbouncer::CATALOGUE),
        "sayings" => sayings(&SAYINGS),
        "drivers" => driver::table(tree)?,
        "checklist" => checklist::table(tree)?,
        "matrix" => checklist::matrix(tree)?,
        "holds" => measured::holds(tree)?,
        "queue" => measured::queue(tree)?,
        "causes" => measured::causes(tree)?,
        "theory" => measured::theory(tree)?,
        "transfer" => measured::transfer(tree)?,
        "speed" => measured::speed(tree)?,
        "checks" => measured::checks(tree)?,
        _ => bail!("nothing generates a block named \"{name}\""),
    };
    Ok(format!("\n{text}"))
}

/// One section per table of the file, in the order of the list.
fn settings(catalogue: &[Setting]) -> String {
    let mut text = String::new();
    let mut section = "";
    for setting in catalogue {
        let (table, key) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        if table != section {
            section = table;
            let title = heading(table);
            line(&mut text, format_args!("\n### `{title}`\n"));
            line(&mut text, format_args!("| setting | accepts | default | a change applies | what it is for |"));
            line(&mut text, format_args!("|---|---|---|---|---|"));
        }
        let default = if setting.default.is_empty() { String::new() } else { code(setting.default) };
        let applies = match (setting.acts, setting.live) {
            (false, _) => "read and checked only",
            (true, true) => "at a reload",
            (true, false) => "at a restart",
        };
        let (accepts, doc) = (cell(&setting.kind.describe()), cell(setting.doc));
        let example = code(&format!("{key} = {}", setting.example));
        line(&mut text, format_args!("| `{key}` | {accepts} | {default} | {applies} | {doc}<br>{example} |"));
    }
    text.push('\n');
    text
}

/// `alerts.receiver[]` is written `[[alerts.receiver]]`.
fn heading(table: &str) -> String {
    table.strip_suffix("[]").map_or_else(|| format!("[{table}]"), |array| format!("[[{array}]]"))
}

fn metric_table(catalogue: &[metrics::Metric]) -> String {
    let mut text = "| metric | type | labels | what it says |\n|---|---|---|---|\n".to_owned();
    for metric in catalogue {
        let labels = metric.labels.iter().map(|label| code(label)).collect::<Vec<_>>().join(", ");
        let (name, kind, help) = (metric.name, metric.kind.name(), cell(metric.help));
        line(&mut text, format_args!("| `{name}` | {kind} | {labels} | {help} |"));
    }
    text
}

fn commands(catalogue: &[sql::Entry]) -> String {
    let mut text = "| command | who may | what it is for |\n|---|---|---|\n".to_owned();
    for entry in catalogue {
        let needs = match entry.needs {
            sql::Rights::Reader => "readers",
            sql::Rights::Admin => "admins",
        };
        line(&mut text, format_args!("| {} | {needs} | {} |", code(&entry.usage()), cell(entry.about)));
    }
    text
}

fn sayings(sayings: &[Saying]) -> String {
    let mut text =
        "| PgBouncer's text | SQLSTATE here | when it is said | what is different |\n|---|---|---|---|\n".to_owned();
    for saying in sayings {
        let when = if saying.when.is_empty() { "never" } else { saying.when };
        let (said, state) = (code(saying.text), saying.sqlstate);
        line(&mut text, format_args!("| {said} | `{state}` | {} | {} |", cell(when), cell(saying.differs)));
    }
    text
}

fn limits() -> String {
    let mut text = "| limit | where it is set | what to do when it binds |\n|---|---|---|\n".to_owned();
    let pool = PoolKey { database: "DATABASE".into(), user: "USER".into() };
    for limit in Limit::ALL {
        let setting = cell(&remedy::setting(limit, "SERVER", &pool));
        let step = cell(&remedy::next_step(limit, "SERVER", &pool));
        line(&mut text, format_args!("| `{}` | {setting} | {step} |", limit.name()));
    }
    text
}

/// Every limit and every cause, as `poolwarden explain` tells of them.
fn manual_pages() -> String {
    let mut text = String::new();
    let mut kind = "";
    for page in manual::pages() {
        if page.kind() != kind {
            kind = page.kind();
            line(&mut text, format_args!("\n### {}s\n", if kind == "limit" { "Limit" } else { "Cause" }));
            line(&mut text, format_args!("| {kind} | what it is | seen by | does a larger pool help? | do |"));
            line(&mut text, format_args!("|---|---|---|---|---|"));
        }
        let steps: Vec<String> =
            page.steps.iter().enumerate().map(|(at, step)| format!("{}. {}", at + 1, cell(step))).collect();
        let (what, seen, raise) = (cell(page.what), cell(page.recognised), cell(page.raise));
        line(&mut text, format_args!("| `{}` | {what} | {seen} | {raise} | {} |", page.code(), steps.join("<br>")));
    }
    text.push('\n');
    text
}

/// What stood on a terminal, captured by a live test.
fn screen(tree: &Tree, path: &str) -> Result<String> {
    let file = tree.file(path).with_context(|| format!("there is no {path}: see crates/testbed/tests/drawer.rs"))?;
    Ok(format!("```text\n{}\n```\n", file.text.trim_end()))
}

/// Every setting of PgBouncer and what it is here, one table per section of its file.
fn of_pgbouncer(catalogue: &[pgbouncer::Entry]) -> String {
    let mut text = String::new();
    for section in pgbouncer::Section::ALL {
        line(&mut text, format_args!("\n### `[{}]`\n", section.name()));
        line(&mut text, format_args!("| setting | default | here | becomes | how, or why not |"));
        line(&mut text, format_args!("|---|---|---|---|---|"));
        for entry in catalogue.iter().filter(|entry| entry.section == section) {
            let default = if entry.default.is_empty() { String::new() } else { code(entry.default) };
            let becomes = match entry.becomes {
                Becomes::Setting(key) => code(key),
                Becomes::Process => "the process".to_owned(),
                Becomes::Nothing => String::new(),
            };
            let (name, verdict, why) = (code(entry.name), entry.verdict.name(), cell(entry.why));
            line(&mut text, format_args!("| {name} | {default} | {verdict} | {becomes} | {why} |"));
        }
    }
    for door in pgbouncer::Door::ALL {
        line(&mut text, format_args!("\n### {}\n\n| said | here | how, or why not |\n|---|---|---|", door.title()));
        for verb in pgbouncer::VERBS.iter().filter(|verb| verb.door == door) {
            line(&mut text, format_args!("| {} | {} | {} |", code(verb.name), verb.verdict.name(), cell(verb.why)));
        }
    }
    text.push('\n');
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

/// A bar would end the cell, and an opening angle bracket would begin a tag.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::plant::Plant;

    #[test]
    fn every_setting_metric_command_and_limit_has_its_row() {
        let plant = Plant::new();
        let tree = plant.tree();
        let rows = |name: &str| {
            let text = block(&tree, name).unwrap();
            text.lines().filter(|line| line.starts_with("| `")).count()
        };
        assert_eq!(rows("settings"), poolwarden_config::CATALOGUE.len());
        assert_eq!(rows("metrics"), metrics::CATALOGUE.len());
        assert_eq!(rows("commands"), sql::CATALOGUE.len());
        assert_eq!(rows("limits"), Limit::ALL.len());
        assert_eq!(rows("manual"), manual::pages().count());
        assert_eq!(rows("sayings"), SAYINGS.len());
        assert_eq!(rows("pgbouncer"), pgbouncer::CATALOGUE.len() + pgbouncer::VERBS.len());
        assert!(block(&tree, "rumours").is_err());
    }

    #[test]
    fn what_is_said_of_pgbouncers_console_is_true_of_ours() {
        let spoken = |name: &str| sql::CATALOGUE.iter().any(|entry| entry.name == name);
        for verb in pgbouncer::VERBS.iter().filter(|verb| verb.door == pgbouncer::Door::Console) {
            let refused = matches!(verb.verdict, pgbouncer::Verdict::Refused(_));
            assert_ne!(spoken(verb.name), refused, "{} is {}", verb.name, verb.verdict.name());
        }
    }

    #[test]
    fn a_cell_stays_one_cell() {
        let setting = Setting {
            key: "pools.NAME.mode",
            kind: poolwarden_config::Kind::Choice(&["a", "b"]),
            default: "a",
            live: true,
            acts: true,
            doc: "x <y>",
            example: "\"a\"",
        };
        let text = settings(&[setting]);
        assert!(text.contains("### `[pools.NAME]`"), "{text}");
        let row = "| `mode` | a \\| b | `a` | at a reload | x &lt;y><br>`mode = \"a\"` |";
        assert!(text.contains(row), "{text}");
    }
}
