//! `simulate --recording`: recorded traffic asked again, under its own settings and under others.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow};
use poolwarden_config::Config;
use poolwarden_pool::ClassId;
use poolwarden_sim::queueing::step_of;
use poolwarden_sim::recorded::{Contention, Prepared, Recorded};
use poolwarden_sim::study::Play;
use serde_json::{Map, Value, json};

use super::drill::print;
use super::simulate::{answer, candidates, exit, write_html};
use crate::cli::{Format, SimulateArgs};
use crate::discover;
use crate::rehearse::{self, Answer, Heard, Measured, at};

/// What chance begins with: there is little of it in a replay.
const SEED: u64 = 1;

pub(super) fn of_recording(args: &SimulateArgs, recording: &str) -> anyhow::Result<ExitCode> {
    let (files, span) = rehearse::find(recording, (args.config.as_deref(), args.recordings.as_deref()))?;
    let heard = rehearse::read(&files, span)?;
    let (name, text) = match (&args.config, &heard.settings) {
        (Some(path), _) => (path.display().to_string(), discover::read_text(path)?),
        (None, Some(settings)) => ("the recorded settings".to_owned(), settings.clone()),
        (None, None) => {
            return Err(anyhow!(
                "{recording}: its settings are not in it: name the file with --config poolwarden.toml"
            ));
        }
    };
    let choices = candidates(args, &name, &text)?;
    let mut answers = Vec::new();
    for (server, recorded) in &heard.servers {
        answers.push(of_server(args, &heard, &choices, (server, recorded))?);
    }
    let title = heard.span.map(|span| format!("recorded {} to {}", at(span.from_us), at(span.until_us)));
    let Some(mut whole) = answers.pop() else { return Err(anyhow!("{recording}: nothing was recorded")) };
    whole.title = title.unwrap_or_default();
    for other in answers {
        join(&mut whole, other);
    }
    whole.notes.extend(heard.notes.iter().cloned());
    write_html(args, &whole)?;
    print(&match args.format {
        Format::Text => format!("{}\n{}", whole.title, rehearse::text(&whole)),
        Format::Json => {
            let mut keys = Map::new();
            keys.insert("recording".to_owned(), described(&heard, &files));
            keys.extend(rehearse::keys(&whole));
            format!("{}\n", Value::Object(keys))
        }
    })?;
    Ok(exit(&whole))
}

fn described(heard: &Heard, files: &[std::path::PathBuf]) -> Value {
    json!({
        "files": files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
        "from": heard.span.map(|span| at(span.from_us)),
        "to": heard.span.map(|span| at(span.until_us)),
        "requests": heard.servers.values().map(|recorded| recorded.asks.len()).sum::<usize>(),
    })
}

/// Another server's pools beside these.
fn join(whole: &mut Answer, other: Answer) {
    whole.measured.extend(other.measured);
    for (mine, more) in whole.variants.iter_mut().zip(other.variants) {
        let known = mine.intervals.len() == mine.outcome.course.pools.len();
        mine.outcome.course.pools.extend(more.outcome.course.pools);
        mine.intervals =
            if known { [std::mem::take(&mut mine.intervals), more.intervals].concat() } else { Vec::new() };
        mine.smallest.extend(more.smallest);
        mine.is_extrapolated |= more.is_extrapolated;
    }
    whole.sensitivity.extend(other.sensitivity);
    whole.notes.extend(other.notes);
}

fn of_server(
    args: &SimulateArgs,
    heard: &Heard,
    choices: &[(String, Config)],
    (server, recorded): (&str, &Recorded),
) -> anyhow::Result<Answer> {
    let (_, config) = choices.first().context("a choice")?;
    let place = config.servers.iter().position(|of| of.name == server).with_context(|| {
        let known: Vec<&str> = config.servers.iter().map(|of| of.name.as_str()).collect();
        format!("the recording is of server {server}, and the settings know {}", known.join(", "))
    })?;
    let mut recorded = recorded.clone();
    let classes = config.host_settings(place).classes;
    for kind in &mut recorded.kinds {
        let name = heard.classes.get(&kind.class.0);
        let found = name.and_then(|name| classes.iter().position(|class| class.name == *name));
        kind.class = ClassId(found.and_then(|found| u8::try_from(found).ok()).unwrap_or(0));
    }
    let lasts = recorded.lasts;
    let measured = recorded.pools.iter().zip(recorded.measured()).map(|(key, of)| Measured {
        key: key.clone(),
        waits: of.waits,
        granted: of.granted,
        failed: of.refused + of.left,
        step: step_of(lasts),
        moments: of.moments,
    });
    let measured = measured.collect();
    let prepared = Prepared::new(recorded, SEED, args.spare_retries);
    let plays: Vec<(String, &dyn Play, &Config)> =
        choices.iter().map(|(name, config)| (name.clone(), &prepared as &dyn Play, config)).collect();
    let mut found = answer(args, &plays, place).map_err(|why| anyhow!("server {server}: {why}"))?;
    (found.seed, found.measured) = (SEED, measured);
    found.notes = notes(&prepared, &found);
    Ok(found)
}

/// What it rests on.
fn notes(prepared: &Prepared, answer: &Answer) -> Vec<String> {
    let fit = &prepared.fit;
    let mut notes = vec![match fit.contention {
        Contention::Alone => {
            format!("work was not slowed by other work, up to {} at once ({} leases)", fit.concurrency, fit.leases)
        }
        Contention::Shared(sharing) => format!(
            "work is slowed by other work: alone up to {:.1} at once, then by {:.0} % of itself for each more ({} leases)",
            sharing.free,
            sharing.slope * 100.0,
            fit.leases
        ),
        Contention::Queue(places) => {
            format!("work waits for other work, {places} at a time, as behind a lock ({} leases)", fit.leases)
        }
    }];
    let mut assumed = |count: u64, what: &str| {
        if count > 0 {
            notes.push(format!("assumed: {count} {what}"));
        }
    };
    assumed(prepared.recorded.unknown(), "requests were never granted; their work is drawn from others of their kind");
    let again = prepared.recorded.asks.iter().filter(|ask| ask.is_retry).count() as u64;
    if !prepared.spares {
        assumed(
            again,
            "requests came right after a refusal of the same client, and are taken for requests of their own (else: --spare-retries)",
        );
    }
    if let Some(first) = answer.variants.first() {
        assumed(
            first.outcome.delayed,
            "requests come later than recorded, since every client of their kind had one under way",
        );
        assumed(first.outcome.spared, "recorded retries are not made, since what they repeat was granted");
    }
    if prepared.recorded.connects.is_empty() {
        let connect = Duration::from_millis(5);
        notes.push(format!("assumed: no connect was recorded; each takes {connect:?}"));
    }
    notes
}
