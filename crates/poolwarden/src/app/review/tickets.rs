//! What is new and what went away between two reviews: each is said once, and what stays is not said again.
//!
//! A finding is recognised as the baseline of `check` recognises it: lines and numbers may change. One whose rule lacks its
//! inputs now is kept while the file is the same: that PostgreSQL cannot be seen puts nothing right.

use std::collections::BTreeSet;

use poolwarden_console::review::{Severity, Ticket};
use poolwarden_watch::{Field, FieldValue, Level, LogLine};
use serde_json::Value;

/// More findings than these nobody looks at one by one; the worst come first.
const MAX_TICKETS: usize = 500;
/// Lines about one review; the rest is counted.
const MAX_SAID: usize = 50;

/// What a review has found, as far as it is followed up.
#[derive(Debug, Default)]
pub(super) struct Answer {
    tickets: Vec<Ticket>,
    /// Fingerprints and reasons of what is allowed.
    allowed: Vec<(String, String)>,
    /// Rules that could not be checked.
    unchecked: BTreeSet<String>,
}

impl Answer {
    pub(super) fn into_tickets(self) -> Vec<Ticket> {
        self.tickets
    }

    /// From the JSON of `check`; `None`: it is something else.
    pub(super) fn read(document: &Value) -> Option<Self> {
        let mut answer = Self::default();
        for finding in document["findings"].as_array()? {
            match finding["state"].as_str()? {
                "new" if answer.tickets.len() < MAX_TICKETS => answer.tickets.push(ticket(finding)?),
                "new" => {}
                _ => {
                    let reason = finding["reason"].as_str().unwrap_or("it is known");
                    answer.allowed.push((text(finding, "fingerprint")?, reason.to_owned()));
                }
            }
        }
        for rule in document["not_checked"].as_array()? {
            answer.unchecked.insert(text(rule, "code")?);
        }
        Some(answer)
    }
}

fn text(of: &Value, name: &str) -> Option<String> {
    of[name].as_str().map(str::to_owned)
}

fn ticket(finding: &Value) -> Option<Ticket> {
    let severity = finding["severity"].as_str()?;
    Some(Ticket {
        code: text(finding, "code")?,
        severity: Severity::ALL.into_iter().find(|of| of.name() == severity)?,
        message: text(finding, "message")?,
        place: place(finding),
        fix: text(finding, "fix")?,
        fingerprint: text(finding, "fingerprint")?,
    })
}

/// Where to change something: the primary place in a file, else who told it.
fn place(finding: &Value) -> String {
    let list = |name: &str| finding[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let span = list("spans").iter().find(|span| span["primary"] == true).or_else(|| list("spans").first());
    let told = list("told").first().and_then(|told| told["place"].as_str());
    match (span, told) {
        (Some(span), _) => {
            format!("{}:{}:{}", span["file"].as_str().unwrap_or_default(), span["line"], span["column"])
        }
        (None, Some(told)) => told.to_owned(),
        (None, None) => String::new(),
    }
}

/// What is open.
#[derive(Debug, Default)]
pub(super) struct Book {
    open: Vec<Ticket>,
}

impl Book {
    /// What is to be put right, the worst first.
    pub(super) fn open(&self) -> &[Ticket] {
        &self.open
    }

    /// Takes what a review has found; says what is new and what went away. `same`: it is of the same text as the one before.
    pub(super) fn take(&mut self, answer: Answer, same: bool) -> Vec<LogLine> {
        let mut before = std::mem::take(&mut self.open);
        let mut lines = Vec::new();
        for ticket in answer.tickets {
            match before.iter().position(|known| known.fingerprint == ticket.fingerprint) {
                Some(at) => drop(before.remove(at)), // its numbers may be others now
                None => lines.push(opened(&ticket)),
            }
            self.open.push(ticket);
        }
        for ticket in before {
            let allowed = answer.allowed.iter().find(|(fingerprint, _)| *fingerprint == ticket.fingerprint);
            let is_unchecked = answer.unchecked.contains(&ticket.code);
            match allowed {
                Some((_, reason)) => lines.push(closed(&ticket, &format!("is accepted now ({reason})"))),
                None if is_unchecked && same => self.open.push(ticket),
                None if is_unchecked => {
                    lines.push(closed(&ticket, "is not checked any more, for something is missing"))
                }
                None => lines.push(closed(&ticket, "is put right")),
            }
        }
        self.open.sort_by_key(|ticket| ticket.severity);
        let more = lines.len().saturating_sub(MAX_SAID);
        if more > 0 {
            lines.truncate(MAX_SAID);
            let message = format!("and {more} more findings are new or went away: see /api/v1/review");
            lines.push(LogLine { level: Level::Warn, event: "ticket", message, fields: Vec::new() });
        }
        lines
    }
}

fn opened(ticket: &Ticket) -> LogLine {
    let level = match ticket.severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warn,
        Severity::Info => Level::Info,
    };
    let at = if ticket.place.is_empty() { String::new() } else { format!(" at {}", ticket.place) };
    let fix = if ticket.fix.is_empty() { String::new() } else { format!("; {}", ticket.fix) };
    let message = format!("{}{at}: {}{fix}", ticket.code, ticket.message);
    let mut fields = named(ticket);
    fields.push(field("fix", &ticket.fix));
    LogLine { level, event: "ticket", message, fields }
}

fn closed(ticket: &Ticket, how: &str) -> LogLine {
    let message = format!("{} {how}: {}", ticket.code, ticket.message);
    LogLine { level: Level::Info, event: "ticket_closed", message, fields: named(ticket) }
}

fn named(ticket: &Ticket) -> Vec<Field> {
    vec![
        field("code", &ticket.code),
        field("severity", ticket.severity.name()),
        field("place", &ticket.place),
        field("ticket", &ticket.fingerprint),
    ]
}

fn field(name: &'static str, value: &str) -> Field {
    Field { name, value: FieldValue::Text(value.to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finding(code: &str, severity: &str, fingerprint: &str) -> Value {
        json!({
            "code": code, "severity": severity, "message": format!("{code} is wrong"), "fix": "write 7",
            "spans": [{"file": "a.toml", "line": 1, "column": 2, "primary": false},
                      {"file": "poolwarden.toml", "line": 3, "column": 8, "primary": true}],
            "told": [], "state": "new", "reason": null, "fingerprint": fingerprint,
        })
    }

    fn review(findings: Vec<Value>, unchecked: &[&str]) -> Answer {
        let unchecked: Vec<Value> = unchecked.iter().map(|code| json!({"code": code, "needs": []})).collect();
        Answer::read(&json!({"findings": findings, "not_checked": unchecked})).expect("a review")
    }

    fn said(lines: &[LogLine]) -> Vec<String> {
        lines.iter().map(|line| format!("{} {}: {}", line.level.name(), line.event, line.message)).collect()
    }

    #[test]
    fn what_is_new_and_what_goes_is_said_once_and_what_stays_is_not_said() {
        let mut book = Book::default();
        let both = || review(vec![finding("CAP-01", "error", "a"), finding("TMO-02", "warning", "b")], &[]);
        let first = said(&book.take(both(), false));
        let expected = [
            "error ticket: CAP-01 at poolwarden.toml:3:8: CAP-01 is wrong; write 7",
            "warn ticket: TMO-02 at poolwarden.toml:3:8: TMO-02 is wrong; write 7",
        ];
        assert_eq!(first, expected);
        assert_eq!(book.take(both(), true), []);
        assert_eq!(book.take(both(), false), [], "whether the file was changed or not");
        let one = review(vec![finding("TMO-02", "warning", "b")], &[]);
        assert_eq!(said(&book.take(one, false)), ["info ticket_closed: CAP-01 is put right: CAP-01 is wrong"]);
        assert_eq!(book.open().len(), 1);
        assert_eq!(said(&book.take(both(), true)), expected[..1], "it came back");
        assert_eq!(book.take(Answer::default(), true).len(), 2);
        assert_eq!(book.take(Answer::default(), true), []);
    }

    #[test]
    fn two_findings_of_one_kind_are_two_tickets() {
        let mut book = Book::default();
        let of = |count: usize| review(vec![finding("CAP-01", "error", "a"); count], &[]);
        assert_eq!(book.take(of(1), false).len(), 1);
        assert_eq!(book.take(of(2), false).len(), 1);
        assert_eq!(book.take(of(1), false).len(), 1);
        assert_eq!(book.open().len(), 1);
    }

    #[test]
    fn a_rule_that_cannot_be_checked_keeps_its_ticket_while_the_file_is_the_same() {
        let mut book = Book::default();
        book.take(review(vec![finding("CAP-01", "error", "a")], &[]), false);
        assert_eq!(book.take(review(Vec::new(), &["CAP-01"]), true), []);
        assert_eq!(book.open().len(), 1, "PostgreSQL was away");
        assert_eq!(book.take(review(vec![finding("CAP-01", "error", "a")], &[]), true), [], "and is back");
        let lines = said(&book.take(review(Vec::new(), &["CAP-01"]), false));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("info ticket_closed: CAP-01 is not checked any more"), "{lines:?}");
        assert_eq!(book.open(), []);
    }

    #[test]
    fn what_is_accepted_is_no_ticket_and_says_why() {
        let mut book = Book::default();
        let mut accepted = finding("CAP-01", "error", "a");
        accepted["state"] = "allowed".into();
        accepted["reason"] = "one replica at night".into();
        assert_eq!(book.take(review(vec![accepted.clone()], &[]), false), []);
        book.take(review(vec![finding("CAP-01", "error", "a")], &[]), false);
        let lines = said(&book.take(review(vec![accepted], &[]), false));
        assert_eq!(lines, ["info ticket_closed: CAP-01 is accepted now (one replica at night): CAP-01 is wrong"]);
    }

    #[test]
    fn of_very_many_a_few_are_said_and_the_worst_come_first() {
        let mut book = Book::default();
        let mut all: Vec<Value> = (0..60).map(|n| finding("CAP-01", "warning", &n.to_string())).collect();
        all.insert(0, finding("CAP-03", "error", "worst"));
        let lines = said(&book.take(review(all, &[]), false));
        assert_eq!(lines.len(), MAX_SAID + 1);
        assert!(lines[0].contains("CAP-03") && lines[MAX_SAID].contains("and 11 more findings"), "{lines:?}");
        assert_eq!(book.open().len(), 61);
    }

    #[test]
    fn what_is_told_and_not_written_has_its_teller_as_place_and_nonsense_is_no_review() {
        let mut told = finding("EFF-05", "error", "a");
        told["spans"] = json!([]);
        told["told"] = json!([{"place": "told by this process"}]);
        assert_eq!(place(&told), "told by this process");
        assert!(Answer::read(&json!({})).is_none());
        assert!(Answer::read(&json!({"findings": [{"state": "new"}], "not_checked": []})).is_none());
    }
}
