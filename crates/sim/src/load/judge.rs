//! Whether a run's numbers are what its scenario asks for. It sees the record's numbers and the scenario's bounds only.

use std::time::Duration;

use super::summary::{Cell, Summary};
use crate::scenario::{Protocol, Scenario, Slo};

/// A generator that was later than this at its 99th percentile did not make the load it reports.
pub const MOST_LAG: Duration = Duration::from_millis(5);

/// One bound, and what was measured against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// What it is about.
    pub name: String,
    /// What was asked for.
    pub expected: String,
    /// What there was.
    pub measured: String,
    /// Whether it held.
    pub passed: bool,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every bound held.
    Passed,
    /// Some did not.
    Failed,
    /// The generator was too late to say anything.
    Void,
}

impl Verdict {
    /// The verdict's name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Void => "void",
        }
    }
}

/// Holds the numbers against every bound.
#[must_use]
pub fn judge(scenario: &Scenario, summary: &Summary) -> (Verdict, Vec<Assertion>) {
    let mut assertions: Vec<Assertion> = scenario.slos.iter().flat_map(|slo| assert(scenario, summary, slo)).collect();
    if scenario.groups.iter().any(|group| group.protocol == Protocol::Pipelined) {
        assertions.push(Assertion {
            name: "rows left behind by refused requests".to_owned(),
            expected: "none".to_owned(),
            measured: summary.left_behind.to_string(),
            passed: summary.left_behind == 0,
        });
    }
    let verdict = if summary.lag.p99 > MOST_LAG {
        Verdict::Void
    } else if assertions.iter().all(|assertion| assertion.passed) {
        Verdict::Passed
    } else {
        Verdict::Failed
    };
    (verdict, assertions)
}

fn assert(scenario: &Scenario, summary: &Summary, slo: &Slo) -> Vec<Assertion> {
    let phases = if slo.phases.is_empty() { (0..scenario.phases.len()).collect() } else { slo.phases.clone() };
    let mut all = Vec::new();
    for phase in phases {
        let cell = match slo.group {
            Some(group) => summary.cells.get(&(group, phase)),
            None => summary.phases.get(&phase),
        };
        if let Some(cell) = cell {
            let of = slo.group.map_or("all", |group| scenario.groups[group].name.as_str());
            of_cell(&mut all, slo, cell, &format!("{of} in {}", scenario.phases[phase].name));
        }
        of_phase(&mut all, (scenario, summary), slo, phase);
    }
    all
}

fn of_cell(all: &mut Vec<Assertion>, slo: &Slo, cell: &Cell, of: &str) {
    let mut put = |name: &str, expected: String, measured: String, passed: bool| {
        all.push(Assertion { name: format!("{of}: {name}"), expected, measured, passed });
    };
    if let Some(least) = slo.served {
        let share = share(cell.served, cell.offered);
        put("served", format!("at least {least}"), format!("{share:.4}"), share >= least);
    }
    if let Some(most) = slo.p99 {
        let (p99, any) = (cell.latency.p99, cell.served > 0);
        let measured = if any { ms(p99) } else { "nobody was served".to_owned() };
        put("latency p99", format!("at most {}", ms(most)), measured, any && p99 <= most);
    }
    if let Some(least) = slo.refused_at_least {
        put("refused", format!("at least {least}"), cell.refused.to_string(), cell.refused >= least);
    }
    if let Some(most) = slo.wrong_at_most {
        put("wrong refusals", format!("at most {most}"), cell.wrong.to_string(), cell.wrong <= most);
    }
}

fn of_phase(all: &mut Vec<Assertion>, (scenario, summary): (&Scenario, &Summary), slo: &Slo, phase: usize) {
    let name = &scenario.phases[phase].name;
    if let (Some(least), Some(capacity)) = (slo.goodput, scenario.capacity) {
        let share = summary.goodput[phase] / capacity;
        all.push(Assertion {
            name: format!("goodput in {name}"),
            expected: format!("at least {least} of {capacity:.0}/s"),
            measured: format!("{share:.4}"),
            passed: share >= least,
        });
    }
    let followed = phase + 1 < scenario.phases.len();
    if let Some(most) = slo.recover_within.filter(|_| followed) {
        let recovered = summary.recovery[phase];
        all.push(Assertion {
            name: format!("normal after {name}"),
            expected: format!("within {}s", most.as_secs()),
            measured: recovered.map_or("never".to_owned(), |seconds| format!("{seconds}s")),
            passed: recovered.is_some_and(|seconds| u64::from(seconds) <= most.as_secs()),
        });
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn ms(duration: Duration) -> String {
    format!("{:.1}ms", duration.as_secs_f64() * 1e3)
}
