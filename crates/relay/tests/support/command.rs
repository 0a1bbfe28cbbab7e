//! The model's SQL: a handful of commands, each with the effect on the protocol that some real statement has.

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Empty,
    Begin,
    Commit,
    Rollback,
    /// One row with this text.
    Select(String),
    /// So many rows of so many bytes.
    Rows(usize, usize),
    /// Changes something, returns nothing.
    Insert,
    /// Fails when it runs.
    Error,
    CopyIn,
    /// So many rows out.
    CopyOut(usize),
    Set {
        name: String,
        value: String,
        local: bool,
    },
    Show(String),
    /// What a pooler sends between two clients: RESETs, then `set_config` calls.
    Configure {
        resets: Vec<String>,
        sets: Vec<(String, String)>,
    },
    /// RESET ALL, by a client.
    ResetAll,
    /// Session state comes to be, or goes; whether a rollback takes it back.
    Make(&'static str, bool),
    Unmake(&'static str),
    /// What session state there is.
    State,
    /// SQL's PREPARE, EXECUTE and DEALLOCATE: name, and what it does.
    Prepare(String, Box<Self>),
    Execute(String),
    Deallocate(String),
    /// The pooler asks what was left behind.
    Probe(Vec<Asked>),
    DeallocateAll,
    DiscardAll,
    Notice,
    Notify,
    /// Rows of the one table, whose shape `alter` changes.
    Table,
    Alter,
    /// The backend is terminated.
    Fatal,
}

/// One question of the pooler's.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Value(String),
    /// Whether it was set in the session, and to what; no names: all that were.
    Differences(Vec<String>),
    State(String),
}

/// Why a text is no command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unfit {
    Syntax,
    /// It parses, and names something that is not there.
    Missing,
}

impl Command {
    /// Splits a text at its semicolons; every part must be a command.
    pub fn all(text: &str) -> Result<Vec<Result<Self, Unfit>>, Unfit> {
        if let Some(asked) = probe(text) {
            return Ok(vec![Ok(Self::Probe(asked))]);
        }
        if text.starts_with("SELECT pg_catalog.set_config") || text.starts_with("RESET ") {
            return Ok(vec![Ok(configure(text.trim_end())?)]);
        }
        let mut commands: Vec<_> = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            match Self::one(part) {
                Err(Unfit::Syntax) => return Err(Unfit::Syntax),
                other => commands.push(other),
            }
        }
        Ok(commands)
    }

    fn one(text: &str) -> Result<Self, Unfit> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let first: Vec<String> = words.iter().take(2).map(|word| word.to_ascii_lowercase()).collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).ok_or(Unfit::Syntax);
        let word = |at: usize| words.get(at).map(|word| (*word).to_owned()).ok_or(Unfit::Syntax);
        let pair = (first.first().map_or("", String::as_str), first.get(1).map_or("", String::as_str));
        Ok(match pair {
            ("begin", _) | ("start", "transaction") => Self::Begin,
            ("commit", _) => Self::Commit,
            ("rollback", _) => Self::Rollback,
            ("select", "pg_advisory_lock(1)") => Self::Make("advisory_lock", false),
            ("select", "pg_advisory_unlock_all()") => Self::Unmake("advisory_lock"),
            ("select", "state") => Self::State,
            ("create", "temp" | "table") => Self::Make("temp_table", true),
            ("drop", _) => Self::Unmake("temp_table"),
            ("declare", _) => Self::Make("hold_cursor", true),
            ("close", _) => Self::Unmake("hold_cursor"),
            ("listen", _) => Self::Make("listen", true),
            ("unlisten", _) => Self::Unmake("listen"),
            ("prepare", _) => {
                let at = text.to_ascii_lowercase().find(" as ").ok_or(Unfit::Syntax)?;
                let what = Self::all(&text[at + 4..])?.pop().ok_or(Unfit::Syntax)??;
                Self::Prepare(identifier(&word(1)?), Box::new(what))
            }
            ("execute", _) => Self::Execute(identifier(&word(1)?)),
            ("deallocate", name) if name != "all" => Self::Deallocate(identifier(&word(1)?)),
            ("reset", "all") => Self::ResetAll,
            ("select", name) if name.contains("poolwarden") => return Err(Unfit::Missing),
            ("select", _) => Self::Select(word(1)?),
            ("rows", _) => Self::Rows(number(1)?, number(2)?),
            ("insert", _) => Self::Insert,
            ("error", _) => Self::Error,
            ("copy", "in") => Self::CopyIn,
            ("copy", "out") => Self::CopyOut(number(2)?),
            ("set", "local") => {
                Self::Set { name: word(2)?.to_ascii_lowercase(), value: words[3..].join(" "), local: true }
            }
            ("set", _) => Self::Set { name: word(1)?.to_ascii_lowercase(), value: words[2..].join(" "), local: false },
            ("reset", _) => {
                Self::Configure { resets: vec![word(1)?.trim_matches('"').to_ascii_lowercase()], sets: vec![] }
            }
            ("show", _) => Self::Show(word(1)?.to_ascii_lowercase()),
            ("deallocate", "all") => Self::DeallocateAll,
            ("discard", "all") => Self::DiscardAll,
            ("notice", _) => Self::Notice,
            ("notify", _) => Self::Notify,
            ("table", _) => Self::Table,
            ("alter", _) => Self::Alter,
            ("fatal", _) => Self::Fatal,
            ("missing", _) => return Err(Unfit::Missing),
            _ => return Err(Unfit::Syntax),
        })
    }

    /// Whether it may run in a failed transaction.
    pub fn ends_transaction(&self) -> bool {
        matches!(self, Self::Commit | Self::Rollback)
    }

    /// How many columns its rows have (`table` has as many as the catalog's version says); none, if it returns no rows.
    pub fn columns(&self, version: u16) -> Option<u16> {
        match self {
            Self::Select(_) | Self::Rows(..) | Self::Show(_) | Self::State | Self::Make("advisory_lock", _) => Some(1),
            Self::Unmake("advisory_lock") => Some(1),
            Self::Probe(_) => Some(3),
            Self::Make(..) | Self::Unmake(_) | Self::ResetAll | Self::Prepare(..) | Self::Deallocate(_) => None,
            Self::Execute(_) => Some(1), // what these tests execute is a row
            Self::Table => Some(version),
            Self::Configure { sets, .. } if !sets.is_empty() => u16::try_from(sets.len()).ok(),
            Self::Empty | Self::Begin | Self::Commit | Self::Rollback | Self::Insert | Self::Error | Self::CopyIn => {
                None
            }
            Self::CopyOut(_) | Self::Set { .. } | Self::Configure { .. } | Self::DeallocateAll => None,
            Self::DiscardAll | Self::Notice | Self::Notify | Self::Alter | Self::Fatal => None,
        }
    }
}

/// `RESET "a";SELECT pg_catalog.set_config(E'name',E'value',false),...`
fn configure(text: &str) -> Result<Command, Unfit> {
    let (mut resets, mut sets) = (Vec::new(), Vec::new());
    let mut rest = text;
    if let Some(tail) = rest.strip_prefix("RESET SESSION AUTHORIZATION;RESET ROLE;") {
        resets.push("role".to_owned());
        rest = tail;
    }
    while let Some(tail) = rest.strip_prefix("RESET \"") {
        let (name, tail) = tail.split_once("\";").ok_or(Unfit::Syntax)?;
        resets.push(name.to_owned());
        rest = tail;
    }
    if rest.is_empty() {
        return Ok(Command::Configure { resets, sets });
    }
    rest = rest.strip_prefix("SELECT ").ok_or(Unfit::Syntax)?;
    loop {
        rest = rest.strip_prefix("pg_catalog.set_config(").ok_or(Unfit::Syntax)?;
        let (name, tail) = literal(rest)?;
        let (value, tail) = literal(tail.strip_prefix(',').ok_or(Unfit::Syntax)?)?;
        sets.push((name, value));
        rest = tail.strip_prefix(",false)").ok_or(Unfit::Syntax)?;
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(Command::Configure { resets, sets }),
            None => return Err(Unfit::Syntax),
        }
    }
}

/// A name as PostgreSQL folds it.
fn identifier(word: &str) -> String {
    word.strip_prefix('"').map_or_else(|| word.to_ascii_lowercase(), |word| word.trim_end_matches('"').to_owned())
}

/// The pooler's question, if it is one.
fn probe(text: &str) -> Option<Vec<Asked>> {
    let parts = text.split(" UNION ALL ").map(|part| {
        let part = part.strip_prefix("SELECT '")?;
        if let Some(rest) = part.strip_prefix("s',") {
            return Some(Some(Asked::Value(literal(rest).ok()?.0)));
        }
        if let Some(rest) = part.strip_prefix("p','") {
            return Some(Some(Asked::State(rest.split_once('\'')?.0.to_owned())));
        }
        if part.starts_with("d',") {
            let Some((_, list)) = part.split_once("ARRAY[") else { return Some(Some(Asked::Differences(vec![]))) };
            let names = list.split("E'").skip(1).filter_map(|name| Some(name.split_once('\'')?.0.to_owned()));
            return Some(Some(Asked::Differences(names.collect())));
        }
        part.starts_with("n',").then_some(None)
    });
    Some(parts.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

/// A string and what follows it: an `E'...'` literal, or the bytes of one.
fn literal(text: &str) -> Result<(String, &str), Unfit> {
    if let Some(text) = text.strip_prefix("pg_catalog.convert_from(") {
        let (digits, rest) = literal(text)?;
        let digits = digits.strip_prefix("\\x").ok_or(Unfit::Syntax)?.as_bytes();
        let bytes = digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
        let value = String::from_utf8(bytes.collect()).map_err(|_| Unfit::Syntax)?;
        return Ok((value, rest.strip_prefix(",'UTF8')").ok_or(Unfit::Syntax)?));
    }
    let mut chars = text.strip_prefix("E'").ok_or(Unfit::Syntax)?.chars();
    let mut value = String::new();
    loop {
        match chars.next().ok_or(Unfit::Syntax)? {
            '\\' => value.push(chars.next().ok_or(Unfit::Syntax)?),
            '\'' if chars.as_str().starts_with('\'') => value.extend(chars.next()),
            '\'' => return Ok((value, chars.as_str())),
            other => value.push(other),
        }
    }
}
