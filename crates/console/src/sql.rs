//! The SQL console: one text in, one answer out, from a picture of the process.
//!
//! It decides nothing but what is meant and whether it is allowed; what is to be done goes back to
//! the caller as a [`Command`]. It is pure: no sockets, no clock.

mod catalogue;
mod lex;
mod nearest;
mod probe;
mod show;

pub use catalogue::{CATALOGUE, Does, Entry};

use poolwarden_watch::View;

use lex::Token;

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
    /// A whole number of 64 bits.
    Int,
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
            Self::Shutdown(_) => "SHUTDOWN",
        }
    }
}

/// Answers one text.
#[must_use]
pub fn answer(sql: &str, view: &View, rights: Rights) -> Answer {
    let tokens = match lex::tokens(sql) {
        Ok(tokens) => tokens,
        Err(unclosed) => return error("42601", format!("unterminated {unclosed}"), None),
    };
    let statement = match one_statement(&tokens) {
        Ok([]) => return Answer::Done { tag: String::new() },
        Ok(statement) => statement,
        Err(refused) => return refused,
    };
    if let Some((entry, rest)) = catalogue::find(statement) {
        return perform(entry, rest, view, rights);
    }
    probe::answer(statement, view).unwrap_or_else(|| unknown(statement))
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

fn perform(entry: &Entry, rest: &[Token], view: &View, rights: Rights) -> Answer {
    if rights < entry.needs {
        let hint = "ask as a user of [console] admins, or as the same system user over the unix socket";
        return error("42501", format!("{} needs the rights of an admin", entry.name), Some(hint.to_owned()));
    }
    match (entry.does, rest) {
        (Does::Show(rows), []) => Answer::Rows { rows: rows(view), tag: "SHOW".to_owned() },
        (Does::Plain(command), []) => Answer::Do(command()),
        (Does::MaybeDatabase(command), []) => Answer::Do(command(None)),
        (Does::MaybeDatabase(command), [name]) => with_database(name, view, |name| command(Some(name))),
        (Does::Database(command), [name]) => with_database(name, view, command),
        (Does::Shutdown, mode) => shutdown(entry, mode),
        (Does::Show(_) | Does::Plain(_) | Does::MaybeDatabase(_) | Does::Database(_), _) => usage(entry),
    }
}

fn with_database(name: &Token, view: &View, command: impl FnOnce(String) -> Command) -> Answer {
    let Some(name) = name.name() else {
        return error("42601", format!("not a database name: {}", name.text()), None);
    };
    let known = view.databases.iter().any(|database| database.name == name)
        || view.pools().any(|(_, pool)| pool.key.database == name);
    if !known {
        let hint = "SHOW DATABASES lists the names".to_owned();
        return error("3D000", format!("no such database: \"{name}\""), Some(hint));
    }
    Answer::Do(command(name))
}

fn shutdown(entry: &Entry, mode: &[Token]) -> Answer {
    match mode {
        [] => Answer::Do(Command::Shutdown(Shutdown::Now)),
        [word] if word.is("wait_for_servers") => Answer::Do(Command::Shutdown(Shutdown::WaitForServers)),
        [word] if word.is("wait_for_clients") => Answer::Do(Command::Shutdown(Shutdown::WaitForClients)),
        _ => usage(entry),
    }
}

fn usage(entry: &Entry) -> Answer {
    error("42601", format!("{} is written {}", entry.name, entry.usage()), Some(entry.about.to_owned()))
}

fn unknown(statement: &[Token]) -> Answer {
    let said = statement.iter().take(4).map(Token::text).collect::<Vec<_>>().join(" ");
    let hint = match nearest::entry(statement) {
        Some(entry) => format!("did you mean {}? SHOW HELP lists every command", entry.name),
        None => "SHOW HELP lists every command".to_owned(),
    };
    error("42601", format!("no such command: {said}"), Some(hint))
}

fn error(sqlstate: &'static str, message: String, hint: Option<String>) -> Answer {
    Answer::Error { sqlstate, message, hint }
}

#[cfg(test)]
mod tests;
