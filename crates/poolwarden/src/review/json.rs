//! A review for programs. The names are a contract: they are added to, never changed.

use poolwarden_config::review::chain::Bound;
use poolwarden_config::review::waterfall::{Step, Waterfall};
use poolwarden_config::review::{Atlas, Judged, Label, Standing};
use serde_json::{Value, json};

use super::Review;

pub(super) fn json(review: &Review) -> Value {
    let atlas = review.atlas();
    let verdict = &review.verdict;
    let counts = review.counts();
    let findings: Vec<Value> = verdict.findings.iter().map(|judged| finding(&atlas, judged)).collect();
    let unchecked = verdict.not_checked.iter().map(|one| json!({"code": one.code, "needs": one.needs, "of": one.of}));
    let vanished = verdict
        .vanished
        .iter()
        .map(|entry| json!({"code": entry.code, "fingerprint": entry.fingerprint, "message": entry.words}));
    let unreadable = review.gathered.unreadable.iter().map(|(file, why)| json!({"file": file, "why": why}));
    json!({
        "schema": 1,
        "findings": findings,
        "not_checked": unchecked.collect::<Vec<_>>(),
        "chain": review.waterfalls.iter().map(waterfall).collect::<Vec<_>>(),
        "vanished": vanished.collect::<Vec<_>>(),
        "unreadable": unreadable.collect::<Vec<_>>(),
        "inconclusive": review.incomplete.iter().chain(&verdict.missing).collect::<Vec<_>>(),
        "summary": {
            "errors": counts.errors,
            "warnings": counts.warnings,
            "infos": counts.infos,
            "known": counts.known,
            "allowed": counts.allowed,
            "exit_code": review.exit(),
        },
    })
}

fn finding(atlas: &Atlas<'_>, judged: &Judged) -> Value {
    let finding = &judged.finding;
    let spans: Vec<Value> = finding.labels.iter().filter_map(|label| span(atlas, label)).collect();
    let told: Vec<Value> = finding.labels.iter().filter_map(|label| told(atlas, label)).collect();
    let (state, reason) = match &judged.standing {
        Standing::New => ("new", None),
        Standing::Known => ("known", None),
        Standing::Allowed(reason) => ("allowed", Some(reason)),
    };
    json!({
        "code": finding.code,
        "severity": finding.severity.name(),
        "message": finding.message,
        "spans": spans,
        "fix": finding.fix.text,
        "why": finding.why,
        "told": told,
        "fixable": finding.fix.safe,
        "state": state,
        "reason": reason,
        "fingerprint": judged.fingerprint,
    })
}

fn span(atlas: &Atlas<'_>, label: &Label) -> Option<Value> {
    let spot = atlas.spot(&label.place)?;
    Some(json!({
        "file": spot.file,
        "line": spot.line,
        "column": spot.column,
        "end_line": spot.end_line,
        "end_column": spot.end_column,
        "label": label.text,
        "primary": label.primary,
    }))
}

/// What is in no file: whose default it is, or who told it.
fn told(atlas: &Atlas<'_>, label: &Label) -> Option<Value> {
    let place = atlas.words(&label.place)?;
    Some(json!({"place": place, "label": label.text, "primary": label.primary}))
}

fn waterfall(of: &Waterfall) -> Value {
    let step = |step: &Step| {
        json!({
            "limit": step.name,
            "connections": step.most.and_then(Bound::number),
            "unlimited": step.most == Some(Bound::Unlimited),
            "sentence": step.words,
            "tightest": step.tightest,
        })
    };
    let pooler = Some(&of.pooler).filter(|pooler| !pooler.is_empty());
    json!({"pooler": pooler, "server": of.server, "steps": of.steps.iter().map(step).collect::<Vec<_>>()})
}
