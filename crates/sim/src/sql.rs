//! The little language that made-up clients speak to the made-up PostgreSQL, and what the pooler itself says there.
//!
//! Every statement carries a *token*: whose it is and which of its statements it is. Replies echo it.

use core::fmt;
use std::time::Duration;

/// Whose statement, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token {
    pub(crate) owner: u32,
    pub(crate) number: u32,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.owner, self.number)
    }
}

impl Token {
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (owner, number) = text.strip_prefix('c')?.split_once('.')?;
        Some(Self { owner: owner.parse().ok()?, number: number.parse().ok()? })
    }
}

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Rows that echo the token, of this size each.
    Select {
        token: Token,
        hold: Duration,
        rows: u32,
        size: usize,
        /// It belongs in a transaction, and must not run outside of one.
        inside: bool,
    },
    /// `DEALLOCATE ALL`.
    Forget(Token),
    Begin(Token),
    Commit(Token),
    /// `None`: the pooler's own.
    Rollback(Option<Token>),
    Fail {
        token: Token,
        hold: Duration,
    },
    /// `SET application_name`.
    Name {
        token: Token,
        value: String,
    },
    CopyIn(Token),
    CopyOut {
        token: Token,
        rows: u32,
    },
    /// The pooler sets settings.
    Restore(Vec<(String, String)>),
    /// The pooler asks what became of application_name: its value, and whether that is another than the connection's first.
    Probe {
        is: bool,
        differs: bool,
    },
    /// The pooler's reset query.
    Discard,
    /// The pooler wants an error.
    Provoke,
}

impl Command {
    /// Reads a statement; `parameter` stands for `$1`.
    pub(crate) fn read(text: &str, parameter: Option<&str>) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        let token = |at: usize| {
            let word: &str = words.get(at)?;
            Token::read(if word == "$1" { parameter? } else { word })
        };
        let number = |at: usize| words.get(at)?.parse::<u32>().ok();
        let hold = |at: usize| Some(Duration::from_micros(u64::from(number(at)?)));
        match words[0] {
            "select" => {
                let (token, hold, rows, size) = (token(1)?, hold(2)?, number(3)?, number(4)? as usize);
                Some(Self::Select { token, hold, rows, size, inside: false })
            }
            "insert" => Some(Self::Select { token: token(1)?, hold: hold(2)?, rows: 0, size: 0, inside: true }),
            "deallocate" => Some(Self::Forget(token(3)?)),
            "begin" => Some(Self::Begin(token(2)?)),
            "commit" => Some(Self::Commit(token(2)?)),
            "rollback" => Some(Self::Rollback(Some(token(2)?))),
            "fail" => Some(Self::Fail { token: token(1)?, hold: hold(2)? }),
            "set" => Some(Self::Name { value: (*words.get(3)?).to_owned(), token: token(5)? }),
            "copy-in" => Some(Self::CopyIn(token(1)?)),
            "copy-out" => Some(Self::CopyOut { token: token(1)?, rows: number(2)? }),
            "ROLLBACK" => Some(Self::Rollback(None)),
            "DISCARD" => Some(Self::Discard),
            "SELECT" if text.contains("set_config") => Some(Self::Restore(set_configs(text))),
            "SELECT" if text.starts_with("SELECT \"poolwarden") => Some(Self::Provoke),
            "SELECT" if ["'s'", "'d'", "'n'"].iter().any(|kind| words[1].starts_with(kind)) => {
                let asks = |what: &str| text.split(" UNION ALL ").any(|part| part.starts_with(what));
                Some(Self::Probe { is: asks("SELECT 's',E'application_name'"), differs: asks("SELECT 'd',") })
            }
            _ => None,
        }
    }

    /// Whose it is; the pooler's own are nobody's.
    pub(crate) fn token(&self) -> Option<Token> {
        match self {
            Self::Select { token, .. }
            | Self::Forget(token)
            | Self::Begin(token)
            | Self::Commit(token)
            | Self::Fail { token, .. }
            | Self::Name { token, .. }
            | Self::CopyIn(token)
            | Self::CopyOut { token, .. } => Some(*token),
            Self::Rollback(token) => *token,
            Self::Restore(_) | Self::Probe { .. } | Self::Discard | Self::Provoke => None,
        }
    }

    /// Whose it is, where it must not run outside of a transaction.
    pub(crate) fn strays(&self) -> Option<Token> {
        self.token().filter(|_| matches!(self, Self::Select { inside: true, .. }))
    }

    /// How long it runs.
    pub(crate) fn hold(&self) -> Duration {
        match self {
            Self::Select { hold, .. } | Self::Fail { hold, .. } => *hold,
            Self::Begin(_) | Self::Commit(_) | Self::Rollback(_) | Self::Name { .. } | Self::CopyIn(_) => {
                Duration::ZERO
            }
            Self::Forget(_) | Self::CopyOut { .. } | Self::Provoke => Duration::ZERO,
            Self::Restore(_) | Self::Probe { .. } | Self::Discard => Duration::from_micros(300), // long enough for a cancel request to meet it
        }
    }
}

/// Names and values of `set_config(E'name',E'value',false)`.
fn set_configs(text: &str) -> Vec<(String, String)> {
    let calls = text.split("set_config(").skip(1);
    let pairs = calls.filter_map(|call| {
        let mut literals = call.split("E'").skip(1).filter_map(|literal| literal.split('\'').next());
        Some((literals.next()?.to_owned(), literals.next()?.to_owned()))
    });
    pairs.collect()
}
