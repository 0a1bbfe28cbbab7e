//! A run's numbers as JSON. What stands here is the format: inner types change without it.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_sim::load::judge::{Assertion, Verdict};
use poolwarden_sim::load::{Cell, Quantiles, Record, Summary};
use poolwarden_sim::queueing::Played;
use poolwarden_sim::scenario::Scenario;
use serde_json::{Map, Value, json};

/// One drill of `drill run`.
pub(crate) fn drill(
    scenario: &Scenario,
    record: &Record,
    summary: &Summary,
    judged: &(Verdict, Vec<Assertion>),
) -> Value {
    let mut value = body(scenario, record, summary, judged);
    value.insert("lag_ms".to_owned(), quantiles(&summary.lag));
    value.insert("sessions_lost".to_owned(), json!(summary.lost));
    value.insert("left_behind".to_owned(), json!(summary.left_behind));
    Value::Object(value)
}

/// What `simulate` prints of the scenario itself; what came of its pools stands beside it.
pub(crate) fn simulated(
    scenario: &Scenario,
    played: &Played,
    summary: &Summary,
    judged: &(Verdict, Vec<Assertion>),
) -> Map<String, Value> {
    body(scenario, &played.record, summary, judged)
}
fn body(
    scenario: &Scenario,
    record: &Record,
    summary: &Summary,
    judged: &(Verdict, Vec<Assertion>),
) -> Map<String, Value> {
    let groups = scenario.groups.iter().enumerate().map(|(place, group)| {
        let mut value = summary.groups.get(&place).map(cell).unwrap_or_default();
        value.insert("name".to_owned(), json!(group.name));
        value.insert("class".to_owned(), json!(group.class));
        Value::Object(value)
    });
    let phases = scenario.phases.iter().enumerate().map(|(place, phase)| {
        let mut value = summary.phases.get(&place).map(cell).unwrap_or_default();
        let groups = scenario.groups.iter().enumerate().map(|(group, of)| {
            let mut value = summary.cells.get(&(group, place)).map(cell).unwrap_or_default();
            value.insert("name".to_owned(), json!(of.name));
            Value::Object(value)
        });
        value.insert("groups".to_owned(), groups.collect());
        value.insert("name".to_owned(), json!(phase.name));
        value.insert("begins_s".to_owned(), json!(phase.begins.as_secs_f64()));
        value.insert("lasts_s".to_owned(), json!(phase.lasts.as_secs_f64()));
        value.insert("goodput_per_second".to_owned(), json!(rounded(summary.goodput[place], 1)));
        value.insert("recovery_s".to_owned(), json!(summary.recovery[place]));
        Value::Object(value)
    });
    let series = |read: fn(&poolwarden_sim::load::Second) -> u64| summary.series.iter().map(read).collect::<Vec<u64>>();
    let (verdict, assertions) = judged;
    let value = json!({
        "name": scenario.name,
        "seed": scenario.seed,
        "capacity_per_second": scenario.capacity,
        "verdict": verdict.name(),
        "assertions": assertions.iter().map(assertion).collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "phases": phases.collect::<Vec<_>>(),
        "all": Value::Object(cell(&summary.all)),
        "per_second": {
            "offered": series(|second| second.offered),
            "served": series(|second| second.served),
            "refused": series(|second| second.refused),
        },
        "failures": named(scenario, &record.failed),
        "wrong_refusals": named(scenario, &record.wrong),
    });
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// `{group, said, times}` of everything that was counted by what was said.
fn named(scenario: &Scenario, counts: &BTreeMap<(usize, String), u64>) -> Vec<Value> {
    let one = |((group, said), times): (&(usize, String), &u64)| json!({ "group": scenario.groups[*group].name, "said": said, "times": times });
    counts.iter().map(one).collect()
}

fn assertion(assertion: &Assertion) -> Value {
    let Assertion { name, expected, measured, passed } = assertion;
    json!({ "name": name, "expected": expected, "measured": measured, "passed": passed })
}

fn cell(cell: &Cell) -> Map<String, Value> {
    let refused: Map<String, Value> = cell.refusals.iter().map(|(name, times)| (name.clone(), json!(times))).collect();
    let pairs = [
        ("offered", json!(cell.offered)),
        ("attempts", json!(cell.attempts)),
        ("served", json!(cell.served)),
        ("late", json!(cell.late)),
        ("refused", json!(cell.refused)),
        ("failed", json!(cell.failed)),
        ("unsent", json!(cell.unsent)),
        ("refused_attempts", Value::Object(refused)),
        ("wrong_refusals", json!(cell.wrong)),
        ("latency_ms", quantiles(&cell.latency)),
        ("wait_ms", quantiles(&cell.wait)),
        ("refusal_ms", quantiles(&cell.refusal)),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn quantiles(quantiles: &Quantiles) -> Value {
    let ms = |duration: Duration| rounded(duration.as_secs_f64() * 1e3, 3);
    json!({ "p50": ms(quantiles.p50), "p95": ms(quantiles.p95), "p99": ms(quantiles.p99), "max": ms(quantiles.max) })
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value * scale).round() / scale
}
