//! A run's numbers for people: a table by phase and group, the bounds that were missed, the verdict.

use std::fmt::Write;
use std::time::Duration;

use poolwarden_sim::load::judge::{Assertion, MOST_LAG, Verdict};
use poolwarden_sim::load::{Cell, Summary};
use poolwarden_sim::scenario::Scenario;

/// What `drill run` prints of one drill.
pub(crate) fn drill_text(scenario: &Scenario, summary: &Summary, judged: &(Verdict, Vec<Assertion>)) -> String {
    let mut text = table(scenario, summary);
    // Writing to a string does not fail.
    let _ = writeln!(text, "generator lag p99 {}, at most {}", ms(summary.lag.p99), ms(MOST_LAG));
    if summary.lost > 0 {
        let _ = writeln!(text, "{} sessions ended and were opened again", summary.lost);
    }
    verdict(&mut text, scenario, judged);
    text
}

/// What `simulate` prints; `pools` is what came of them.
pub(crate) fn simulated_text(
    scenario: &Scenario,
    summary: &Summary,
    judged: &(Verdict, Vec<Assertion>),
    pools: &str,
) -> String {
    let mut text = table(scenario, summary);
    text.push('\n');
    text.push_str(pools);
    verdict(&mut text, scenario, judged);
    text
}

fn table(scenario: &Scenario, summary: &Summary) -> String {
    let mut text = format!(
        "{:<12} {:<14} {:>9} {:>9} {:>9} {:>7} {:>7} {:>10} {:>10} {:>9} {:>9}\n",
        "phase", "load", "offered", "served", "refused", "late", "failed", "p50", "p99", "goodput/s", "normal in"
    );
    for (phase, of) in scenario.phases.iter().enumerate() {
        for (group, load) in scenario.groups.iter().enumerate() {
            if let Some(cell) = summary.cells.get(&(group, phase)) {
                row(&mut text, (&of.name, &load.name), cell, ("", ""));
            }
        }
        let goodput = format!("{:.0}", summary.goodput[phase]);
        let recovery = summary.recovery[phase].map_or("-".to_owned(), |seconds| format!("{seconds}s"));
        if let Some(cell) = summary.phases.get(&phase) {
            row(&mut text, (&of.name, "all"), cell, (&goodput, &recovery));
        }
    }
    for (name, times) in &summary.all.refusals {
        let _ = writeln!(text, "refused {times} times: {name}");
    }
    text
}

fn row(text: &mut String, (phase, load): (&str, &str), cell: &Cell, (goodput, recovery): (&str, &str)) {
    let _ = writeln!(
        text,
        "{phase:<12} {load:<14} {:>9} {:>9} {:>9} {:>7} {:>7} {:>10} {:>10} {goodput:>9} {recovery:>9}",
        cell.offered,
        cell.served,
        cell.refused,
        cell.late,
        cell.failed + cell.unsent,
        ms(cell.latency.p50),
        ms(cell.latency.p99),
    );
}

fn verdict(text: &mut String, scenario: &Scenario, (verdict, assertions): &(Verdict, Vec<Assertion>)) {
    for Assertion { name, expected, measured, passed } in assertions {
        let word = if *passed { "held" } else { "MISSED" };
        let _ = writeln!(text, "{word:<7} {name}: {measured} ({expected})");
    }
    let why = match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "failed",
        Verdict::Void => "void: the generator was too late; run it on a machine that is less busy",
    };
    let _ = writeln!(text, "{}: {why}", scenario.name);
}

fn ms(duration: Duration) -> String {
    format!("{:.1}ms", duration.as_secs_f64() * 1e3)
}
