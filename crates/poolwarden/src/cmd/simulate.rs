//! `simulate`: a scenario in virtual time, with the very core that runs.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use poolwarden_config::{Config, render};
use poolwarden_sim::load::Summary;
use poolwarden_sim::load::judge::{Verdict, judge};
use poolwarden_sim::queueing;

use super::drill::{print, scenario};
use crate::app::edit::{self, Edit};
use crate::cli::{Format, SimulateArgs};
use crate::load;

/// A bound was missed.
const FAILED: u8 = 1;

pub(crate) fn simulate(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let scenario = scenario(&args.scenario)?;
    let edits = args.set.iter().map(|set| edit(set)).collect::<anyhow::Result<Vec<Edit>>>()?;
    let text = edit::toml(&scenario.pooler, &edits).map_err(|why| anyhow!("--set: {why}"))?;
    let (config, findings) = Config::parse(&text, |_| Err("a simulated pooler needs no secrets".to_owned()));
    let name = format!("the pooler of {}", args.scenario.display());
    let config =
        config.with_context(|| format!("{name} is refused\n\n{}", render(&name, &text, &findings).trim_end()))?;
    let played = queueing::play(&scenario, &config).map_err(|why| anyhow!("{}: {why}", args.scenario.display()))?;
    let summary = Summary::of(&scenario, &played.record);
    let judged = judge(&scenario, &summary);
    let printed = match args.format {
        Format::Text => load::simulated_text(&scenario, &played, &summary, &judged),
        Format::Json => format!("{}\n", load::simulated(&scenario, &played, &summary, &judged)),
    };
    print(&printed)?;
    Ok(match judged.0 {
        Verdict::Passed | Verdict::Void => ExitCode::SUCCESS, // in virtual time nobody is late
        Verdict::Failed => ExitCode::from(FAILED),
    })
}

/// `pools.app.size=40`.
fn edit(set: &str) -> anyhow::Result<Edit> {
    let (key, value) =
        set.split_once('=').with_context(|| format!("--set {set}: write KEY=VALUE, for example pools.app.size=40"))?;
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Ok(Edit { key: key.trim().to_owned(), value: unquoted.unwrap_or(value).to_owned(), quoted: unquoted.is_some() })
}
