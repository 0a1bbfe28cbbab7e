//! What a start-up packet asks for, and the session that comes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pgwire::scram::Keys;

use super::{GreetError, options};
use crate::login;

/// Bytes of a name in PostgreSQL: `NAMEDATALEN` without its NUL.
const MAX_NAME: usize = 63;

/// Whom a client says it is, for the look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The user; at most 63 bytes, as PostgreSQL cuts it.
    pub user: String,
    /// The database, at most 63 bytes likewise; the user's name where none was given.
    pub database: String,
    /// Whether it wants to replicate the whole server (logical replication concerns one database, as any session).
    pub replication: bool,
    /// What it calls itself; empty when it does not.
    pub application_name: String,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// An authenticated client.
#[derive(Debug)]
pub struct Session {
    /// The user.
    pub user: String,
    /// The database; the user's name where none was given.
    pub database: String,
    /// The minor version of protocol 3 that is spoken: 0, or 2 (cancel secrets of up to 256 bytes).
    pub minor: u16,
    /// Settings asked for, by `options` and as parameters (which win), each name once, sorted by lower-case name.
    pub settings: Vec<(String, String)>,
    /// Settings named `poolwarden.*`, meant for us alone: names without that prefix, in lower case, sorted.
    pub private: Vec<(String, String)>,
    /// How long its requests may wait: `poolwarden.deadline_ms`.
    pub deadline: Option<Duration>,
    /// Whether it wants to replicate, and what.
    pub replication: Option<Replication>,
    /// The keys its login revealed where it was checked against a SCRAM secret: good for a server that keeps the same one.
    pub keys: Option<Keys>,
    /// What it sent before it was answered: the first bytes of its traffic.
    pub leftover: Vec<u8>,
}

/// What a client wants to replicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// The server's write-ahead log as it is.
    Physical,
    /// What changes in one database.
    Logical,
}

impl Replication {
    /// As the start-up packet says it.
    #[must_use]
    pub const fn value(self) -> &'static str {
        match self {
            Self::Physical => "true",
            Self::Logical => "database",
        }
    }
}

pub(super) struct Request {
    /// The minor version that was asked for, or the newest that is spoken.
    pub(super) minor: u16,
    pub(super) user: String,
    /// `_pq_.` options, none of which is known.
    pub(super) unknown: Vec<String>,
    database: String,
    replication: Option<Replication>,
    /// By lower-case name: as it was spelt, and the value.
    settings: BTreeMap<String, (String, String)>,
    private: BTreeMap<String, String>,
    deadline: Option<Duration>,
}

impl Request {
    /// Sorts the parameters; of a name given twice the last counts, as in PostgreSQL.
    pub(super) fn read(minor: u16, params: Vec<(String, String)>) -> Result<Self, GreetError> {
        let mut request = Self {
            minor,
            user: String::new(),
            unknown: Vec::new(),
            database: String::new(),
            replication: None,
            settings: BTreeMap::new(),
            private: BTreeMap::new(),
            deadline: None,
        };
        let mut options = Vec::new();
        let mut parameters = Vec::new();
        for (name, value) in params {
            match name.as_str() {
                "user" => request.user = value,
                "database" => request.database = value,
                "options" => options = options::read(&value)?,
                "replication" => request.replication = replication(&value)?,
                other if other.starts_with("_pq_.") => request.unknown.push(name),
                _ => parameters.push((name, value)), // any name: a text, not an enum of ours
            }
        }
        for (name, value) in options.into_iter().chain(parameters) {
            request.set(name, value)?;
        }
        cut(&mut request.user);
        cut(&mut request.database);
        if request.user.is_empty() {
            let message = "no PostgreSQL user name specified in startup packet";
            return Err(GreetError::client("28000", message, message.to_owned()));
        }
        if request.database.is_empty() {
            request.database.clone_from(&request.user);
        }
        Ok(request)
    }

    /// Takes a setting. Names that mean something else in a start-up packet are none, however they are spelt and wherever they
    /// come from: in our own packet to a server they would say who we are.
    fn set(&mut self, name: String, value: String) -> Result<(), GreetError> {
        let folded = name.to_ascii_lowercase();
        if login::names_the_session(&folded) || folded == "replication" {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            return Err(GreetError::client("42704", &message, message.clone()));
        }
        if let Some(own) = folded.strip_prefix("poolwarden.") {
            if own == "deadline_ms" {
                self.deadline = deadline(&value)?;
            }
            self.private.insert(own.to_owned(), value);
        } else {
            self.settings.insert(folded, (name, value));
        }
        Ok(())
    }

    pub(super) fn who(&self, tls: bool) -> Who {
        let application_name = self.settings.get("application_name").map(|(_, value)| value.clone());
        Who {
            user: self.user.clone(),
            database: self.database.clone(),
            replication: self.replication == Some(Replication::Physical),
            application_name: application_name.unwrap_or_default(),
            tls,
        }
    }

    pub(super) fn into_session(self, keys: Option<Keys>) -> Session {
        Session {
            user: self.user,
            database: self.database,
            // 3.1 was never released: PostgreSQL takes it and speaks 3.0.
            minor: if self.minor < 2 { 0 } else { self.minor },
            settings: self.settings.into_values().collect(),
            private: self.private.into_iter().collect(),
            deadline: self.deadline,
            replication: self.replication,
            keys,
            leftover: Vec::new(),
        }
    }
}

/// Longer names are cut as `create role` and `create database` cut them, at a character's end; otherwise nobody who was
/// created under a long name could log in under it.
fn cut(name: &mut String) {
    let end = (0..=MAX_NAME.min(name.len())).rev().find(|&end| name.is_char_boundary(end));
    name.truncate(end.unwrap_or(0));
}

/// Milliseconds; 0 is no deadline, as PostgreSQL's own time-outs have it.
fn deadline(value: &str) -> Result<Option<Duration>, GreetError> {
    let millis = value.trim().parse::<u32>().ok().filter(|millis| i32::try_from(*millis).is_ok());
    let millis = millis.ok_or_else(|| {
        let message = format!(
            "invalid value for parameter \"poolwarden.deadline_ms\": \"{value}\": give whole milliseconds from 0 to {}",
            i32::MAX
        );
        GreetError::client("22023", &message, message.clone())
    })?;
    Ok((millis > 0).then(|| Duration::from_millis(millis.into())))
}

/// PostgreSQL's booleans with all their prefixes, and `database` (logical replication).
fn replication(value: &str) -> Result<Option<Replication>, GreetError> {
    let folded = value.to_ascii_lowercase();
    let begins = |whole: &str| !folded.is_empty() && whole.starts_with(&folded);
    if folded == "database" {
        Ok(Some(Replication::Logical))
    } else if folded == "1" || folded == "on" || begins("true") || begins("yes") {
        Ok(Some(Replication::Physical))
    } else if folded == "0" || folded == "of" || folded == "off" || begins("false") || begins("no") {
        Ok(None)
    } else {
        let message = format!("invalid value for parameter \"replication\": \"{value}\"");
        Err(GreetError::client("22023", &message, message.clone()))
    }
}
