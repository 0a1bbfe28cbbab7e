//! `[[review.allow]]`: rules whose findings are accepted, each with a reason, and until when.
//!
//! An entry without a reason is refused, one that has expired allows nothing and is a warning: what is accepted is looked at
//! again.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::dossier::Dossier;
use super::finding::{Finding, Fix, Label};
use super::manual;
use super::place::Place;
use super::rule::rules;
use crate::finding::Severity;

/// One entry that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    /// The rule's code.
    pub code: String,
    /// Why its findings are accepted.
    pub reason: String,
    /// The last day, `2026-12-31`; empty: for ever.
    pub until: String,
}

/// What the files allow on a day (`2026-11-22`), and what is wrong with their entries.
pub(super) fn allowed(dossier: &Dossier, today: &str) -> (Vec<Allowed>, Vec<Finding>) {
    let (mut all, mut faults) = (Vec::new(), Vec::new());
    for (file, text) in dossier.texts.iter().enumerate() {
        if !text.text.contains("review") || !text.name.ends_with(".toml") {
            continue;
        }
        let (document, _) = DeTable::parse_recoverable(&text.text); // its faults are told by who reads the file
        let entries = document.get_ref().get("review").and_then(|review| review.get_ref().get("allow"));
        let Some(DeValue::Array(entries)) = entries.map(toml::Spanned::get_ref) else { continue };
        for entry in entries {
            match judge(entry.get_ref(), &entry.span(), today) {
                Ok(allowed) => all.push(allowed),
                Err(fault) => faults.push(fault.at(file)),
            }
        }
    }
    (all, faults)
}

struct Fault {
    code: &'static str,
    severity: Severity,
    message: String,
    why: &'static str,
    fix: String,
    span: Range<usize>,
}

impl Fault {
    fn at(self, file: usize) -> Finding {
        let place = Place::Text { file, span: self.span };
        Finding {
            code: self.code,
            severity: self.severity,
            message: self.message,
            labels: vec![Label { place, text: String::new(), primary: true }],
            why: self.why.to_owned(),
            fix: Fix { text: self.fix, edits: Vec::new(), safe: false },
        }
    }
}

/// What an entry says of a key, and where.
fn said(entry: &DeValue<'_>, key: &str) -> Option<(String, Range<usize>)> {
    let value = entry.get(key)?;
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Array(_) | DeValue::Table(_) => {
            return None; // whoever reads the file says that it is no text
        }
    };
    Some((text, value.span()))
}

fn judge(entry: &DeValue<'_>, whole: &Range<usize>, today: &str) -> Result<Allowed, Fault> {
    let wrong = |code, message: String, fix: String, span: &Range<usize>| {
        let why = "what is accepted without a word is forgotten";
        Fault { code, severity: Severity::Error, message, why, fix, span: span.clone() }
    };
    let Some((code, span)) = said(entry, "code") else {
        let fix = "name the rule: code = \"CAP-01\"".to_owned();
        return Err(wrong("allow-code", "an entry of [[review.allow]] without a code".to_owned(), fix, whole));
    };
    if !rules().any(|rule| rule.code == code) {
        let fix = match manual::nearest_code(&code) {
            Some(near) => format!("did you mean {near}?"),
            None => "`poolwarden explain` lists the rules".to_owned(),
        };
        return Err(wrong("allow-code", format!("no such rule: {code}"), fix, &span));
    }
    let Some((reason, _)) = said(entry, "reason").filter(|(reason, _)| !reason.trim().is_empty()) else {
        let fix = "say why: reason = \"...\"".to_owned();
        return Err(wrong("allow-reason", format!("{code} is allowed without a reason"), fix, &span));
    };
    let Some((until, at)) = said(entry, "until") else { return Ok(Allowed { code, reason, until: String::new() }) };
    if !is_date(&until) {
        let message = format!("until = \"{until}\" is no day");
        return Err(wrong("allow-until", message, "write it as \"2026-12-31\"".to_owned(), &at));
    }
    if until.as_str() < today {
        return Err(Fault {
            code: "allow-expired",
            severity: Severity::Warning,
            message: format!("{code} was allowed until {until}"),
            why: "its findings count again",
            fix: "put right what was allowed, or set a new day".to_owned(),
            span: at,
        });
    }
    Ok(Allowed { code, reason, until })
}

/// `2026-11-22`: days written so compare as texts do.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let within = |part: &str, most: u8| part.parse::<u8>().is_ok_and(|number| (1..=most).contains(&number));
    match parts.as_slice() {
        [year, month, day] => {
            digits(year, 4) && digits(month, 2) && digits(day, 2) && within(month, 12) && within(day, 31)
        }
        _ => false, // a slice, not an enum of ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::Text;

    fn of(text: &str) -> (Vec<Allowed>, Vec<Finding>) {
        let texts = vec![Text { name: "poolwarden.toml".into(), text: text.into() }];
        allowed(&Dossier { texts, ..Dossier::default() }, "2026-11-22")
    }

    #[test]
    fn an_entry_needs_a_rule_and_a_reason_and_ends_on_its_day() {
        let entry = |more: &str| of(&format!("[[review.allow]]\n{more}\n"));
        let (all, faults) = entry("code = \"CAP-01\"\nreason = \"ticket 7\"");
        assert_eq!((all.len(), faults.len()), (1, 0));
        let (all, _) = entry("code = \"CAP-01\"\nreason = \"x\"\nuntil = \"2026-11-22\"");
        assert_eq!(all.len(), 1, "the last day is allowed");
        let table = [
            ("reason = \"x\"", "allow-code", "without a code"),
            ("code = \"CAP-1\"\nreason = \"x\"", "allow-code", "no such rule"),
            ("code = \"CAP-01\"", "allow-reason", "without a reason"),
            ("code = \"CAP-01\"\nreason = \" \"", "allow-reason", "without a reason"),
            ("code = \"CAP-01\"\nreason = \"x\"\nuntil = \"soon\"", "allow-until", "is no day"),
            ("code = \"CAP-01\"\nreason = \"x\"\nuntil = \"2026-13-01\"", "allow-until", "is no day"),
            ("code = \"CAP-01\"\nreason = \"x\"\nuntil = \"2026-11-21\"", "allow-expired", "until 2026-11-21"),
            ("code = \"CAP-01\"\nreason = \"x\"\nuntil = 2026-11-21", "allow-expired", "until 2026-11-21"),
        ];
        for (more, code, message) in table {
            let (all, faults) = entry(more);
            assert!(all.is_empty(), "{more}");
            assert_eq!(faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), [code], "{more}");
            assert!(faults[0].message.contains(message), "{}", faults[0].message);
        }
        assert_eq!(entry("code = \"CAP-1\"\nreason = \"x\"").1[0].fix.text, "did you mean CAP-01?");
    }

    #[test]
    fn a_broken_file_allows_nothing_and_is_told_of_elsewhere() {
        assert_eq!(of("[[review.allow]\ncode = "), (Vec::new(), Vec::new()));
        assert_eq!(of("review = 7\n"), (Vec::new(), Vec::new()));
    }
}
