//! `simulate`: a scenario or recorded traffic in virtual time, with the very core that runs.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use poolwarden_config::{Config, render};
use poolwarden_sim::load::Summary;
use poolwarden_sim::load::judge::{Verdict, judge};
use poolwarden_sim::queueing::{self, Rehearsed};
use poolwarden_sim::study::{Goal, Play, as_pgbouncer};
use serde_json::Value;

use super::drill::{print, scenario};
use crate::app::edit::{self, Edit};
use crate::cli::{Format, SimulateArgs};
use crate::load;
use crate::rehearse::{self, Answer, Effort, NO_SECRET, Progress};

/// A bound was missed.
const FAILED: u8 = 1;
/// Too little is known to say.
const INCONCLUSIVE: u8 = 3;
/// What the settings as they are, without `--set`, are called.
const AS_IT_IS: &str = "as it is";

pub(crate) fn simulate(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    match (&args.scenario, &args.recording) {
        (Some(path), _) => of_scenario(args, path),
        (None, Some(recording)) => super::rehearse::of_recording(args, recording),
        (None, None) => {
            Err(anyhow!("what is to be played? name a scenario file, or --recording PATH | last:24h | FROM/TO"))
        }
    }
}

fn of_scenario(args: &SimulateArgs, path: &Path) -> anyhow::Result<ExitCode> {
    let scenario = scenario(path)?;
    let name = format!("the pooler of {}", path.display());
    let choices = candidates(args, &name, &scenario.pooler)?;
    let (_, config) = choices.first().context("a choice")?;
    let played = queueing::play(&scenario, config).map_err(|why| anyhow!("{}: {why}", path.display()))?;
    let summary = Summary::of(&scenario, &played.record);
    let judged = judge(&scenario, &summary);
    let plays: Vec<(String, Rehearsed<'_>, &Config)> = choices
        .iter()
        .map(|(name, config)| (name.clone(), Rehearsed { scenario: &scenario, config }, config))
        .collect();
    let plays: Vec<(String, &dyn Play, &Config)> =
        plays.iter().map(|(name, play, config)| (name.clone(), play as &dyn Play, *config)).collect();
    let mut answer = answer(args, &plays, 0).map_err(|why| anyhow!("{}: {why}", path.display()))?;
    answer.title = format!("scenario {}", scenario.name);
    answer.seed = scenario.seed;
    write_html(args, &answer)?;
    print(&match args.format {
        Format::Text => load::simulated_text(&scenario, &summary, &judged, &rehearse::text(&answer)),
        Format::Json => {
            let mut keys = load::simulated(&scenario, &played, &summary, &judged);
            keys.extend(rehearse::keys(&answer));
            format!("{}\n", Value::Object(keys))
        }
    })?;
    Ok(match (judged.0, answer.inconclusive()) {
        (Verdict::Failed, _) => ExitCode::from(FAILED),
        // A verdict by the scenario's own bounds is one on its own arrivals, however few.
        (Verdict::Passed | Verdict::Void, Some(_)) if scenario.slos.is_empty() => ExitCode::from(INCONCLUSIVE),
        (Verdict::Passed | Verdict::Void, _) => ExitCode::SUCCESS, // in virtual time nobody is late
    })
}

/// What is wanted first; then what it is compared with.
pub(super) fn candidates(args: &SimulateArgs, name: &str, text: &str) -> anyhow::Result<Vec<(String, Config)>> {
    let mut all = rehearse::choices(&args.set)?;
    if args.set.is_empty() {
        all = vec![(AS_IT_IS.to_owned(), Vec::new())];
    } else {
        all.insert(1, (AS_IT_IS.to_owned(), Vec::new()));
    }
    all.into_iter().map(|(said, edits)| Ok((said, parsed(name, text, &edits)?))).collect()
}

fn parsed(name: &str, text: &str, edits: &[Edit]) -> anyhow::Result<Config> {
    let text = edit::toml(text, edits).map_err(|why| anyhow!("--set: {why}"))?;
    let (config, findings) = Config::parse(&text, |_| Ok(NO_SECRET.to_owned()));
    config.with_context(|| format!("{name} is refused\n\n{}", render(name, &text, &findings).trim_end()))
}

/// Plays every choice of `(name, what, config)`, of which this server's settings count.
pub(super) fn answer(
    args: &SimulateArgs,
    plays: &[(String, &dyn Play, &Config)],
    server: usize,
) -> Result<Answer, String> {
    let goal = Goal { wait_p99: args.goal_wait, failed: args.goal_failed / 100.0 };
    let effort = if args.quick { Effort::QUICK } else { Effort::ALL };
    let progress = Progress::new();
    let mut told = |what: &str, part: f64| progress.tell(what, part);
    let mut variants = Vec::new();
    let settings = |config: &Config| config.host_settings(server);
    for (name, play, config) in plays {
        variants.push(rehearse::variant(*play, (name.clone(), &settings(config)), goal, effort, &mut told)?);
    }
    let Some((name, play, config)) = plays.first() else { return Err("nothing is to be played".to_owned()) };
    if args.pgbouncer {
        let (said, settings) = (format!("{name}, by PgBouncer"), as_pgbouncer(&settings(config)));
        variants.push(rehearse::variant(*play, (said, &settings), goal, effort, &mut told)?);
    }
    let sensitivity = rehearse::sensitivity(*play, &settings(config), effort, &mut told)?;
    let server = config.servers.get(server).map(|server| server.name.clone()).unwrap_or_default();
    Ok(Answer {
        title: String::new(),
        seed: 0,
        server,
        measured: Vec::new(),
        variants,
        sensitivity,
        goal,
        notes: Vec::new(),
    })
}

pub(super) fn write_html(args: &SimulateArgs, answer: &Answer) -> anyhow::Result<()> {
    let Some(path) = &args.html else { return Ok(()) };
    std::fs::write(path, rehearse::html(answer)).with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn exit(answer: &Answer) -> ExitCode {
    if answer.inconclusive().is_some() { ExitCode::from(INCONCLUSIVE) } else { ExitCode::SUCCESS }
}
