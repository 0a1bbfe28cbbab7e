//! The review of the running process as it is shown: one line of `why`, its part of `why`'s JSON, and the whole for programs.
//!
//! What the findings are and when they are looked for is not known here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::calendar::rfc3339;
use crate::why::{paragraph, span};

/// Rules that the line names; the others are in the answer of the command it names.
const MAX_NAMED: usize = 6;

/// The newest review.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reviewed {
    /// The file that is reviewed, as it was named at the start.
    pub file: String,
    /// When the newest review that came to an end began, in milliseconds since 1970 UTC; `None`: none has.
    pub at_ms: Option<u64>,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// Why the newest attempt came to nothing; what was found before still stands.
    pub failed: Option<String>,
    /// What is to be put right, the worst first.
    pub tickets: Vec<Ticket>,
    /// The whole, as `check --format json` writes it.
    pub document: Value,
}

/// How much a finding matters: the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It fails, or will.
    Error,
    /// Probably not meant.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Info];

    /// As `check` writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// A finding that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The rule's code.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, with its numbers.
    pub message: String,
    /// Where: `poolwarden.toml:10:8`, or who told it.
    pub place: String,
    /// What to write instead.
    pub fix: String,
    /// By what it is recognised.
    pub fingerprint: String,
}

impl Reviewed {
    /// How many tickets matter so much.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.tickets.iter().filter(|ticket| ticket.severity == severity).count()
    }

    fn age_ms(&self, now_ms: u64) -> Option<u64> {
        self.at_ms.map(|at_ms| now_ms.saturating_sub(at_ms))
    }
}

/// The line below `why`'s text.
#[must_use]
pub fn line(of: &Reviewed, now_ms: u64, width: usize) -> String {
    let mut text = match of.age_ms(now_ms) {
        Some(age_ms) => format!("{}, {} ago: {}", found(of), span(age_ms as f64 * 1_000.0), command(of)),
        None => format!("none yet: {}", command(of)),
    };
    if let Some(why) = &of.failed {
        text.push_str(&format!("; the newest attempt failed: {why}"));
    }
    let mut out = String::new();
    paragraph(&mut out, "review", &text, width);
    out
}

fn command(of: &Reviewed) -> String {
    format!("poolwarden check {}", of.file)
}

fn found(of: &Reviewed) -> String {
    let counts = [(Severity::Error, "error"), (Severity::Warning, "warning"), (Severity::Info, "remark")];
    let some = counts.into_iter().map(|(severity, name)| (of.count(severity), name)).filter(|(count, _)| *count > 0);
    let parts: Vec<String> =
        some.map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" })).collect();
    if parts.is_empty() {
        return "nothing found".to_owned();
    }
    let mut seen = BTreeSet::new();
    let codes: Vec<&str> =
        of.tickets.iter().map(|ticket| ticket.code.as_str()).filter(|code| seen.insert(*code)).collect();
    let mut named = codes.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
    if codes.len() > MAX_NAMED {
        named.push_str(&format!(" and {} more", codes.len() - MAX_NAMED));
    }
    format!("{} ({named})", parts.join(", "))
}

/// The part of `why`'s JSON.
#[must_use]
pub fn brief(of: &Reviewed, now_ms: u64) -> Value {
    let ticket = |of: &Ticket| {
        json!({
            "code": of.code,
            "severity": of.severity.name(),
            "message": of.message,
            "place": of.place,
            "fix": of.fix,
        })
    };
    let mut brief = told(of, now_ms);
    brief["findings"] = of.tickets.iter().map(ticket).collect();
    brief
}

/// When it was, and whether it still comes to an end.
fn told(of: &Reviewed, now_ms: u64) -> Value {
    json!({
        "at": of.at_ms.map(rfc3339),
        "age_ms": of.age_ms(now_ms),
        "took_ms": of.at_ms.map(|_| of.took_us as f64 / 1_000.0),
        "failed": of.failed,
    })
}

/// The whole: what `check --format json` writes, and when it was.
#[must_use]
pub fn whole(of: &Reviewed, now_ms: u64) -> Value {
    let mut whole = of.document.clone();
    if let (Some(whole), Value::Object(told)) = (whole.as_object_mut(), told(of, now_ms)) {
        whole.extend(told);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made_up::{NOW_MS, review};

    #[test]
    fn the_line_says_what_when_and_how_to_see_it() {
        let of = review();
        assert_eq!(
            line(&of, NOW_MS, 100),
            "  review  1 error, 2 warnings, 1 remark (CAP-01, TMO-02, CAP-09), 12m 00s ago: poolwarden check\n          \
             /etc/poolwarden/poolwarden.toml\n"
        );
        let calm = Reviewed { tickets: Vec::new(), ..of.clone() };
        assert!(line(&calm, NOW_MS, 100).starts_with("  review  nothing found, 12m 00s ago: poolwarden check"));
        let failed = Reviewed { failed: Some("it took longer than 10s".to_owned()), ..calm };
        assert!(line(&failed, NOW_MS, 240).contains("; the newest attempt failed: it took longer than 10s\n"));
        let never = Reviewed { at_ms: None, ..failed };
        assert!(line(&never, NOW_MS, 240).starts_with("  review  none yet: poolwarden check"));
        assert_eq!(brief(&never, NOW_MS)["age_ms"], Value::Null);
    }

    #[test]
    fn many_rules_are_counted() {
        let ticket = |n: usize| Ticket { code: format!("CAP-{n:02}"), ..review().tickets.swap_remove(0) };
        let of = Reviewed { tickets: (1..=9).map(ticket).collect(), ..review() };
        let text = line(&of, NOW_MS, 240);
        assert!(text.contains("9 errors (CAP-01, CAP-02, CAP-03, CAP-04, CAP-05, CAP-06 and 3 more)"), "{text}");
    }

    #[test]
    fn a_terminal_is_told_nothing_by_the_file() {
        let mut of = review();
        of.tickets[0].code = "\u{1b}[31m".to_owned();
        assert!(!line(&of, NOW_MS, 100).contains('\u{1b}'));
    }

    #[test]
    fn programs_get_the_tickets_in_why_and_everything_by_itself() {
        let (brief, whole) = (brief(&review(), NOW_MS), whole(&review(), NOW_MS));
        assert_eq!((&brief["age_ms"], &brief["took_ms"]), (&720_000.into(), &31.5.into()));
        let first = &brief["findings"][0];
        for name in ["code", "severity", "message", "place", "fix"] {
            assert!(first[name].is_string(), "{name}: {first}");
        }
        assert_eq!((&whole["age_ms"], &whole["schema"]), (&720_000.into(), &1.into()));
        assert_eq!(whole["findings"][0]["code"], "CAP-01");
    }
}
