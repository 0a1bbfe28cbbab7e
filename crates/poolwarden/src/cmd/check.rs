//! `check`: the review of the whole chain of limits.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, anyhow, bail};
use poolwarden_config::Severity;
use poolwarden_config::review::baseline::{self, Entry};
use poolwarden_config::review::{self as rules, Atlas, Dossier, Paint, Required, Terms};
use poolwarden_console::rfc3339;

use super::said::{on_terminal, print};
use crate::cli::{CheckArgs, CheckFormat, FailLevel, Require};
use crate::discover;
use crate::live;
use crate::rehearse;
use crate::review::{Inputs, Review, fix};
use crate::whole;

/// An edit may make another possible; none needs more than a few.
const MOST_ROUNDS: usize = 8;

pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let known = known(args)?;
    let mut paths = args.files.clone();
    paths.extend(args.prometheus.iter().cloned());
    if paths.is_empty() && args.live.is_empty() {
        paths = Inputs::usual()?;
    }
    let mut inputs = Inputs::read(&paths);
    let mut incomplete = Vec::new();
    // Files first: whose databases are pooled decides which backends are others'.
    let files = inputs.gathered().dossier;
    for url in &args.live {
        let told = live::ask(url, &|database| pooled(&files, database))?;
        incomplete.extend(told.unseen.iter().map(|what| format!("{}: {what}", told.facts.name)));
        inputs.told(told.facts);
    }
    if let Some(recording) = &args.recording {
        let config = paths.iter().find(|path| path.extension().is_some_and(|extension| extension == "toml"));
        let (files, span) = rehearse::find(recording, (config.map(PathBuf::as_path), None))?;
        let heard = rehearse::read(&files, span)?;
        incomplete.extend(heard.notes.iter().cloned());
        inputs.told(rehearse::facts(&format!("recording {recording}"), &heard));
    }
    let mut review = reviewed(args, &mut inputs, &known, &incomplete);
    if args.fix {
        let mut rounds = 0;
        while let Some(difference) = fix::fix(&review, &inputs.files)? {
            show_difference(args.format, &rules::printable(&difference))?;
            inputs = inputs.again()?;
            review = reviewed(args, &mut inputs, &known, &incomplete);
            rounds += 1;
            if rounds == MOST_ROUNDS {
                bail!(
                    "the edits do not come to an end after {MOST_ROUNDS} rounds; the files are as the last one left them"
                );
            }
        }
    }
    for (file, why) in &review.gathered.unreadable {
        eprintln!("poolwarden: {}", rules::printable(&format!("{file}: {why}")));
    }
    if let (true, Some(file)) = (args.update_baseline, &args.baseline) {
        review = rebased(args, review, file, &mut inputs, &incomplete)?;
    }
    show(args.format, &review)?;
    Ok(ExitCode::from(review.exit()))
}

/// Whether a database of PostgreSQL is behind a pooler or an application's own pool; `None`: any may be, or nobody told.
pub(super) fn pooled(files: &Dossier, database: &str) -> Option<bool> {
    let served = files.pools().map(|(_, pool)| pool.database.as_deref());
    let asked = files.apps.iter().map(|app| app.pool.as_ref().map(|pool| pool.value.as_str()));
    let mut all = served.chain(asked).peekable();
    all.peek()?;
    all.try_fold(false, |is_pooled, name| Some(is_pooled | (name? == database)))
}

/// What the baseline knows. Where it is to be written it need not be there.
fn known(args: &CheckArgs) -> anyhow::Result<Vec<Entry>> {
    let Some(file) = args.baseline.as_deref().filter(|_| !args.update_baseline) else { return Ok(Vec::new()) };
    let bytes = discover::read_bounded(file, discover::MAX_FILE_BYTES);
    let bytes = bytes.with_context(|| format!("no baseline in {}: --update-baseline writes one", file.display()))?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{} is not UTF-8 text", file.display()))?;
    baseline::read(&text).map_err(|why| anyhow!("{}: {why}", file.display()))
}

fn reviewed(args: &CheckArgs, inputs: &mut Inputs, known: &[Entry], incomplete: &[String]) -> Review {
    let gathered = inputs.gathered();
    let report = rules::review(&gathered.dossier);
    let required: Vec<Required> = args
        .require
        .iter()
        .map(|require| match require {
            Require::Topology => Required::Topology,
            Require::Live => Required::Live,
            Require::Recording => Required::Recording,
        })
        .collect();
    let fail_level = match args.fail_level {
        FailLevel::Error => Severity::Error,
        FailLevel::Warning => Severity::Warning,
        FailLevel::Info => Severity::Info,
    };
    let today = today();
    let terms = Terms { baseline: known, today: &today, required: &required, fail_level };
    let verdict = rules::judge(&gathered, report, &terms);
    Review::new(gathered, verdict, incomplete.to_vec(), args.baseline.is_some())
}

/// Writes the baseline, and reviews with it. What cannot be read or concluded must not become what is known.
fn rebased(
    args: &CheckArgs,
    review: Review,
    file: &Path,
    inputs: &mut Inputs,
    incomplete: &[String],
) -> anyhow::Result<Review> {
    if !review.gathered.unreadable.is_empty() {
        eprintln!("poolwarden: {} is not written: not all files could be read", file.display());
        return Ok(review);
    }
    let text = {
        let atlas = Atlas::new(&review.gathered.dossier);
        baseline::write(&atlas, review.counting().map(|judged| &judged.finding))
    };
    whole::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    let known = baseline::read(&text).map_err(|why| anyhow!("{}: {why}", file.display()))?;
    Ok(reviewed(args, inputs, &known, incomplete))
}

/// The day, `2026-11-22`, in UTC.
pub(super) fn today() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = rfc3339(u64::try_from(since.as_millis()).unwrap_or(0));
    now.split('T').next().unwrap_or_default().to_owned()
}

/// For people the difference is a result; a program reads something else there.
fn show_difference(format: CheckFormat, difference: &str) -> anyhow::Result<()> {
    match format {
        CheckFormat::Text => print(&format!("{difference}\n")),
        CheckFormat::Json | CheckFormat::Sarif | CheckFormat::Github => {
            eprint!("{difference}");
            Ok(())
        }
    }
}

fn show(format: CheckFormat, review: &Review) -> anyhow::Result<()> {
    match format {
        CheckFormat::Text => print(&review.text(if on_terminal() { Paint::Colour } else { Paint::Plain })),
        CheckFormat::Json => print(&review.json()),
        CheckFormat::Sarif => print(&review.sarif()),
        CheckFormat::Github => {
            print(&review.github())?;
            match std::env::var_os("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()) {
                Some(file) => {
                    let file = Path::new(&file);
                    let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
                    let written = opened.and_then(|mut opened| opened.write_all(review.markdown().as_bytes()));
                    written.with_context(|| format!("GITHUB_STEP_SUMMARY: {}", file.display()))
                }
                None => Ok(()),
            }
        }
    }
}
