//! `drill run`: scenarios with real connections, and a verdict.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use poolwarden_config::render;
use poolwarden_sim::load::Summary;
use poolwarden_sim::load::judge::{Verdict, judge};
use poolwarden_sim::scenario::{self, Group, Scenario};
use serde_json::json;

use crate::cli::{DrillArgs, DrillVerb, Format};
use crate::load::{self, Target};

/// A bound was missed.
const FAILED: u8 = 1;
/// The generator was too late to say.
const VOID: u8 = 3;

pub(crate) fn drill(args: &DrillArgs) -> anyhow::Result<ExitCode> {
    let DrillVerb::Run(args) = &args.verb;
    let target = Target::read(&args.database)?;
    let scenarios = args.drills.iter().map(|path| scenario(path)).collect::<anyhow::Result<Vec<Scenario>>>()?;
    let (mut drills, mut code) = (Vec::new(), 0);
    for scenario in &scenarios {
        let idles = |group: &Group| group.parts.iter().any(|part| !part.hold.idle.is_zero());
        if scenario.groups.iter().any(idles) {
            eprintln!("poolwarden: {}: holds that are idle are simulated only: here they end at once", scenario.name);
        }
        if !scenario.faults.is_empty() {
            eprintln!("poolwarden: {}: faults are simulated only and left out here", scenario.name);
        }
        let record = load::run(scenario, &target).with_context(|| scenario.name.clone())?;
        let summary = Summary::of(scenario, &record);
        let judged = judge(scenario, &summary);
        code = match (code, judged.0) {
            (_, Verdict::Failed) => FAILED,
            (0, Verdict::Void) => VOID,
            (before, Verdict::Passed | Verdict::Void) => before,
        };
        match args.format {
            Format::Text => print(&load::drill_text(scenario, &summary, &judged))?,
            Format::Json => drills.push(load::drill(scenario, &record, &summary, &judged)),
        }
    }
    if args.format == Format::Json {
        print(&format!("{}\n", json!({ "schema": 1, "drills": drills })))?;
    }
    Ok(ExitCode::from(code))
}

/// Reads a scenario; what is wrong with it is shown at its place.
pub(super) fn scenario(path: &Path) -> anyhow::Result<Scenario> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    scenario::read(&text).map_err(|faults| anyhow!("{name} is refused\n\n{}", render(&name, &text, &faults).trim_end()))
}

/// To standard output.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("standard output")
}
