//! Text to configuration: TOML's own faults, the walk, the building, and findings in the order of the text.

use toml::de::DeTable;

use crate::build::build;
use crate::finding::{Finding, Severity, has_errors};
use crate::model::Config;
use crate::secret::SecretRef;
use crate::walk::walk;

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
            let syntax = faults.iter().map(|fault| {
                let span = fault.span().unwrap_or(text.len()..text.len());
                let message = fault.message().replace('\n', ", ");
                let fix = syntax_fix(&message).to_owned();
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

/// What to write, as far as TOML's own words tell.
fn syntax_fix(message: &str) -> &'static str {
    if message.starts_with("duplicate key") {
        "keep one of them"
    } else if message.starts_with("string values must be quoted") {
        "put the value in quotes: key = \"value\""
    } else if message.starts_with("unclosed") || message.starts_with("missing") {
        "close it on the same line"
    } else {
        "below a [section] each line is key = value, with texts in quotes"
    }
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
