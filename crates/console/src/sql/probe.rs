//! What drivers and tools say by themselves before anybody asks: answered, or taken without effect.

use poolwarden_watch::View;

use super::lex::Token;
use super::{Answer, Column, Kind, Rows};

/// Drivers decide by it what they may send: nothing newer than what the console understands.
const SERVER_VERSION: &str = "15.0";

/// Parameters drivers ask for, with the only value this console has of each.
const PARAMETERS: [(&str, &str, &[Column]); 12] = [
    ("client_encoding", "UTF8", &[("client_encoding", Kind::Text)]),
    ("standard_conforming_strings", "on", &[("standard_conforming_strings", Kind::Text)]),
    ("datestyle", "ISO, MDY", &[("DateStyle", Kind::Text)]),
    ("timezone", "UTC", &[("TimeZone", Kind::Text)]),
    ("default_transaction_isolation", "read committed", &[("default_transaction_isolation", Kind::Text)]),
    ("transaction_isolation", "read committed", &[("transaction_isolation", Kind::Text)]),
    ("search_path", "", &[("search_path", Kind::Text)]),
    ("extra_float_digits", "1", &[("extra_float_digits", Kind::Text)]),
    ("server_version", SERVER_VERSION, &[("server_version", Kind::Text)]),
    ("server_version_num", "150000", &[("server_version_num", Kind::Text)]),
    ("server_encoding", "UTF8", &[("server_encoding", Kind::Text)]),
    ("max_identifier_length", "63", &[("max_identifier_length", Kind::Text)]),
];

/// Parameters drivers set at login; they change nothing here.
const SETTABLE: [&str; 16] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lock_timeout",
    "names",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
    "time",
    "timezone",
];

/// The answer to a driver's probe; `None` if it is none.
pub(super) fn answer(statement: &[Token], view: &View) -> Option<Answer> {
    let (verb, rest) = statement.split_first()?;
    let Token::Word(verb) = verb else { return None };
    match verb.to_ascii_lowercase().as_str() {
        "show" => parameter(rest),
        "select" => select(rest, view),
        "set" => set(rest),
        word @ ("begin" | "commit" | "rollback" | "reset" | "discard" | "deallocate") => {
            Some(Answer::Done { tag: word.to_ascii_uppercase() })
        }
        "start" => Some(Answer::Done { tag: "START TRANSACTION".to_owned() }),
        "end" => Some(Answer::Done { tag: "COMMIT".to_owned() }),
        "abort" => Some(Answer::Done { tag: "ROLLBACK".to_owned() }),
        _ => None, // any other word is not a driver's
    }
}

fn parameter(rest: &[Token]) -> Option<Answer> {
    let named = |name: &str| PARAMETERS.iter().find(|(parameter, _, _)| parameter.eq_ignore_ascii_case(name));
    let (_, value, columns) = match rest {
        [name] => named(&name.name()?)?,
        [a, b] if a.is("time") && b.is("zone") => named("timezone")?,
        [a, b, c] if a.is("transaction") && b.is("isolation") && c.is("level") => named("transaction_isolation")?,
        _ => return None, // more words than any parameter has
    };
    Some(one(columns, *value, "SHOW"))
}

fn select(rest: &[Token], view: &View) -> Option<Answer> {
    let said = rest.iter().map(Token::text).collect::<String>().to_ascii_lowercase();
    let said = said.strip_prefix("pg_catalog.").unwrap_or(&said);
    match said {
        "1" => Some(one(&[("?column?", Kind::Int)], "1", "SELECT 1")),
        // Drivers read the number behind this word as the version of the protocol's dialect.
        "version()" => {
            let version = format!("PostgreSQL {SERVER_VERSION} dialect, the console of poolwarden {}", view.version);
            Some(one(&[("version", Kind::Text)], version, "SELECT 1"))
        }
        "current_schema()" => Some(one(&[("current_schema", Kind::Text)], "public", "SELECT 1")),
        "current_database()" => Some(one(&[("current_database", Kind::Text)], "poolwarden", "SELECT 1")),
        "pg_is_in_recovery()" => Some(one(&[("pg_is_in_recovery", Kind::Bool)], "f", "SELECT 1")),
        _ => None, // the console runs no other SQL
    }
}

/// A driver's SET is taken without effect; `None` if it is none of theirs.
fn set(rest: &[Token]) -> Option<Answer> {
    let rest = match rest {
        [scope, tail @ ..] if scope.is("session") || scope.is("local") => tail,
        all => all,
    };
    let name = rest.first().and_then(Token::name)?;
    let characteristics = name.eq_ignore_ascii_case("characteristics") || name.eq_ignore_ascii_case("transaction");
    let known = characteristics || SETTABLE.iter().any(|settable| settable.eq_ignore_ascii_case(&name));
    known.then(|| Answer::Done { tag: "SET".to_owned() })
}

fn one(columns: &'static [Column], value: impl Into<String>, tag: &str) -> Answer {
    Answer::Rows { rows: Rows { columns, rows: vec![vec![Some(value.into())]] }, tag: tag.to_owned() }
}
