//! The table of who says what of the casebook, printed from `proof/casebook.json`.

use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;

use super::finding::Tree;
use super::measured::{found, items, missing, text};

/// A row per case, then what was looked for in vain.
pub(super) fn table(tree: &Tree) -> Result<String> {
    let Some(found) = found(tree, "casebook")? else { return Ok(missing("casebook", "casebook")) };
    let versions = &found["versions"];
    let (pgbouncer, poolsim) = (text(&versions["pgbouncer"]), text(&versions["poolsim"]));
    // Writing to a String does not fail, here and below.
    let mut out = format!("Run at {}.\n\n", text(&found["commit"]));
    let _ = writeln!(out, "| what happened | poolwarden check | {pgbouncer} at its start | {poolsim} |");
    let _ = writeln!(out, "|---|---|---|---|");
    for row in items(&found["rows"]) {
        let _ = writeln!(out, "| {} | {} | {} | {} |", story(row), ours(row), theirs(row), simulated(row));
    }
    let _ = writeln!(out, "\n| looked for | with | answer |\n|---|---|---|");
    for one in items(&found["looked_for"]) {
        let answer = text(&one["answer"]).lines().next().unwrap_or("nothing");
        let _ = writeln!(out, "| {} | `{}` | {} |", text(&one["what"]), text(&one["command"]), cell(answer));
    }
    Ok(out)
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('`', "")
}

fn story(row: &Value) -> String {
    let source = text(&row["source"]);
    let links: Vec<String> = source
        .split([' ', ','])
        .filter(|word| word.starts_with("https://"))
        .map(|link| format!("[source]({link})"))
        .collect();
    let title = cell(text(&row["title"]));
    format!("**{title}** ({}): {} {}", text(&row["when"]), cell(text(&row["happened"])), links.join(" "))
        .trim_end()
        .to_owned()
}

/// The first finding of each rule that must flag it, and how many more of the others matter.
fn ours(row: &Value) -> String {
    let of = |code: &Value| items(&row["poolwarden"]).find(|finding| finding["code"] == *code);
    let said: Vec<String> = items(&row["codes"])
        .filter_map(of)
        .map(|finding| {
            format!("{} `{}`: {}", text(&finding["severity"]), text(&finding["code"]), cell(text(&finding["message"])))
        })
        .collect();
    said.join("<br>")
}

fn theirs(row: &Value) -> String {
    let said: Vec<String> = items(&row["pgbouncer"])
        .map(|run| {
            // The sum of files is said at every start; it is about this case where the case is about files.
            let about = |line: &&str| !line.starts_with("LOG ") || run["open_files"].is_string();
            let lines: Vec<String> = items(&run["said"]).map(text).filter(about).map(cell).collect();
            let starts = if run["starts"] == true { "starts" } else { "does not start" };
            let lines = if lines.is_empty() { "says nothing".to_owned() } else { lines.join("; ") };
            format!("{starts}; {lines}")
        })
        .collect();
    match said.as_slice() {
        [] => "no PgBouncer in this case".to_owned(),
        [first, rest @ ..] if rest.iter().all(|other| other == first) => first.clone(),
        all => all.join("<br>"),
    }
}

fn simulated(row: &Value) -> String {
    let run = |run: &Value| {
        let lines: Vec<String> = items(&run["said"]).map(text).map(cell).collect();
        let verb = text(&run["command"]).split(' ').skip(1).take_while(|word| !word.starts_with("--"));
        let said = if lines.is_empty() { "nothing".to_owned() } else { lines.join("; ") };
        format!("`{}` exit {}: {said}", verb.collect::<Vec<_>>().join(" "), run["exit"])
    };
    items(&row["poolsim"]).map(run).collect::<Vec<_>>().join("<br>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::plant::Plant;

    #[test]
    fn each_case_has_a_row_with_what_everybody_says() {
        let plant = Plant::new();
        assert!(table(&plant.tree()).unwrap().contains("prove casebook --json proof/casebook.json"));
        plant.write(
            "proof/casebook.json",
            r#"{"commit": "abc", "found": {"versions": {"pgbouncer": "PgBouncer 9", "poolsim": "poolsim 8"},
                "rows": [
                {"title": "T", "when": "2025", "happened": "it broke", "source": "https://x/1", "codes": ["CAP-01"],
                 "poolwarden": [{"code": "CAP-01", "severity": "error", "message": "100 > 97"}],
                 "pgbouncer": [{"starts": true, "open_files": null, "said": ["LOG kernel file descriptor limit: 1"]}],
                 "poolsim": [{"command": "p graph x --a 1", "exit": 2, "said": ["LIMIT [High] a|b"]}, {"command": "p check", "exit": 0, "said": []}]},
                {"title": "U", "when": "2026", "happened": "so", "source": "none", "codes": [], "poolwarden": [],
                 "pgbouncer": [{"starts": true, "open_files": "9", "said": ["LOG kernel file descriptor limit: 9"]}], "poolsim": []},
                {"title": "V", "when": "2026", "happened": "so", "source": "none", "codes": [], "poolwarden": [],
                 "pgbouncer": [], "poolsim": []}],
                "looked_for": [{"what": "Odyssey", "command": "apt-cache policy odyssey", "answer": ""}]}}"#,
        );
        let table = table(&plant.tree()).unwrap();
        assert!(
            table.contains("| what happened | poolwarden check | PgBouncer 9 at its start | poolsim 8 |"),
            "{table}"
        );
        let row = "| **T** (2025): it broke [source](https://x/1) | error `CAP-01`: 100 > 97 | starts; says nothing | `graph x` exit 2: LIMIT [High] a\\|b<br>`check` exit 0: nothing |";
        assert!(table.contains(row), "{table}");
        assert!(table.contains("| starts; LOG kernel file descriptor limit: 9 |  |"), "{table}");
        assert!(table.contains("| no PgBouncer in this case |  |"), "{table}");
        assert!(table.contains("| Odyssey | `apt-cache policy odyssey` | nothing |"), "{table}");
    }
}
