//! A review as SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/>), for code scanning and for editors.
//!
//! Columns are Unicode code points from 1; paths are relative to where the review ran, absolute ones are file URIs.

use poolwarden_config::Severity;
use poolwarden_config::review::{Atlas, Edit, Finding, Judged, Label, Place, Rule, Spot, Standing, rules};
use serde_json::{Value, json};

use super::Review;
use crate::remote::escaped;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

pub(super) fn sarif(review: &Review) -> Value {
    let atlas = review.atlas();
    let results: Vec<Value> = review.verdict.findings.iter().map(|judged| result(review, &atlas, judged)).collect();
    let mut notifications: Vec<Value> = Vec::new();
    for (file, why) in &review.gathered.unreadable {
        let location = json!({"physicalLocation": {"artifactLocation": {"uri": uri(file)}}});
        notifications.push(json!({"level": "error", "message": {"text": why}, "locations": [location]}));
    }
    for line in review.incomplete.iter().chain(&review.verdict.missing) {
        notifications.push(json!({"level": "warning", "message": {"text": line}}));
    }
    for one in &review.verdict.not_checked {
        let of = if one.of.is_empty() { String::new() } else { format!(" for {}", one.of.join(", ")) };
        let text = format!("{} was not checked{of}: missing: {}", one.code, one.needs.join(", "));
        notifications.push(json!({"level": "note", "message": {"text": text}, "associatedRule": {"id": one.code}}));
    }
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "poolwarden",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules().map(rule).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": review.gathered.unreadable.is_empty(),
                "exitCode": review.exit(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    })
}

fn rule(rule: &'static Rule) -> Value {
    let needs: Vec<String> = rule.needs.iter().map(|need| format!("- {}: {}", need.name, need.from)).collect();
    let markdown = format!(
        "{}\n\n**Fires when** `{}`\n\n**Fix:** {}\n\n**Needs**\n\n{}\n",
        rule.why,
        rule.condition,
        rule.fix,
        needs.join("\n")
    );
    json!({
        "id": rule.code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": format!("{}\nfires when {}\nfix: {}", rule.why, rule.condition, rule.fix), "markdown": markdown},
        "defaultConfiguration": {"level": level(rule.severity)},
    })
}

fn result(review: &Review, atlas: &Atlas<'_>, judged: &Judged) -> Value {
    let finding = &judged.finding;
    let mut result = json!({
        "ruleId": finding.code,
        "level": level(finding.severity),
        "kind": "fail",
        "message": {"text": message(finding)},
        "locations": finding.labels.first().map(|label| location(atlas, label)).into_iter().collect::<Vec<_>>(),
        "partialFingerprints": {"poolwarden/v1": judged.fingerprint},
    });
    if let Some(index) = rules().position(|rule| rule.code == finding.code) {
        result["ruleIndex"] = json!(index);
    }
    let related: Vec<Value> = finding
        .labels
        .iter()
        .skip(1)
        .enumerate()
        .map(|(id, label)| {
            let mut location = location(atlas, label);
            location["id"] = json!(id + 1);
            location
        })
        .collect();
    if !related.is_empty() {
        result["relatedLocations"] = json!(related);
    }
    if !finding.fix.edits.is_empty() {
        result["fixes"] = json!([fix(atlas, finding)]);
    }
    if review.compared {
        result["baselineState"] = json!(if judged.standing == Standing::Known { "unchanged" } else { "new" });
    }
    if let Standing::Allowed(reason) = &judged.standing {
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": reason}]);
    }
    result
}

fn message(finding: &Finding) -> String {
    let said = [("why: ", &finding.why), ("fix: ", &finding.fix.text)];
    let more = said.iter().filter(|(_, text)| !text.is_empty()).map(|(word, text)| format!("\n{word}{text}"));
    finding.message.clone() + &more.collect::<String>()
}

fn location(atlas: &Atlas<'_>, label: &Label) -> Value {
    let mut location = match atlas.spot(&label.place) {
        Some(spot) => {
            json!({"physicalLocation": {"artifactLocation": {"uri": uri(spot.file)}, "region": region(&spot)}})
        }
        None => {
            let words = atlas.words(&label.place).unwrap_or_default();
            json!({"logicalLocations": [{"fullyQualifiedName": words, "kind": "member"}]})
        }
    };
    if !label.text.is_empty() {
        location["message"] = json!({"text": label.text});
    }
    location
}

fn region(spot: &Spot<'_>) -> Value {
    json!({
        "startLine": spot.line,
        "startColumn": spot.column,
        "endLine": spot.end_line,
        "endColumn": spot.end_column,
    })
}

fn fix(atlas: &Atlas<'_>, finding: &Finding) -> Value {
    let change = |edit: &Edit| {
        let spot = atlas.spot(&Place::Text { file: edit.file, span: edit.span.clone() })?;
        Some(json!({
            "artifactLocation": {"uri": uri(spot.file)},
            "replacements": [{"deletedRegion": region(&spot), "insertedContent": {"text": edit.new}}],
        }))
    };
    let changes: Vec<Value> = finding.fix.edits.iter().filter_map(change).collect();
    json!({"description": {"text": finding.fix.text}, "artifactChanges": changes})
}

/// A path as a URI: each part escaped, the slashes kept.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path);
    let parts: Vec<String> = path.split('/').map(escaped).collect();
    let joined = parts.join("/");
    if path.starts_with('/') { format!("file://{joined}") } else { joined }
}
