//! Tables of what `prove` measured, printed from `proof/*.json` into the documents that speak of it.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use super::finding::Tree;

/// What a measurement found; `None`: it is not on file.
pub(super) fn found(tree: &Tree, what: &str) -> Result<Option<Value>> {
    let path = format!("proof/{what}.json");
    let Some(file) = tree.file(&path) else { return Ok(None) };
    let mut whole: Value = serde_json::from_str(&file.text).with_context(|| path.clone())?;
    let mut found = whole["found"].take();
    found["commit"] = whole["commit"].take();
    Ok(Some(found))
}

pub(super) fn missing(command: &str, what: &str) -> String {
    format!("Nothing is on file: `cargo xtask prove {command} --json proof/{what}.json`.\n")
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A number with so many decimals; a dash where there is none.
fn number(value: &Value, decimals: usize) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |number| format!("{number:.decimals$}"))
}

fn percent(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0))
}

/// Spikes and storms, a row per phase and pooler; neighbours of a noisy tenant; what refusing costs.
pub(super) fn holds(tree: &Tree) -> Result<String> {
    let Some(found) = found(tree, "holds")? else { return Ok(missing("holds 5", "holds")) };
    let mut out = format!("Measured at {}, phases of {} s.\n\n", text(&found["commit"]), found["seconds"]);
    // Writing to a String does not fail, here and below.
    let _ = writeln!(out, "| scenario | phase | through | served/s | of each load: served, p99 | normal again after |");
    let _ = writeln!(out, "|---|---|---|---|---|---|");
    for run in items(&found["scenarios"]) {
        for phase in items(&run["phases"]).filter(|phase| !["warm", "calm"].contains(&text(&phase["phase"]))) {
            let loads = phase["loads"].as_object().into_iter().flatten();
            let load = |(name, of): (&String, &Value)| {
                format!("{name} {}, {} ms", percent(&of["served"]), number(&of["p99_ms"], 0))
            };
            let loads: Vec<String> = loads.map(load).collect();
            let after = phase["normal_after_s"].as_f64().map_or_else(String::new, |after| format!("{after:.0} s"));
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {after} |",
                text(&run["scenario"]),
                text(&phase["phase"]),
                text(&run["target"]),
                number(&phase["goodput_per_second"], 0),
                loads.join("; ")
            );
        }
    }
    let _ = writeln!(out, "\n| neighbours of a slow application | through | p99, quiet | p99, in its storm | times |");
    let _ = writeln!(out, "|---|---|---|---|---|");
    for of in items(&found["neighbours"]) {
        let (quiet, storm) = (number(&of["quiet_p99_ms"], 1), number(&of["storm_p99_ms"], 1));
        let (load, target, times) = (text(&of["load"]), text(&of["target"]), number(&of["storm_over_quiet"], 2));
        let _ = writeln!(out, "| {load} | {target} | {quiet} ms | {storm} ms | {times} |");
    }
    let refusals = &found["refusals"];
    let _ = writeln!(
        out,
        "\n10,000 refusals a second cost {} of a core, log included; one receive and one send for each, without a pooler, cost \
         {} on the same machine.",
        percent(&refusals["cores_for_10000_per_second"]),
        percent(&refusals["floor"]["as_they_come"])
    );
    Ok(out)
}

/// What a checkout and a checkin cost, by how many wait.
pub(super) fn queue(tree: &Tree) -> Result<String> {
    let Some(found) = found(tree, "queue")? else { return Ok(missing("queue 1000000", "queue")) };
    let mut out = format!("Measured at {}.\n\n", text(&found["commit"]));
    let _ = writeln!(out, "| requests waiting | classes | applications | checkout and checkin |\n|---|---|---|---|");
    for cell in items(&found["cells"]) {
        let ns = number(&cell["ns_per_transaction"], 0);
        let _ = writeln!(out, "| {} | {} | {} | {ns} ns |", cell["waiting"], cell["classes"], cell["tenants"]);
    }
    Ok(out)
}

/// Queues that theory knows.
pub(super) fn theory(tree: &Tree) -> Result<String> {
    let Some(found) = found(tree, "theory")? else { return Ok(missing("theory 1", "theory")) };
    let cells: Vec<&Value> = items(&found["cells"]).collect();
    let inside = cells.iter().filter(|cell| cell["inside"] == true).count();
    let again = cells.iter().filter(|cell| cell["again"] == true).count();
    let mut out = format!(
        "Measured at {}: {inside} of {} inside the simulation's 99 % interval, each played until half of that is at most 2 % of the mean; \
         {again} lay outside at first, as one in a hundred does by chance, and were played once more with other seeds. {} million requests.\n\n",
        text(&found["commit"]),
        cells.len(),
        found["requests"].as_u64().unwrap_or(0) / 1_000_000
    );
    // Writing to a String does not fail, here and below.
    let _ = writeln!(
        out,
        "| queue | rho | theory | simulated | half of the interval | Little's law is off by |\n|---|---|---|---|---|---|"
    );
    for cell in cells {
        let off = cell["little_residual"].as_f64().unwrap_or(f64::NAN) * 100.0;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {off:.3} % |",
            text(&cell["queue"]),
            cell["rho"],
            number(&cell["theory"], 4),
            number(&cell["simulated"], 4),
            number(&cell["half_width"], 4)
        );
    }
    let _ = writeln!(out, "\nWaits are in mean holds; of refused requests it is their share.");
    Ok(out)
}

/// What was foretold and what came.
pub(super) fn transfer(tree: &Tree) -> Result<String> {
    let Some(found) = found(tree, "transfer")? else { return Ok(missing("transfer 2", "transfer")) };
    let (own, cells) = (items(&found["own"]).count(), items(&found["cells"]).count());
    let mut out = format!(
        "Measured at {}: own settings {} of {own}, others {} of {cells}, false passes (said to be enough, and no run was) {}. Two runs of the \
         same differ in their p99 by {} ms in the middle, {} ms at most.\n\n",
        text(&found["commit"]),
        found["own_hold"],
        found["cells_hold"],
        found["false_passes"],
        number(&found["noise_p99_ms"]["median"], 2),
        number(&found["noise_p99_ms"]["largest"], 2)
    );
    let _ = writeln!(
        out,
        "| load | size | longest wait | asked for at most | p99 foretold | p99 that came | as near as that | failed foretold | failed that came | holds |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    for (which, cell) in
        items(&found["own"]).map(|cell| (" (its own)", cell)).chain(items(&found["cells"]).map(|cell| ("", cell)))
    {
        let came = |read: fn(&Value) -> String| items(&cell["came"]).map(read).collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "| {}{which} | {} | {} ms | {} | {} ms | {} ms | {} | {} | {} | {} |",
            text(&cell["load"]),
            cell["size"],
            cell["max_wait_ms"],
            percent(&cell["peak_rho"]),
            number(&cell["foretold"]["p99_ms"], 1),
            came(|of| number(&of["p99_ms"], 1)),
            if cell["p99_is_near"] == true { "yes" } else { "no" },
            percent(&cell["foretold"]["failed_share"]),
            came(|of| percent(&of["failed_share"])),
            if cell["holds"] == true { "yes" } else { "no" }
        );
    }
    Ok(out)
}

/// How fast it simulates.
pub(super) fn speed(tree: &Tree) -> Result<String> {
    let Some(found) = found(tree, "speed")? else { return Ok(missing("speed 86", "speed")) };
    let (day, replay) = (&found["scenario"], &found["recorded"]);
    Ok(format!(
        "Measured at {}, on one core: recorded requests are played at {} a second; a day of a scenario at 1,000 a second ({} requests) takes {} s.\n",
        text(&found["commit"]),
        number(&replay["per_second"], 0),
        day["requests"],
        number(&day["seconds"], 0)
    ))
}

/// What `check` was given to break it, and what breaks when a rule is broken.
pub(super) fn checks(tree: &Tree) -> Result<String> {
    let mut out = String::new();
    match found(tree, "checks")? {
        None => out += &missing("checks 10000", "checks"),
        Some(found) => {
            let (random, large, fifty) = (&found["corruptions"], &found["megabyte"], &found["fifty_files"]);
            let exit = |code: u8| random["exits"][format!("exit_{code}")].as_u64().unwrap_or(0);
            let _ = writeln!(
                out,
                "Measured at {}.\n\n- {} random corruptions of the good configurations: {} panics; {} ended with 0, {} with 1, {} with 2 \
                 (a file that is not read), {} with 3. Each of the {} findings has a place and a next step.",
                text(&found["commit"]),
                random["given"],
                random["panics"],
                exit(0),
                exit(1),
                exit(2),
                exit(3),
                random["findings"],
            );
            let _ = writeln!(
                out,
                "- {} files of a megabyte, sound and corrupted: {} panics, the slowest ({}) took {} ms.",
                large["given"],
                large["panics"],
                text(&large["slowest"]),
                number(&large["slowest_ms"], 0),
            );
            let _ = writeln!(
                out,
                "- {} files at once: {} ms, {} ms at worst of {}.",
                fifty["files"],
                number(&fifty["median_ms"], 0),
                number(&fifty["slowest_ms"], 0),
                fifty["runs"],
            );
        }
    }
    match found(tree, "mutants")? {
        None => out += "- Broken rules: nothing is on file: `make mutants`.\n",
        Some(found) => {
            let _ = writeln!(
                out,
                "- Broken rules (`make mutants`, at {}): {} rules silenced in turn and {} numbers nudged by a tenth up or down; a test \
                 failed each time, {} survived.",
                text(&found["commit"]),
                found["rules_silenced"],
                found["constants_nudged"],
                found["survived"],
            );
        }
    }
    Ok(out)
}

/// How fast and how rightly `why` named what was done to real pools; a row per situation.
pub(super) fn causes(tree: &Tree) -> Result<String> {
    let Some(found) = found(tree, "causes")? else { return Ok(missing("causes 5", "causes")) };
    let mut out = format!("Measured at {}.\n\n", text(&found["commit"]));
    let _ = writeln!(out, "| what was done | runs | right | slowest | numbers compared | that differed |");
    let _ = writeln!(out, "|---|---|---|---|---|---|");
    let mut names: Vec<&str> = items(&found["runs"]).map(|run| text(&run["situation"])).collect();
    names.dedup();
    for name in names {
        let runs: Vec<&Value> = items(&found["runs"]).filter(|run| run["situation"] == name).collect();
        let sum = |key: &str| runs.iter().filter_map(|run| run[key].as_u64()).sum::<u64>();
        let right = runs.iter().filter(|run| run["passed"] == true).count();
        let slowest = runs.iter().filter_map(|run| run["right_after_ms"].as_u64()).max();
        let slowest = slowest.map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1_000.0));
        let (compared, differing) = (sum("numbers_compared"), sum("numbers_differing"));
        let _ = writeln!(out, "| {name} | {} | {right} | {slowest} | {compared} | {differing} |", runs.len());
    }
    let story: Vec<String> =
        items(&found["story"]["answered_after_ms"]).map(|ms| format!("{} ms", number(ms, 0))).collect();
    let _ = writeln!(
        out,
        "\n\"Raising the pool has no effect, the user's limit binds at 3\" came after {}.",
        story.join(", ")
    );
    let _ = writeln!(out, "\n| raised | from | to | stated gain | measured gain | off |\n|---|---|---|---|---|---|");
    for of in items(&found["raised"]) {
        let (stated, gained) = (number(&of["stated_gain"], 1), number(&of["measured_gain"], 1));
        let (raised, from, to, off) = (text(&of["raised"]), &of["from"], &of["enough"], percent(&of["off"]));
        let _ = writeln!(out, "| {raised} | {from} | {to} | {stated}/s | {gained}/s | {off} |");
    }
    let worst = found["rush_worst_ms"].as_object().into_iter().flatten();
    let worst: Vec<String> = worst
        .filter(|(name, _)| !["pools", "waiting", "tries"].contains(&name.as_str()))
        .map(|(name, ms)| format!("{} {} ms", name.replace('_', " "), number(ms, 0)))
        .collect();
    let of = &found["rush_worst_ms"];
    let _ = writeln!(
        out,
        "\nWith {} pools exhausted, {} clients waiting and every core busy, the slowest of {} answers: {}.",
        of["pools"],
        of["waiting"],
        of["tries"],
        worst.join(", ")
    );
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::plant::Plant;

    #[test]
    fn what_is_not_on_file_is_said_with_its_command() {
        let plant = Plant::new();
        assert!(holds(&plant.tree()).unwrap().contains("prove holds 5 --json proof/holds.json"));
        assert!(queue(&plant.tree()).unwrap().contains("prove queue"));
        assert!(causes(&plant.tree()).unwrap().contains("prove causes 5"));
    }

    #[test]
    fn situations_have_a_row_with_their_slowest_answer() {
        let plant = Plant::new();
        plant.write(
            "proof/causes.json",
            r#"{"commit": "abc", "found": {"runs": [
                {"situation": "leak", "passed": true, "right_after_ms": 2900, "numbers_compared": 100, "numbers_differing": 1},
                {"situation": "leak", "passed": false, "right_after_ms": null, "numbers_compared": 50, "numbers_differing": 0},
                {"situation": "web-tier", "passed": true, "right_after_ms": 7, "numbers_compared": 3, "numbers_differing": 0}],
                "story": {"answered_after_ms": [44, 46]},
                "raised": [{"raised": "pools.app.size", "from": 2, "enough": 9, "stated_gain": 81.94, "measured_gain": 80.0, "off": 0.024}],
                "rush_worst_ms": {"pools": 50, "waiting": 5000, "tries": 20, "why": 47.2, "show_clients": 720.0}}}"#,
        );
        let table = causes(&plant.tree()).unwrap();
        assert!(table.contains("| leak | 2 | 1 | 2.9 s | 150 | 1 |\n| web-tier | 1 | 1 | 0.0 s | 3 | 0 |"), "{table}");
        assert!(table.contains("came after 44 ms, 46 ms."), "{table}");
        assert!(table.contains("| pools.app.size | 2 | 9 | 81.9/s | 80.0/s | 2.4 % |"), "{table}");
        assert!(table.contains("With 50 pools exhausted, 5000 clients waiting"), "{table}");
        assert!(table.contains("show clients 720 ms") && !table.contains("tries"), "{table}");
    }

    #[test]
    fn phases_between_the_calm_ones_have_a_row_for_each_pooler() {
        let plant = Plant::new();
        plant.write(
            "proof/holds.json",
            r#"{"commit": "abc", "found": {"seconds": 30, "scenarios": [{"scenario": "spike", "target": "poolwarden", "phases": [
                {"phase": "warm", "loads": {}, "goodput_per_second": 700.0},
                {"phase": "ten", "goodput_per_second": 968.1, "normal_after_s": 5,
                 "loads": {"critical": {"served": 1.0, "p99_ms": 49.5}}}]}],
                "neighbours": [{"load": "web", "target": "poolwarden", "quiet_p99_ms": 21.2, "storm_p99_ms": 24.1, "storm_over_quiet": 1.13}],
                "refusals": {"cores_for_10000_per_second": 0.12, "floor": {"as_they_come": 0.1}}}}"#,
        );
        let table = holds(&plant.tree()).unwrap();
        assert!(table.contains("| spike | ten | poolwarden | 968 | critical 100.0 %, 50 ms | 5 s |"), "{table}");
        assert!(!table.contains("warm"));
        assert!(table.contains("| web | poolwarden | 21.2 ms | 24.1 ms | 1.13 |"), "{table}");
        assert!(table.contains("cost 12.0 % of a core") && table.contains("cost 10.0 % on"), "{table}");
    }
}
