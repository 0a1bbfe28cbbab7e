//! The SQL console: one text in, one answer out, from a picture of the process.
//!
//! It decides nothing but what is meant and whether it is allowed; what is to be done goes back to
//! the caller as a [`Command`]. It is pure: no sockets, no clock.

mod catalogue;
mod lex;
mod nearest;
mod probe;
mod show;
mod verb;

pub use catalogue::{CATALOGUE, Does, Entry};
pub(crate) use nearest::word as nearest_word;

use poolwarden_watch::View;
use poolwarden_watch::why::{Holder, PoolWhy};

use lex::Token;

/// Tables that metrics under PgBouncer's names are made from.
pub(crate) mod tables {
    pub(crate) use super::show::databases::rows as databases;
    pub(crate) use super::show::lists::rows as lists;
    pub(crate) use super::show::pools::rows as pools;
    pub(crate) use super::show::stats::totals as stats_totals;
}

/// Whose words errors are told in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Voice {
    /// poolwarden's.
    #[default]
    Own,
    /// PgBouncer's, which tools match; a command that makes no sense now is refused as PgBouncer refuses it.
    PgBouncer,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// What is allowed.
    pub rights: Rights,
    /// In whose words errors are told.
    pub voice: Voice,
}

/// What the asker may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rights {
    /// See aggregates.
    Reader,
    /// See everything, and command.
    Admin,
}

/// A column's type; values are text of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Bytes; nothing here has any.
    Bytes,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A whole number of any length.
    Numeric,
    /// A number.
    Float,
    /// `t` or `f`.
    Bool,
}

/// A column's name and type.
pub type Column = (&'static str, Kind);

/// One row, a value per column; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// Columns and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Names and types, in order.
    pub columns: &'static [Column],
    /// As many values per row as there are columns.
    pub rows: Vec<Row>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Rows, and the tag that closes them.
    Rows {
        /// Columns and rows.
        rows: Rows,
        /// `SHOW` or `SELECT n`.
        tag: String,
    },
    /// Nothing to do: say the tag. An empty tag is the answer to an empty text.
    Done {
        /// `BEGIN`, `SET`, ...
        tag: String,
    },
    /// Do this, then say its tag.
    Do(Command),
    /// No.
    Error {
        /// Five characters.
        sqlstate: &'static str,
        /// One line.
        message: String,
        /// What to do next.
        hint: Option<String>,
    },
}

/// What an operator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration again and apply it.
    Reload,
    /// Lend no more, of one database or of all.
    Pause(Option<String>),
    /// Lend again.
    Resume(Option<String>),
    /// Replace every server connection as soon as it is not lent.
    Reconnect(Option<String>),
    /// Close everything now and pause.
    Kill(Option<String>),
    /// Refuse new clients of the database.
    Disable(String),
    /// Undo `Disable`.
    Enable(String),
    /// End one client, by the id SHOW CLIENTS gives.
    KillClient(u64),
    /// Pause everything and wait a moment for what is lent.
    Suspend,
    /// Wait until every server connection that RECONNECT or KILL replaces is gone.
    WaitClose(Option<String>),
    /// Change one setting of the running process.
    Set {
        /// Its name.
        key: String,
        /// Its new value, without quotes.
        value: String,
        /// It was written in quotes: a text, whatever it looks like.
        quoted: bool,
    },
    /// Refuse the requests of a class at once, for a while.
    Shed {
        /// Its name; there is one.
        class: String,
        /// For how long, as it was written: `10m`.
        length: String,
    },
    /// Stop the process.
    Shutdown(Shutdown),
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// At once.
    Now,
    /// When every lent server connection came back.
    WaitForServers,
    /// When every client has left.
    WaitForClients,
}

impl Command {
    /// What stands in CommandComplete.
    #[must_use]
    pub const fn tag(&self) -> &'static str {
        match self {
            Self::Reload => "RELOAD",
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Reconnect(_) => "RECONNECT",
            Self::Kill(_) => "KILL",
            Self::Disable(_) => "DISABLE",
            Self::Enable(_) => "ENABLE",
            Self::KillClient(_) => "KILL_CLIENT",
            Self::Suspend => "SUSPEND",
            Self::WaitClose(_) => "WAIT_CLOSE",
            Self::Set { .. } => "SET",
            Self::Shed { .. } => "SHED",
            Self::Shutdown(_) => "SHUTDOWN",
        }
    }
}

/// What answers are drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The picture.
    pub view: &'a View,
    /// Who holds server connections; may be left empty where nobody asks.
    pub holders: &'a [Holder],
    /// What is judged of each pool; may be left empty likewise.
    pub pools: &'a [PoolWhy],
}

/// Answers one text.
#[must_use]
pub fn answer(sql: &str, sight: Sight<'_>, asker: Asker) -> Answer {
    let tokens = match lex::tokens(sql) {
        Ok(tokens) => tokens,
        Err(unclosed) => return error("42601", format!("unterminated {unclosed}"), None),
    };
    let statement = match one_statement(&tokens) {
        Ok([]) => return Answer::Done { tag: String::new() },
        Ok(statement) => statement,
        Err(refused) => return refused,
    };
    if let Some(probed) = probe::answer(statement, sight.view) {
        return probed;
    }
    match catalogue::find(statement) {
        Some((entry, rest)) => verb::perform(entry, rest, sight, asker),
        None => unknown(statement, asker.voice),
    }
}

/// The columns of what this text answers with, without asking anybody; `None` where it has no rows.
#[must_use]
pub fn describe(sql: &str, asker: Asker) -> Option<&'static [Column]> {
    let nothing = View::default();
    match answer(sql, Sight { view: &nothing, holders: &[], pools: &[] }, asker) {
        Answer::Rows { rows, .. } => Some(rows.columns),
        Answer::Done { .. } | Answer::Do(_) | Answer::Error { .. } => None,
    }
}

/// The tokens without closing semicolons; an error if another statement follows one.
fn one_statement(tokens: &[Token]) -> Result<&[Token], Answer> {
    let end = tokens.iter().rposition(|token| !token.is(";")).map_or(0, |last| last + 1);
    let statement = &tokens[..end];
    if statement.iter().any(|token| token.is(";")) {
        let hint = "send each command on its own".to_owned();
        return Err(error("42601", "the console takes one command at a time".to_owned(), Some(hint)));
    }
    Ok(statement)
}

fn unknown(statement: &[Token], voice: Voice) -> Answer {
    let hint = match nearest::entry(statement) {
        Some(entry) => format!("did you mean {}? SHOW HELP lists every command", entry.name),
        None => "SHOW HELP lists every command".to_owned(),
    };
    let message = match voice {
        Voice::Own => format!("no such command: {}", said(statement, 4)),
        Voice::PgBouncer => format!("invalid command '{}', use SHOW HELP;", said(statement, 16)),
    };
    error("42601", message, Some(hint))
}

fn said(statement: &[Token], words: usize) -> String {
    statement.iter().take(words).map(Token::text).collect::<Vec<_>>().join(" ")
}

fn error(sqlstate: &'static str, message: String, hint: Option<String>) -> Answer {
    Answer::Error { sqlstate, message, hint }
}

#[cfg(test)]
mod tests;
