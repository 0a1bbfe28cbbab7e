//! The review's reference: its rules, what each needs and where that comes from, and how a finding looks.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use poolwarden_config::review::{self, Atlas, Input, NEEDS, Paint, Rule, gather, render, rules, waterfall};

use super::finding::{Finding, Tree};

/// Where the examples of the rules are.
const EXAMPLES: &str = "crates/config/tests/review";

/// The story that is shown: each file is right by itself.
const STORY: [(&str, &str); 2] = [
    (
        "pgbouncer.ini",
        "[databases]\napp = host=db.internal dbname=app\n\n[pgbouncer]\npool_mode = transaction\nmax_client_conn = 12000\n\
         default_pool_size = 1500\nquery_wait_timeout = 2\n",
    ),
    (
        "topology.toml",
        "[topology.postgres]\nmax_connections = 5000\nreserved_connections = 2\nothers = 6\n\n[topology.pooler]\n\
         instances = 6\n\n[[topology.app]]\nname = \"web\"\npool = \"app\"\nreplicas = 300\npool_size = 30\n",
    ),
];

/// A rule that no input reaches would never speak: each has an example that it fires on.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let example = |rule: &Rule| format!("{EXAMPLES}/{}/fires/expected.txt", rule.code);
    let absent = rules().filter(|rule| tree.file(&example(rule)).is_none());
    absent
        .map(|rule| Finding::new(&example(rule), 0, format!("{}: no input is known that reaches it", rule.code)))
        .collect()
}

/// A table per family.
pub(crate) fn rules_table() -> String {
    let mut text = String::new();
    let mut family = "";
    for Rule { code, title, condition, why, fix, severity, .. } in rules() {
        let of = code.split('-').next().unwrap_or_default();
        if of != family {
            family = of;
            // Writing to a String does not fail, here and below.
            let _ = writeln!(
                text,
                "\n#### {family}\n\n| rule | severity | fires when | why | what to do |\n|---|---|---|---|---|"
            );
        }
        let [title, condition, why, fix] = [title, condition, why, fix].map(|words| cell(words));
        let _ = writeln!(text, "| `{code}` | {} | {title}: {condition} | {why} | {fix} |", severity.name());
    }
    text.push('\n');
    text
}

/// Each need, where it comes from, and who needs it.
pub(crate) fn needs_table() -> Result<String> {
    let mut text = String::from("| what | comes from | rules |\n|---|---|---|\n");
    for need in NEEDS {
        if need.from.is_empty() {
            bail!("{}: nobody says where it comes from", need.name);
        }
        let needy = rules().filter(|rule| rule.needs.iter().any(|one| one.name == need.name));
        let codes: Vec<String> = needy.map(|rule| format!("`{}`", rule.code)).collect();
        let of = if codes.is_empty() { "a part of what others check".to_owned() } else { codes.join(" ") };
        let _ = writeln!(text, "| {} | {} | {of} |", cell(need.name), cell(need.from));
    }
    Ok(text)
}

/// A finding and the chain of limits, as they look.
pub(crate) fn screen() -> Result<String> {
    let files = STORY.map(|(name, text)| Input::File { name: name.to_owned(), text: text.to_owned() });
    let gathered = gather(&files, &mut |path| Err(format!("{path} is not there")));
    let report = review::review(&gathered.dossier);
    let finding = report.findings.first().context("nothing is found in the story that is to be shown")?;
    let atlas = Atlas::new(&gathered.dossier);
    let chain = waterfall::text(&atlas, &waterfall::waterfalls(&gathered.dossier));
    Ok(format!("```text\n{}\n{}\n```\n", render(&atlas, finding, Paint::Plain), chain.trim_end()))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::plant::Plant;

    #[test]
    fn a_rule_without_an_example_it_fires_on_is_found() {
        let plant = Plant::new();
        let all = rules().count();
        assert_eq!(check(&plant.tree()).len(), all);
        plant.write(&format!("{EXAMPLES}/CAP-01/fires/expected.txt"), "error[CAP-01]\n");
        assert_eq!(check(&plant.tree()).len(), all - 1);
    }

    #[test]
    fn the_story_shows_the_rule_of_the_chain_with_both_files() {
        let screen = screen().unwrap();
        for expected in ["error[CAP-01]", "--> pgbouncer.ini:", "::: topology.toml:", "<- the tightest"] {
            assert!(screen.contains(expected), "{screen}");
        }
    }
}
