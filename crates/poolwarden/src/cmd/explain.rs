//! `explain`: the manual page of a rule, a limit or a cause.

use std::process::ExitCode;

use anyhow::bail;
use poolwarden_config::review::{Rule, manual as catalogue, rules};
use poolwarden_console::manual::{self, Page};
use serde_json::{Value, json};

use super::said::{print, width};
use crate::cli::{ExplainArgs, Format};

/// Where the terminal does not say.
const WIDTH: usize = 80;

pub(crate) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let width = width().map_or(WIDTH, |columns| usize::from(columns).clamp(60, 120));
    print(&explained(args.code.as_deref(), args.format, width)?)?;
    Ok(ExitCode::SUCCESS)
}

fn explained(code: Option<&str>, format: Format, width: usize) -> anyhow::Result<String> {
    let Some(code) = code else {
        return Ok(match format {
            Format::Json => all(rules().collect(), manual::pages().collect()),
            Format::Text => format!("{}\n{}", catalogue::list(), manual::list()),
        });
    };
    let (rule, pages) = (catalogue::find(code), manual::find(code));
    if rule.is_none() && pages.is_empty() {
        match catalogue::nearest_code(code).or_else(|| manual::nearest(code)) {
            Some(near) => bail!("no such code: {code}; did you mean {near}?"),
            None => bail!("no such code: {code}; `poolwarden explain` lists all"),
        }
    }
    let text = |page: &&Page| manual::text(page, width);
    Ok(match format {
        Format::Json => all(rule.into_iter().collect(), pages),
        Format::Text => {
            let rule = rule.map(|rule| catalogue::text(rule, width));
            rule.into_iter().chain(pages.iter().map(text)).collect::<Vec<_>>().join("\n")
        }
    })
}

/// Pages as JSON, rules first.
fn all(rules: Vec<&Rule>, pages: Vec<&Page>) -> String {
    let mut said = manual::json(pages);
    if let Some(pages) = said["pages"].as_array_mut() {
        pages.splice(0..0, rules.into_iter().map(page));
    }
    format!("{said}\n")
}

fn page(rule: &Rule) -> Value {
    let needs = rule.needs.iter().map(|need| json!({"name": need.name, "from": need.from}));
    json!({
        "code": rule.code,
        "kind": "rule",
        "severity": rule.severity.name(),
        "title": rule.title,
        "condition": rule.condition,
        "why": rule.why,
        "fix": rule.fix,
        "needs": needs.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_page_a_slip_the_nearest_and_nothing_all() {
        let page = explained(Some("leak"), Format::Text, 80).unwrap();
        assert!(page.starts_with("cause leak: ") && page.contains("seen by"), "{page}");
        let both = explained(Some("host_budget"), Format::Text, 80).unwrap();
        assert!(both.contains("limit host_budget:") && both.contains("\ncause host_budget:"), "{both}");
        assert!(explained(None, Format::Text, 80).unwrap().lines().count() > 40);
        let json: serde_json::Value = serde_json::from_str(&explained(None, Format::Json, 80).unwrap()).unwrap();
        assert_eq!(json["pages"].as_array().unwrap().len(), 40 + rules().count());
        let rule = explained(Some("cap-01"), Format::Text, 80).unwrap();
        assert!(rule.starts_with("rule CAP-01: ") && rule.contains("\n  needs "), "{rule}");
        let json: Value = serde_json::from_str(&explained(Some("CAP-01"), Format::Json, 80).unwrap()).unwrap();
        assert_eq!((&json["pages"][0]["kind"], &json["pages"][0]["code"]), (&"rule".into(), &"CAP-01".into()));
        let slip = explained(Some("CAP-1"), Format::Text, 80).unwrap_err().to_string();
        assert_eq!(slip, "no such code: CAP-1; did you mean CAP-01?");
        let slip = explained(Some("user-limt"), Format::Text, 80).unwrap_err().to_string();
        assert_eq!(slip, "no such code: user-limt; did you mean user_limit?");
        let nonsense = explained(Some("weather_forecast"), Format::Text, 80).unwrap_err().to_string();
        assert!(nonsense.contains("lists all"), "{nonsense}");
    }
}
