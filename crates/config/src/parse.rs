//! Text to configuration: TOML's own faults, the walk, the building, and findings in the order of the text.

use toml::de::DeTable;

use crate::build::build;
use crate::finding::{Finding, Severity, has_errors};
use crate::model::Config;
use crate::secret::SecretRef;
use crate::walk::{quote, walk};

/// Findings kept of one file: more than anybody reads, and a bound for files that are not configurations at all.
pub const MAX_FINDINGS: usize = 200;

impl Config {
    /// Reads a configuration. A configuration comes back only if no finding is an error.
    ///
    /// `resolve` gets each secret from where the file says it is; its error text is shown, so it must not hold a secret.
    pub fn parse(
        text: &str,
        mut resolve: impl FnMut(SecretRef) -> Result<String, String>,
    ) -> (Option<Self>, Vec<Finding>) {
        let (document, faults) = DeTable::parse_recoverable(text);
        if !faults.is_empty() {
            // What TOML could not read would only be reported again as missing.
            // No more are kept, and each fix looks at the text above its line.
            let syntax = faults.iter().take(MAX_FINDINGS).map(|fault| {
                let span = fault.span().unwrap_or(text.len()..text.len());
                let message = fault.message().replace('\n', ", ");
                let fix = syntax_fix(&message, text, span.start);
                Finding::new(Severity::Error, "syntax", span, message, fix)
            });
            return (None, settle(syntax.collect(), text));
        }
        let walked = walk(document.get_ref());
        let (config, findings) = build(walked, text.trim_end().len(), &mut resolve);
        let findings = settle(findings, text);
        (Some(config).filter(|_| !has_errors(&findings)), findings)
    }
}

/// What to write, as far as TOML's own words and the line tell.
fn syntax_fix(message: &str, text: &str, at: usize) -> String {
    let (above, line) = line_at(text, at);
    let trimmed = line.trim();
    if message.starts_with("duplicate key") {
        let other = |number: usize| {
            let what = if trimmed.starts_with('[') { "write its keys below" } else { "take out this line, or" };
            format!("keep one of them: {what} line {number}")
        };
        return earlier(above, trimmed).map_or_else(|| "keep one of them".to_owned(), other);
    }
    if trimmed.starts_with('[') && !trimmed.contains(']') {
        return format!("write {trimmed}{}", if trimmed.starts_with("[[") { "]]" } else { "]" });
    }
    if let Some(meant) = meant(trimmed) {
        return format!("write {meant}");
    }
    let fix = if message.starts_with("string values must be quoted") {
        "put the value in quotes: key = \"value\""
    } else if message.starts_with("unclosed") || message.starts_with("missing") {
        "close it on the same line"
    } else {
        "below a [section] each line is key = value, with texts in quotes"
    };
    fix.to_owned()
}

/// What stands above the line at a byte, and the line.
fn line_at(text: &str, at: usize) -> (&str, &str) {
    let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (before, after) = text.split_at(at);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = after.find('\n').map_or(text.len(), |newline| at + newline);
    (&text[..start], &text[start..end])
}

fn key_of(line: &str) -> Option<&str> {
    line.split_once('=').map(|(key, _)| key.trim())
}

/// The number, from 1, of the line that is the same section, or has the same key in the same section.
fn earlier(above: &str, line: &str) -> Option<usize> {
    let lines: Vec<&str> = above.lines().map(str::trim).collect();
    if line.starts_with('[') {
        return lines.iter().position(|other| *other == line).map(|at| at + 1);
    }
    let key = key_of(line)?;
    let section = lines.iter().rposition(|line| line.starts_with('[')).map_or(0, |at| at + 1);
    let at = lines[section..].iter().position(|line| key_of(line) == Some(key))?;
    Some(section + at + 1)
}

/// `key = value` as TOML has it, where a line lacks but its quotes, closes them otherwise, has a comma at its end or a colon for
/// the equals sign; not where the value may be a secret.
fn meant(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=').or_else(|| line.split_once(':'))?;
    let (key, value) = (key.trim(), value.split(" #").next().unwrap_or(value));
    let word = value.trim().trim_end_matches([',', ';']).trim_matches(['"', '\'', '“', '”', '‘', '’', ' ']);
    let bare = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c) || more.contains(c))
    };
    let secret = ["password", "secret"].iter().any(|word| key.contains(word));
    if !bare(key, ".") || !bare(word, "./:*") || secret {
        return None;
    }
    let truth = Some(word.to_ascii_lowercase()).filter(|word| ["true", "false"].contains(&word.as_str()));
    let number = word.parse::<i64>().ok().map(|number| number.to_string());
    Some(format!("{key} = {}", truth.or(number).unwrap_or_else(|| quote(word))))
}

/// Errors first, each group in the order of the text, located and bounded.
fn settle(mut findings: Vec<Finding>, text: &str) -> Vec<Finding> {
    findings.sort_by(|a, b| (b.severity, a.span.start).cmp(&(a.severity, b.span.start)));
    findings.truncate(MAX_FINDINGS);
    for finding in &mut findings {
        finding.locate(text);
    }
    findings
}
