//! The question to PostgreSQL at the end of a suspect transaction, and what its answer means.
//!
//! One simple query whose rows are a letter, a name and a value: `s` a setting as it is now; `d` a setting, with no value where it
//! is what the connection began with; `p` a reason to pin. Only what is suspected is asked. Values come as the digits of their bytes in
//! UTF-8, whatever the client's encoding is.

use std::collections::BTreeSet;

use poolwarden_pgwire::read;

use crate::session::{Doubts, Pin, Pins};
use crate::settings::quoted;

/// What PostgreSQL said.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) rows: Vec<Finding>,
    /// A row could not be read.
    pub(crate) broken: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// A setting has this value; `None`: there is no such setting.
    Is(Box<str>, Option<Box<str>>),
    /// A setting was given this value in the session; `None`: it has what the connection began with.
    Differs(Box<str>, Option<Box<str>>),
    Pinned(Pin),
}

/// Settings that `pg_settings` does not list.
fn is_unlisted(name: &str) -> bool {
    matches!(name, "role" | "session_authorization") || name.contains('.')
}

/// The query. `backs`: settings that may be back at what the session began with. Where something has failed, a setting is told
/// only where the session made it: one that nobody may set has a value too, and would be set for the next client in vain.
pub(crate) fn question(doubts: &Doubts, backs: &BTreeSet<Box<str>>) -> String {
    let mut parts = Vec::new();
    let unlisted = backs.iter().filter(|name| is_unlisted(name) && !doubts.sets.contains(*name));
    for name in doubts.sets.iter().filter(|name| !doubts.failed || is_unlisted(name)).chain(unlisted) {
        let name = quoted(name);
        parts.push(format!("SELECT 's',{name},{}", digits(&format!("pg_catalog.current_setting({name},true)"))));
    }
    let failed = doubts.sets.iter().filter(|name| doubts.failed && !backs.contains(*name));
    let listed: Vec<String> =
        backs.iter().chain(failed).filter(|name| !is_unlisted(name)).map(|name| quoted(name)).collect();
    if doubts.any || !listed.is_empty() {
        let which = if doubts.any {
            "source OPERATOR(pg_catalog.=) 'session'".into()
        } else {
            format!("pg_catalog.lower(name) OPERATOR(pg_catalog.=) ANY (ARRAY[{}])", listed.join(","))
        };
        parts.push(format!(
            "SELECT 'd',pg_catalog.lower(name),CASE WHEN source OPERATOR(pg_catalog.=) 'session' \
             THEN {} END FROM pg_catalog.pg_settings WHERE {which}",
            digits("pg_catalog.current_setting(name)")
        ));
    }
    for pin in doubts.pins.iter() {
        if let Some(is) = presence(pin) {
            parts.push(format!("SELECT 'p','{}',NULL WHERE {is}", pin.name()));
        }
    }
    if parts.is_empty() { "SELECT 'n',NULL,NULL".into() } else { parts.join(" UNION ALL ") }
}

/// The SQL of a value as the digits of its bytes.
fn digits(value: &str) -> String {
    format!("pg_catalog.encode(pg_catalog.convert_to({value},'UTF8'),'hex')")
}

/// What such digits say.
fn of_digits(digits: &[u8]) -> Option<Box<str>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok().map(String::into_boxed_str)
}

/// Whether what pins is there, where PostgreSQL can be asked. Outside a transaction all locks of a session are the session's own.
fn presence(pin: Pin) -> Option<&'static str> {
    match pin {
        Pin::AdvisoryLock => Some(
            "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) 'advisory' \
             AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())",
        ),
        Pin::TempTable => Some(
            "EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
             OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
             OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())",
        ),
        Pin::HoldCursor => Some("EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)"),
        Pin::Listen => Some("EXISTS (SELECT FROM pg_catalog.pg_listening_channels())"),
        Pin::Prepare => Some(
            "EXISTS (SELECT FROM pg_catalog.pg_prepared_statements \
             WHERE from_sql AND pg_catalog.strpos(name,'poolwarden_') OPERATOR(pg_catalog.<>) 1)", // those are ours
        ),
        Pin::Load | Pin::Setting | Pin::Statement => None,
    }
}

/// What cannot be asked: once suspected, it stays.
pub(crate) fn unanswerable() -> Pins {
    Pins::of(Pin::Setting).and(Pins::of(Pin::Statement)).and(Pins::of(Pin::Load))
}

impl Findings {
    /// One DataRow of the answer.
    pub(crate) fn read(&mut self, row: &[u8]) {
        let Some([kind, name, value]) = columns(row) else {
            self.broken = true;
            return;
        };
        let name = name.map(|name| std::str::from_utf8(name).ok().map(Box::<str>::from));
        let (Some(name), Some(value)) = (transposed(name), transposed(value.map(of_digits))) else {
            self.broken = true;
            return;
        };
        let finding = match (kind, name) {
            (Some(b"s"), Some(name)) => Finding::Is(name, value),
            (Some(b"d"), Some(name)) => Finding::Differs(name, value),
            (Some(b"p"), Some(name)) => match Pin::ALL.into_iter().find(|pin| pin.name() == &*name) {
                Some(pin) => Finding::Pinned(pin),
                None => return self.broken = true,
            },
            (Some(b"n"), None) => return,
            _ => return self.broken = true,
        };
        self.rows.push(finding);
    }
}

/// `None`: it is there and cannot be read.
fn transposed(read: Option<Option<Box<str>>>) -> Option<Option<Box<str>>> {
    read.map_or(Some(None), |read| read.map(Some))
}

/// The three columns of a row.
fn columns(row: &[u8]) -> Option<[Option<&[u8]>; 3]> {
    let mut rest = row.strip_prefix(&[0, 3])?;
    let mut columns = [None; 3];
    for column in &mut columns {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        rest = tail;
        if let Ok(length) = usize::try_from(length) {
            *column = Some(rest.get(..length)?);
            rest = &rest[length..];
        }
    }
    rest.is_empty().then_some(columns)
}

/// The value of parameter `number` (from 1) of a whole Bind; `None` where it is absent, NULL or no text.
/// A text parameter has the same bytes in both formats.
pub(crate) fn parameter(bind: &[u8], number: u16) -> Option<Box<str>> {
    let mut rest = bind.get(read::bind(bind)?.after..)?;
    let count = |rest: &mut &[u8]| {
        let (count, tail) = rest.split_first_chunk::<2>()?;
        *rest = tail;
        Some(u16::from_be_bytes(*count))
    };
    let formats = count(&mut rest)?;
    rest = rest.get(usize::from(formats) * 2..)?;
    let values = count(&mut rest)?;
    if number == 0 || number > values {
        return None;
    }
    for _ in 1..number {
        value(&mut rest)?;
    }
    let name = std::str::from_utf8(value(&mut rest)??).ok()?;
    Some(name.to_ascii_lowercase().into())
}

/// The next value of a Bind; `Some(None)` is NULL.
fn value<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return Some(None) };
    let value = rest.get(..length)?;
    *rest = &rest[length..];
    Some(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_parameter_is_found_behind_formats_and_other_values() {
        let bind = b"portal\0statement\0\0\x01\0\0\0\x03\xff\xff\xff\xff\0\0\0\x0aApp.Tenant\0\0\0\x01x\0\0";
        assert_eq!(parameter(bind, 2).as_deref(), Some("app.tenant"));
        assert_eq!(parameter(bind, 3).as_deref(), Some("x"));
        assert_eq!(parameter(bind, 1), None, "NULL");
        assert_eq!(parameter(bind, 4), None, "not there");
        assert_eq!(parameter(&bind[..30], 2), None, "cut off");
    }

    #[test]
    fn only_what_is_suspected_is_asked() {
        let mut doubts = Doubts::default();
        doubts.sets.insert("search_path".into());
        assert_eq!(
            question(&doubts, &BTreeSet::new()),
            "SELECT 's',E'search_path',\
             pg_catalog.encode(pg_catalog.convert_to(pg_catalog.current_setting(E'search_path',true),'UTF8'),'hex')"
        );
        doubts.failed = true;
        assert_eq!(
            question(&doubts, &BTreeSet::new()),
            "SELECT 'd',pg_catalog.lower(name),CASE WHEN source OPERATOR(pg_catalog.=) 'session' \
             THEN pg_catalog.encode(pg_catalog.convert_to(pg_catalog.current_setting(name),'UTF8'),'hex') END \
             FROM pg_catalog.pg_settings \
             WHERE pg_catalog.lower(name) OPERATOR(pg_catalog.=) ANY (ARRAY[E'search_path'])",
            "one that failed is told where the session made it"
        );
        doubts = Doubts { pins: Pins::of(Pin::Listen), ..Doubts::default() };
        assert_eq!(
            question(&doubts, &BTreeSet::new()),
            "SELECT 'p','listen',NULL WHERE EXISTS (SELECT FROM pg_catalog.pg_listening_channels())"
        );
    }

    #[test]
    fn an_answer_is_read_and_nonsense_is_noticed() {
        let mut findings = Findings::default();
        findings.read(b"\0\x03\0\0\0\x01s\0\0\0\x04role\0\0\0\x08c3a96e61");
        findings.read(b"\0\x03\0\0\0\x01d\0\0\0\x08timezone\xff\xff\xff\xff");
        findings.read(b"\0\x03\0\0\0\x01p\0\0\0\x06listen\xff\xff\xff\xff");
        assert_eq!(
            findings.rows,
            [
                Finding::Is("role".into(), Some("éna".into())),
                Finding::Differs("timezone".into(), None),
                Finding::Pinned(Pin::Listen)
            ]
        );
        assert!(!findings.broken);
        for nonsense in [
            &b"\0\x03\0\0\0\x01p\0\0\0\x06lisTen\xff\xff\xff\xff"[..],
            b"\0\x03\0\0\0\x01s\0\0\0\x04role\0\0\0\x04anna",
            b"\0\x03\0\0\0\x01s\0\0\0\x04role\0\0\0\x02e9",
        ] {
            let mut findings = Findings::default();
            findings.read(nonsense);
            assert!(findings.broken, "{nonsense:?}");
        }
    }
}
