//! EFF-01: the file is not what runs.

use super::change::{Change, changes, is_proposed};
use crate::finding::Severity;
use crate::review::chain::Kind;
use crate::review::dossier::Dossier;
use crate::review::need::RUNNING;
use crate::review::place::{Known, Place};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "EFF-01",
    severity: Severity::Error,
    title: "the file is not what runs",
    condition: "a setting of the file that a reload applies differs from the running one, or poolwarden.file_hash differs from \
                poolwarden.config_hash; not in a file called NAME.proposed.EXT",
    why: "A limit that was edited and never loaded is how a team increases the pool and nothing changes: everybody reads the file, \
          and the process has another number. The next restart brings the file's, at an hour that nobody chose.",
    fix: "reload, and look at the running value afterwards; or put the running value into the file",
    needs: &[RUNNING],
    check,
};

/// More places than these say nothing new.
const MOST_SHOWN: usize = 8;

fn check(of: &Dossier, out: &mut Out<'_>) {
    let mut all = changes(of);
    all.retain(|change| change.live && !is_proposed(change.pooler));
    for drift in all.chunk_by(|a, b| a.source == b.source) {
        report(of, drift, out);
    }
    hashes(of, out);
}

fn report(of: &Dossier, drift: &[Change<'_>], out: &mut Out<'_>) {
    let Some(first) = drift.first() else { return };
    let who = of.facts.get(first.source).map_or("", |facts| facts.name.as_str());
    let words: Vec<String> = drift.iter().take(MOST_SHOWN).map(Change::words).collect();
    let more = drift.len().saturating_sub(MOST_SHOWN);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let finding = out.find(
        format!("{} is not what {who} runs: {}{more}", first.pooler.name, words.join(", ")),
        &first.file.place,
        format!("{} is {} in the file", first.key, first.file.value),
    );
    finding.and(&first.running, format!("{} runs", first.running.value));
    for change in drift.iter().take(MOST_SHOWN).skip(1) {
        finding.and(&change.file, change.words());
    }
    let reload = match first.pooler.kind {
        Kind::Poolwarden => "poolwarden apply",
        Kind::PgBouncer | Kind::RdsProxy | Kind::Odyssey => "RELOAD on its console",
    };
    finding
        .because("whoever reads the file reckons with limits that are not in force")
        .fix(format!("{reload}, then see {} in SHOW CONFIG", first.key));
}

/// A file may differ where nobody told the settings one by one.
fn hashes(of: &Dossier, out: &mut Out<'_>) {
    for (source, facts) in of.facts.iter().enumerate() {
        let hash = |key: &str| facts.facts.get(key).filter(|hash| !hash.is_empty());
        let (Some(file), Some(running)) = (hash("poolwarden.file_hash"), hash("poolwarden.config_hash")) else {
            continue;
        };
        if file != running {
            let place = |key: &str| Place::Told { source, key: key.to_owned() };
            let message = format!("the file of {} is not what it runs", facts.name);
            out.find(message, &place("poolwarden.file_hash"), file.clone())
                .and(&Known { value: (), place: place("poolwarden.config_hash") }, running.clone())
                .because("whoever reads the file reckons with limits that are not in force")
                .fix("poolwarden apply, then see SHOW CONFIG");
        }
    }
}
