//! EFF-05: the last reload failed.
//!
//! No PgBouncer tells that its reload failed: what it leaves behind does.

use super::change::{Change, changes, told};
use crate::finding::Severity;
use crate::pgbouncer::{Section, find, value};
use crate::review::chain::{Kind, Pooler};
use crate::review::dossier::Dossier;
use crate::review::need::RUNNING;
use crate::review::place::{Known, Place};
use crate::review::rule::{Out, Rule};

pub(super) const RULE: Rule = Rule {
    code: "EFF-05",
    severity: Severity::Error,
    title: "the last reload failed",
    condition: "pgbouncer.reload_failed or poolwarden.reload_failed is told; or, of PgBouncer, from one line of the file on at least \
                two settings run with their compiled-in defaults instead of the file's values, while one above them holds",
    why: "A PgBouncer that meets a line it cannot read has already taken everything above it, and puts its compiled-in defaults in the \
          place of everything below: a third state that is in no file (PgBouncer's issue 1482). poolwarden keeps what ran \
          before, whole; then the file is only not in force.",
    fix: "put the line right, reload, and look at the running values",
    needs: &[RUNNING],
    check,
};

/// One default may be chance.
const FEWEST: usize = 2;

fn check(of: &Dossier, out: &mut Out<'_>) {
    let changes = changes(of);
    for source in 0..of.facts.len() {
        let here: Vec<&Change<'_>> = changes.iter().filter(|change| change.source == source).collect();
        let mut failed = false;
        for (whose, state) in [
            ("pgbouncer", "what stands above the faulty line is in force, and below it the compiled-in defaults are"),
            ("poolwarden", "what ran before goes on, whole, and nothing of the new file is in force"),
        ] {
            let fact = told(of, source, &format!("{whose}.reload_failed")).filter(|known| says_so(&known.value));
            let Some(fact) = fact else { continue };
            failed = true;
            out.find(format!("the last reload of {whose} failed"), &fact.place, "failed")
                .because(state)
                .fix("read why in its log, put the line right, reload, and see SHOW CONFIG");
        }
        if let Some((fallen, above)) = torn(of, &here).filter(|_| !failed) {
            report(fallen, above, &here, out);
        }
    }
}

fn report(first: &Change<'_>, above: &Known<String>, here: &[&Change<'_>], out: &mut Out<'_>) {
    let words: Vec<String> = here.iter().map(|change| change.words()).collect();
    out.find(
        format!("{}: from {} on PgBouncer runs its defaults: {}", first.pooler.name, first.key, words.join(", ")),
        &first.file.place,
        "from here on nothing of the file is in force",
    )
    .and(above, "up to here it is")
    .and(&first.running, "the compiled-in default")
    .because("a reload that fails leaves PgBouncer with half of the file and defaults for the rest")
    .fix(format!(
        "find the fault between these two lines or in PgBouncer's log, put it right, RELOAD, and see {} in SHOW CONFIG",
        first.key
    ));
}

/// The first setting that fell to its default, and the last one above it that holds.
fn torn<'a, 'b>(of: &Dossier, here: &'b [&'b Change<'a>]) -> Option<(&'b Change<'a>, &'a Known<String>)> {
    let fallen = |change: &&Change<'_>| {
        let entry = find(Section::Pgbouncer, &change.key);
        change.file.is_given() && entry.is_some_and(|entry| value::alike(entry, &change.running.value, entry.default))
    };
    let first = here.first().filter(|change| change.pooler.kind == Kind::PgBouncer && here.len() >= FEWEST)?;
    if !here.iter().all(fallen) {
        return None;
    }
    let holds = |key: &str| {
        let is_told = told(of, first.source, &format!("pgbouncer.config.{key}")).is_some();
        is_told && !here.iter().any(|change| change.key == key)
    };
    let (above, below) = around(first.pooler, &first.file.place, holds);
    above.filter(|_| !below).map(|above| (*first, above))
}

/// Of the settings that hold with another value than the default: the last above a place, and whether one stands below.
fn around<'a>(pooler: &'a Pooler, place: &Place, holds: impl Fn(&str) -> bool) -> (Option<&'a Known<String>>, bool) {
    let (mut above, mut below): (Option<(usize, &Known<String>)>, bool) = (None, false);
    let Place::Text { file, span } = place else { return (None, below) };
    for (key, known) in pooler.written.iter().filter(|(key, _)| !key.contains('.') && holds(key)) {
        let Place::Text { file: there, span: at } = &known.place else { continue };
        let is_default =
            find(Section::Pgbouncer, key).is_none_or(|entry| value::alike(entry, &known.value, entry.default));
        if there != file || is_default {
            continue;
        }
        if at.start > span.start {
            below = true;
        } else if above.is_none_or(|(start, _)| start < at.start) {
            above = Some((at.start, known));
        }
    }
    (above.map(|(_, known)| known), below)
}

/// Whether a fact says yes: a word for it, or the reason.
fn says_so(value: &str) -> bool {
    !["", "0", "no", "off", "false", "f"].contains(&value.trim().to_lowercase().as_str())
}
