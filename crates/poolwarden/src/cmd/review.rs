//! `review-given`: the review of a running process, in a process of its own.
//!
//! What goes wrong here ends this process and not the one that pools; it has a bound in time there, and the CPU that nobody
//! else wants.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, bail};
use poolwarden_config::Severity;
use poolwarden_config::review::{self as rules, Terms};

use super::check::{pooled, today};
use super::said::print;
use crate::discover;
use crate::review::{Given, Inputs, Review};

/// A file may include others of its size.
const MAX_GIVEN: u64 = 8 * discover::MAX_FILE_BYTES;
/// The system's least urgent.
const LAST: i32 = 19;

pub(crate) fn review() -> anyhow::Result<ExitCode> {
    // As urgent as before where that is forbidden: the review is short all the same.
    let _kept = rustix::process::nice(LAST);
    let mut text = String::new();
    std::io::stdin().lock().take(MAX_GIVEN + 1).read_to_string(&mut text).context("standard input")?;
    if text.len() as u64 > MAX_GIVEN {
        bail!("the configuration and what it includes are larger than {MAX_GIVEN} bytes");
    }
    let mut given = Given::read(&text)?;
    let files = Inputs::given(Given { texts: given.texts.clone(), facts: Vec::new() }).gathered().dossier;
    given.count_others(&|database| pooled(&files, database));
    let gathered = Inputs::given(given).gathered();
    let report = rules::review(&gathered.dossier);
    let terms = Terms { baseline: &[], today: &today(), required: &[], fail_level: Severity::Warning };
    let verdict = rules::judge(&gathered, report, &terms);
    print(&Review::new(gathered, verdict, Vec::new(), false).json())?;
    Ok(ExitCode::SUCCESS)
}
