//! The manual pages of the rules: what `explain` prints. Everything on them is the rule's own.

use std::fmt::Write;

use super::rule::{Rule, rules};
use crate::nearest;

/// The rule of a code, in whatever case it was written.
#[must_use]
pub fn find(code: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.code.eq_ignore_ascii_case(code))
}

/// The code nearest to what was written, if one is near.
#[must_use]
pub fn nearest_code(said: &str) -> Option<&'static str> {
    let codes: Vec<String> = rules().map(|rule| rule.code.to_ascii_lowercase()).collect();
    let near = nearest(&said.replace('_', "-"), codes.iter().map(String::as_str))?;
    find(near).map(|rule| rule.code)
}

/// A page as text of at most `width` columns.
#[must_use]
pub fn text(rule: &Rule, width: usize) -> String {
    let mut out = format!("rule {}: {} ({})\n\n", rule.code, rule.title, rule.severity.name());
    let mut part = |heading: &str, text: &str| paragraph(&mut out, heading, text, width);
    part("when", rule.condition);
    part("why", rule.why);
    part("fix", rule.fix);
    for (at, need) in rule.needs.iter().enumerate() {
        part(if at == 0 { "needs" } else { "" }, &format!("{}: {}", need.name, need.from));
    }
    out
}

/// All codes with their titles.
#[must_use]
pub fn list() -> String {
    let mut out = String::from("rules\n");
    for rule in rules() {
        // Writing to a String does not fail, here and below.
        let _ = writeln!(out, "  {:<8} {:<8} {}", rule.code, rule.severity.name(), rule.title);
    }
    out
}

/// A heading of its own width, and beside it the text, broken at spaces.
fn paragraph(out: &mut String, heading: &str, text: &str, width: usize) {
    const MARGIN: usize = 10; // the longest heading, two spaces before it and three behind
    let room = width.saturating_sub(MARGIN).max(20);
    let mut line = String::new();
    let mut heading = heading;
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            let _ = writeln!(out, "  {heading:<7} {line}");
            (heading, line) = ("", String::new());
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "  {heading:<7} {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_whole_page_that_fits_a_terminal() {
        for rule in rules() {
            let page = text(rule, 80);
            for part in [rule.title, rule.condition, rule.why, rule.fix] {
                assert!(!part.is_empty() && !part.contains("  "), "{}: {part:?}", rule.code);
            }
            assert!(page.lines().skip(1).all(|line| line.chars().count() <= 80), "{page}");
            assert!(page.contains("\n  needs   "), "{page}");
        }
    }

    #[test]
    fn a_code_is_found_in_any_case_and_a_slip_finds_the_nearest() {
        assert_eq!(find("cap-01").map(|rule| rule.code), Some("CAP-01"));
        assert!(find("CAP-00").is_none());
        assert_eq!(nearest_code("CAP_1"), Some("CAP-01"));
        assert_eq!(nearest_code("weather-forecast"), None);
        assert!(list().lines().count() > rules().count());
    }
}
