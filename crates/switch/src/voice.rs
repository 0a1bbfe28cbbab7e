//! The texts of PgBouncer's errors that tools match, beside what is said here: under PgBouncer's configuration a message is
//! PgBouncer's, and what would be said natively stands in its DETAIL. The SQLSTATE is true in both voices.
//!
//! None of them ends a session that PgBouncer's would not have to end; and a session that lives on is told no SQLSTATE on
//! which drivers' pools throw connections away (57P01 to 57P03, class 08).

use std::borrow::Cow;

/// Whose words errors are told in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Voice {
    /// poolwarden's.
    #[default]
    Own,
    /// PgBouncer's.
    PgBouncer,
}

/// One of PgBouncer's texts, and what is said here then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saying {
    /// PgBouncer's text; `%s` is what it is about.
    pub text: &'static str,
    /// When it is said here.
    pub when: &'static str,
    /// Its SQLSTATE here; PgBouncer's is 08P01 for all of them.
    pub sqlstate: &'static str,
    /// How it differs here, or why it is never said.
    pub differs: &'static str,
}

impl Saying {
    const fn new(text: &'static str, sqlstate: &'static str, when: &'static str, differs: &'static str) -> Self {
        Self { text, when, sqlstate, differs }
    }

    /// The text about something.
    #[must_use]
    pub fn about(&self, what: &str) -> Cow<'static, str> {
        if self.text.contains("%s") { self.text.replacen("%s", what, 1).into() } else { self.text.into() }
    }

    /// The text about something where PgBouncer's voice speaks.
    #[must_use]
    pub fn spoken(&self, voice: Voice, what: &str) -> Option<Cow<'static, str>> {
        match voice {
            Voice::Own => None,
            Voice::PgBouncer => Some(self.about(what)),
        }
    }
}

/// It is never said here.
const NEVER: &str = "";

/// A request waited as long as it may.
pub const QUERY_WAIT_TIMEOUT: Saying = Saying::new(
    "query_wait_timeout",
    "53300",
    "a request waited as long as it may for a server connection",
    "the session goes on; PgBouncer ends it",
);
/// Too many clients.
pub const NO_MORE_CONNECTIONS: Saying = Saying::new(
    "no more connections allowed (max_client_conn)",
    "53300",
    "max_client_conn clients are there",
    "told after the login, so that nobody without a password learns it",
);
/// The server refuses logins or cannot be reached.
pub const LOGIN_FAILING: Saying = Saying::new(
    "server login has been failing, cached error: %s (server_login_retry)",
    "57P03",
    "PostgreSQL cannot be reached or refuses logins",
    "58000 on a session that lives, which goes on",
);
/// The server was not there in time for a login.
pub const LOGIN_TIMEOUT: Saying = Saying::new(
    "client_login_timeout (server down)",
    "57P03",
    "a login found no server connection in time, and PostgreSQL did not say why",
    "",
);
/// A transaction was silent too long.
pub const IDLE_TRANSACTION: Saying =
    Saying::new("idle transaction timeout", "25P03", "a transaction was silent longer than it may", "");
/// A transaction was too long.
pub const TRANSACTION: Saying =
    Saying::new("transaction timeout", "25P04", "a transaction took longer than it may", "");
/// A request was too long.
pub const QUERY: Saying = Saying::new("query timeout", "57014", "a request ran longer than it may", "");
/// A client was silent too long.
pub const CLIENT_IDLE: Saying =
    Saying::new("client_idle_timeout", "57P05", "a client was silent longer than it may", "");
/// The database is not configured.
pub const NO_SUCH_DATABASE: Saying =
    Saying::new("no such database: %s", "3D000", "the database is not in the file", "");
/// The database is disabled.
pub const DISABLED: Saying = Saying::new(
    "database \"%s\" is disabled",
    "57P03",
    "DISABLE was said to the database",
    "clients there already are told so with 55000 and stay connected",
);
/// The process is stopping.
pub const SHUTTING_DOWN: Saying =
    Saying::new("pooler is shutting down", "57P01", "the process is stopping", "57P03 to who comes");
/// An operator ended the session.
pub const FORCED: Saying = Saying::new("admin forced disconnect", "57P01", "KILL or KILL_CLIENT", "");
/// The server connection died under the client.
pub const CRASHED: Saying = Saying::new(
    "server conn crashed?",
    "08006",
    "the server connection died under a request",
    "PostgreSQL's own last words come first, where it said any",
);
/// A transaction block in statement mode.
pub const NO_BLOCKS: Saying =
    Saying::new("transaction blocks not allowed in statement pooling mode", "0A000", "BEGIN in statement mode", "");

/// Every text that tools match, those that are never said here last.
pub const SAYINGS: [Saying; 21] = [
    QUERY_WAIT_TIMEOUT,
    NO_MORE_CONNECTIONS,
    LOGIN_FAILING,
    LOGIN_TIMEOUT,
    IDLE_TRANSACTION,
    TRANSACTION,
    QUERY,
    CLIENT_IDLE,
    NO_SUCH_DATABASE,
    DISABLED,
    SHUTTING_DOWN,
    FORCED,
    CRASHED,
    NO_BLOCKS,
    Saying::new(
        "client connections exceeded (%s)",
        "53300",
        NEVER,
        "max_db_client_connections and max_user_client_connections are refused in the file; a queue and its limits hold clients here",
    ),
    Saying::new(
        "no such user",
        "28P01",
        NEVER,
        "an unknown user is told what a wrong password is told, so that names cannot be tried out",
    ),
    Saying::new(
        "unsupported startup parameter: %s",
        "42704",
        NEVER,
        "PostgreSQL judges each parameter, and its own words refuse one it does not know",
    ),
    Saying::new(
        "prepared statement did not exist",
        "26000",
        NEVER,
        "PostgreSQL's own words, with the client's name of the statement",
    ),
    Saying::new(
        "prepared statement name is already in use",
        "42P05",
        NEVER,
        "PostgreSQL's own words, with the client's name of the statement",
    ),
    Saying::new("server connection closed", "08006", NEVER, "told as \"server conn crashed?\" is"),
    Saying::new("extended query protocol not supported by admin console", "0A000", NEVER, "the console speaks it"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_spoken_about_its_thing_in_pgbouncers_voice_alone() {
        assert_eq!(NO_SUCH_DATABASE.spoken(Voice::PgBouncer, "shop").unwrap(), "no such database: shop");
        assert_eq!(QUERY_WAIT_TIMEOUT.spoken(Voice::PgBouncer, "shop").unwrap(), "query_wait_timeout");
        assert_eq!(NO_SUCH_DATABASE.spoken(Voice::Own, "shop"), None);
    }

    #[test]
    fn each_text_stands_once_with_a_state_and_a_moment_or_a_reason() {
        for (number, saying) in SAYINGS.iter().enumerate() {
            assert!(!SAYINGS[..number].iter().any(|earlier| earlier.text == saying.text), "{}", saying.text);
            assert_eq!(saying.sqlstate.len(), 5, "{}", saying.text);
            assert!(!saying.when.is_empty() || !saying.differs.is_empty(), "{}", saying.text);
        }
    }
}
