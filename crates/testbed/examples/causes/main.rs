//! Is `why` right? `causes [RUNS] [SITUATION|raise|story|rush ...]`.
//!
//! Fourteen situations on a real PostgreSQL with the built binary, each played so many times by other seeds; the story's question;
//! ten cases in which raising helps, raised and measured; and the answers of an exhausted poolwarden on busy cores. What is
//! demanded stands here and in `causes::judge`. A run that fails leaves a file with everything that was said and counted. It fails
//! if anything was missed. The last line is JSON.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]

use std::time::Duration;

use poolwarden_testbed::causes::raise::{CASES, Case, Gained, gained, story};
use poolwarden_testbed::causes::rush::Rush;
use poolwarden_testbed::causes::{Pace, Played, Situation, play};
use serde_json::{Value, json};

/// The story's question is answered within this.
const STORY_WITHIN: Duration = Duration::from_secs(1);
/// Most that a stated gain may differ from the measured one, as a share of that.
const MOST_OFF: f64 = 0.2;
/// Most requests that may come late, as a share, and how often a case is tried.
const MOST_LATE: f64 = 0.01;
const TRIES: u32 = 4;
/// Most that any answer may take while everything is exhausted.
const MOST_MS: f64 = 1_000.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runs: u64 = arguments.first().map_or(5, |text| text.parse().expect("a number of runs"));
    let first: u64 = std::env::var("CAUSES_SEED").map_or(1, |text| text.parse().expect("a seed"));
    let wanted = |name: &str| arguments.len() < 2 || arguments[1..].iter().any(|wanted| wanted == name);
    let mut missed = Vec::new();
    let mut played = Vec::new();
    for situation in Situation::ALL.into_iter().filter(|one| wanted(one.name())) {
        for seed in first..first + runs {
            let run = play(situation, seed, Pace::LONG);
            missed.extend(told(&run));
            played.push(run);
        }
    }
    table(&played);
    let story = wanted("story").then(|| stories(runs, &mut missed));
    let raised = wanted("raise").then(|| raises(&mut missed));
    let rushed = wanted("rush").then(|| rush(&mut missed));
    let all: Vec<Value> = played.iter().map(Played::json).collect();
    println!("{}", json!({ "runs": all, "story": story, "raised": raised, "rush_worst_ms": rushed }));
    assert!(missed.is_empty(), "missed: {missed:#?}");
}

/// Says how a run went, and keeps what went wrong.
fn told(run: &Played) -> Vec<String> {
    let name = format!("{} {}", run.situation.name(), run.seed);
    let quiet = run.quiet.as_secs();
    match run.right_after {
        Some(after) => {
            eprintln!("{name:<24} right after {:>5} ms, quiet {quiet:>2} s {}", after.as_millis(), run.chosen)
        }
        None => eprintln!("{name:<24} never right, quiet {quiet:>2} s {}", run.chosen),
    }
    let wanted = std::env::var_os("CAUSES_KEEP").is_some();
    let file = (wanted || !run.faults.is_empty()).then(|| run.keep());
    let Some(file) = file.filter(|_| !run.faults.is_empty()) else { return Vec::new() };
    run.faults.iter().for_each(|fault| eprintln!("{:<24}   {fault}", ""));
    eprintln!("{:<24}   see {}", "", file.display());
    run.faults.iter().map(|fault| format!("{name}: {fault}")).collect()
}

/// One line per situation.
fn table(played: &[Played]) {
    eprintln!(
        "{:<22} {:>5} {:>6} {:>14} {:>8} {:>10}",
        "situation", "runs", "right", "slowest, ms", "numbers", "differing"
    );
    for situation in Situation::ALL {
        let runs: Vec<&Played> = played.iter().filter(|run| run.situation == situation).collect();
        if runs.is_empty() {
            continue;
        }
        let right = runs.iter().filter(|run| run.faults.is_empty()).count();
        let slowest = runs.iter().filter_map(|run| run.right_after).max().unwrap_or_default().as_millis();
        let (all, differing) = runs.iter().fold((0, 0), |sum, run| (sum.0 + run.compared.0, sum.1 + run.compared.1));
        eprintln!("{:<22} {:>5} {right:>6} {slowest:>14} {all:>8} {differing:>10}", situation.name(), runs.len());
    }
}

fn stories(runs: u64, missed: &mut Vec<String>) -> Value {
    let all = (1..=runs).map(|seed| {
        let story = story(seed);
        let after = story.answered_after.map(|after| after.as_millis());
        eprintln!("story {seed}: \"no effect, user binds at 3\" after {after:?} ms");
        if story.answered_after.is_none_or(|after| after > STORY_WITHIN) {
            missed.push(format!("story {seed}: answered after {after:?} ms: {}", story.said));
        }
        json!(after.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)))
    });
    json!({ "answered_after_ms": all.collect::<Vec<_>>() })
}

fn raises(missed: &mut Vec<String>) -> Value {
    let mut all = Vec::new();
    for (place, case) in CASES.iter().enumerate() {
        match measured(case, place as u64 + 1) {
            Ok(gained) => {
                let (stated, measured, off) = (gained.stated, gained.measured, gained.off() * 100.0);
                eprintln!(
                    "raise {case:?} to {}: {stated:.1}/s stated, {measured:.1}/s measured, {off:.1} % off",
                    gained.enough
                );
                if gained.off().is_nan() || gained.off() > MOST_OFF {
                    missed.push(format!("raise {case:?}: {}", gained.record));
                }
                let mut record = gained.record;
                record["why"].take();
                record["off"] = json!((off * 100.0).round() / 10_000.0);
                all.push(record);
            }
            Err(what) => {
                eprintln!("raise {case:?}: {what}");
                missed.push(format!("raise {case:?}: {what}"));
            }
        }
    }
    json!(all)
}

/// Measures a case, and again if the machine was too busy to bring the load.
fn measured(case: &Case, seed: u64) -> Result<Gained, String> {
    for _ in 0..TRIES {
        let gained = gained(case, seed)?;
        if gained.late <= MOST_LATE {
            return Ok(gained);
        }
        eprintln!("raise {case:?}: {:.1} % of the requests came late, measured again", gained.late * 100.0);
    }
    Err(format!("the machine was too busy {TRIES} times"))
}

fn rush(missed: &mut Vec<String>) -> Value {
    let worst = Rush::start(50, 5_000).worst(20);
    eprintln!("while all is exhausted, worst of 20 in ms: {worst}");
    for (name, ms) in worst.as_object().into_iter().flatten() {
        let counts = ["pools", "waiting", "tries"].contains(&name.as_str());
        if !counts && ms.as_f64().is_none_or(|ms| ms.is_nan() || ms >= MOST_MS) {
            missed.push(format!("{name} took {ms} ms, at most {MOST_MS}"));
        }
    }
    worst
}
