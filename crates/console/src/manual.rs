//! The manual: one page for each limit and each cause, in words. `explain` prints them, and the documentation is made from them.
//!
//! Where a limit is set and what to do when it binds is not said again here: [`poolwarden_watch::remedy`] knows it.

mod cause;
mod limit;

use std::fmt::Write;

use poolwarden_watch::CauseCode;
use poolwarden_watch::pool::{Limit, PoolKey};
use poolwarden_watch::remedy;
use serde_json::{Value, json};

use crate::sql::nearest_word;

/// What a page is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A limit: what can stop another server connection.
    Limit(Limit),
    /// A cause: why requests wait.
    Cause(CauseCode),
}

/// One page.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// What it is about.
    pub subject: Subject,
    /// In a few words.
    pub title: &'static str,
    /// What it is.
    pub what: &'static str,
    /// By which numbers it is recognised.
    pub recognised: &'static str,
    /// Whether raising the pool's size helps.
    pub raise: &'static str,
    /// What to do, step by step.
    pub steps: &'static [&'static str],
}

impl Page {
    /// The code of the closed list.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.subject {
            Subject::Limit(limit) => limit.name(),
            Subject::Cause(cause) => cause.name(),
        }
    }

    /// `limit` or `cause`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.subject {
            Subject::Limit(_) => "limit",
            Subject::Cause(_) => "cause",
        }
    }

    /// Where a limit is set.
    #[must_use]
    pub fn setting(&self) -> Option<String> {
        let pool = PoolKey { database: "DATABASE".into(), user: "USER".into() };
        match self.subject {
            Subject::Limit(limit) => Some(remedy::setting(limit, "SERVER", &pool)),
            Subject::Cause(_) => None,
        }
    }
}

/// Every page, limits first, each in the order of its closed list.
pub fn pages() -> impl Iterator<Item = &'static Page> {
    limit::PAGES.iter().chain(&cause::PAGES)
}

/// The pages of a code: a limit and a cause may share it.
#[must_use]
pub fn find(code: &str) -> Vec<&'static Page> {
    pages().filter(|page| page.code() == code).collect()
}

/// The page of a cause.
#[must_use]
pub fn cause(code: CauseCode) -> &'static Page {
    &cause::PAGES[code.index()]
}

/// The code nearest to what was written, if one is near.
#[must_use]
pub fn nearest(said: &str) -> Option<&'static str> {
    let codes: Vec<&'static str> = pages().map(Page::code).collect();
    nearest_word(&said.replace('-', "_"), &codes)
}

/// A page as text.
#[must_use]
pub fn text(page: &Page, width: usize) -> String {
    let mut out = format!("{} {}: {}\n\n", page.kind(), page.code(), page.title);
    let mut part = |heading: &str, text: &str| crate::why::paragraph(&mut out, heading, text, width);
    part("what", page.what);
    if let Some(setting) = page.setting() {
        part("set by", &setting);
    }
    part("seen by", page.recognised);
    part("raise?", page.raise);
    for (at, step) in page.steps.iter().enumerate() {
        part(if at == 0 { "do" } else { "" }, &format!("{}. {step}", at + 1));
    }
    out
}

/// All codes with their titles.
#[must_use]
pub fn list() -> String {
    let mut out = String::new();
    let mut kind = "";
    for page in pages() {
        if page.kind() != kind {
            kind = page.kind();
            // Writing to a String does not fail, here and below.
            let _ = writeln!(out, "{}{kind}s", if out.is_empty() { "" } else { "\n" });
        }
        let _ = writeln!(out, "  {:<22} {}", page.code(), page.title);
    }
    out.push_str("\npoolwarden explain CODE tells of one\n");
    out
}

/// Pages as JSON.
#[must_use]
pub fn json<'a>(pages: impl IntoIterator<Item = &'a Page>) -> Value {
    let page = |of: &Page| {
        json!({
            "code": of.code(),
            "kind": of.kind(),
            "title": of.title,
            "what": of.what,
            "setting": of.setting(),
            "recognised": of.recognised,
            "raise": of.raise,
            "steps": of.steps,
        })
    };
    json!({"schema": 1, "pages": pages.into_iter().map(page).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_and_every_cause_has_its_page_in_the_order_of_its_list() {
        assert!(limit::PAGES.iter().map(Page::code).eq(Limit::ALL.map(Limit::name)));
        assert!(cause::PAGES.iter().map(Page::code).eq(CauseCode::ALL.map(CauseCode::name)));
    }

    #[test]
    fn every_page_says_everything() {
        for page in pages() {
            let code = page.code();
            for part in [page.title, page.what, page.recognised, page.raise] {
                assert!(!part.is_empty() && !part.ends_with('.'), "{code}: {part}");
            }
            assert!((1..=5).contains(&page.steps.len()), "{code}");
            assert!(page.title.chars().count() <= 56, "{code}: the list is read on 80 columns");
            let said = page.raise.split([':', ',']).next().unwrap_or_default();
            assert!(["yes", "no", "briefly", "it makes it worse", "it depends"].contains(&said), "{code}: {said}");
        }
    }

    #[test]
    fn verbs_and_tables_that_pages_name_are_there() {
        let tables = crate::sql::CATALOGUE.iter().map(|entry| entry.name).collect::<Vec<_>>();
        for page in pages() {
            for step in page.steps {
                for (at, _) in step.match_indices("SHOW ") {
                    let named = step[at..].split(|c: char| !(c.is_ascii_uppercase() || c == '_' || c == ' ')).next();
                    let named = named.unwrap_or_default().trim_end();
                    assert!(tables.contains(&named), "{}: {named}", page.code());
                }
            }
        }
    }

    #[test]
    fn a_shared_code_has_both_pages_and_a_slip_finds_the_nearest() {
        assert_eq!(find("host_budget").iter().map(|page| page.kind()).collect::<Vec<_>>(), ["limit", "cause"]);
        assert_eq!(find("leak").len(), 1);
        assert!(find("luck").is_empty());
        assert_eq!(nearest("pool-size"), Some("pool_size"));
        assert_eq!(nearest("lock_convoi"), Some("lock_convoy"));
        assert_eq!(nearest("weather_forecast"), None);
    }

    #[test]
    fn a_page_and_the_list_fit_a_terminal() {
        let page = find("user_limit")[0];
        insta::assert_snapshot!("user_limit", text(page, 80));
        insta::assert_snapshot!("list", list());
        for page in pages() {
            assert!(text(page, 80).lines().all(|line| line.chars().count() <= 80), "{}", page.code());
        }
        assert_eq!(json(pages())["pages"].as_array().unwrap().len(), 40);
    }
}
