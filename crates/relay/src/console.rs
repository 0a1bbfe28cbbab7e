//! One client's session on the SQL console, after its login: bytes in, queries up, replies down.
//!
//! Simple protocol only; the extended one is answered with one error per cycle, up to its Sync.
//! It knows no command: whoever drives it answers each query with [`ConsoleSession::rows`],
//! [`ConsoleSession::done`] or [`ConsoleSession::error`], in order, and only one is asked at a time.
//! Invariant: at most [`MAX_INPUT`] bytes are kept, whatever a client sends or announces.

use core::fmt;

use poolwarden_pgwire::frame::{self, FrameError};
use poolwarden_pgwire::make::{self, Column, Report};
use poolwarden_pgwire::read;
use poolwarden_pgwire::tag::client as tag;

/// The most that is kept of a client: one message, or several waiting behind a query. Console
/// commands are a line long; 64 kB is room for any driver's probes.
pub const MAX_INPUT: usize = 64 * 1024;

/// What the session wants done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsoleStep {
    /// Answer this text; nothing else is read before it is answered.
    Query(String),
    /// Send these bytes to the client.
    Send(Vec<u8>),
    /// The client said goodbye: close.
    Close,
}

/// Why a session must end: send [`ConsoleFault::farewell`] and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleFault {
    /// A length that no message can have.
    Frame(FrameError),
    /// More than [`MAX_INPUT`] bytes in one message, or waiting behind a query.
    TooLong(usize),
    /// A message type that no client sends here.
    Tag(u8),
    /// A query without its closing NUL, or with more behind it.
    Layout,
}

impl fmt::Display for ConsoleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(fault) => fault.fmt(f),
            Self::TooLong(bytes) => write!(f, "{bytes} bytes at once; the console takes at most {MAX_INPUT}"),
            Self::Tag(tag) => write!(f, "invalid frontend message type 0x{tag:02x}"),
            Self::Layout => f.write_str("invalid string in message: a query ends with its only NUL"),
        }
    }
}

impl core::error::Error for ConsoleFault {}

impl ConsoleFault {
    /// The last message of the session.
    #[must_use]
    pub fn farewell(&self) -> Vec<u8> {
        let mut out = Vec::new();
        report(&mut out, "FATAL", "08P01", &self.to_string(), None);
        out
    }
}

/// A column's type, as the client is told it; values travel as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// `text`.
    Text,
    /// `int8`.
    Int,
    /// `float8`.
    Float,
    /// `bool`; values are `t` and `f`.
    Bool,
}

impl ColumnKind {
    /// Type oid and size, as in PostgreSQL's `pg_type`.
    const fn wire(self) -> (u32, i16) {
        match self {
            Self::Text => (25, -1),
            Self::Int => (20, 8),
            Self::Float => (701, 8),
            Self::Bool => (16, 1),
        }
    }
}

/// The session.
///
/// ```text
/// reading ── Query ──► asked ── rows, done, error ──► reading
///    │  ▲
///    │  └── Sync ──┐
///    └─ Parse... ► skipping
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConsoleSession {
    input: Vec<u8>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Reading,
    Asked,
    Skipping,
}

impl ConsoleSession {
    /// A session whose client has just proven who it is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What follows AuthenticationOk: parameters, the cancel key, and that it may ask.
    #[must_use]
    pub fn welcome(&self, server_version: &str, pid: u32, secret: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let parameters = [
            ("server_version", server_version),
            ("server_encoding", "UTF8"),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("TimeZone", "UTC"),
            ("integer_datetimes", "on"),
            ("standard_conforming_strings", "on"),
            ("is_superuser", "off"),
        ];
        for (name, value) in parameters {
            make::parameter_status(&mut out, name, value);
        }
        make::backend_key(&mut out, pid, secret);
        make::ready(&mut out, b'I');
        out
    }

    /// Takes what the client sent (nothing, to go on after an answer) and says what to do.
    ///
    /// After a [`ConsoleStep::Query`] nothing more comes until it is answered; then call this again.
    ///
    /// # Errors
    /// [`ConsoleFault`] ends the session.
    pub fn handle(&mut self, bytes: &[u8]) -> Result<Vec<ConsoleStep>, ConsoleFault> {
        let kept = self.input.len() + bytes.len();
        if self.phase == Phase::Asked && kept > MAX_INPUT {
            return Err(ConsoleFault::TooLong(kept));
        }
        self.input.extend_from_slice(bytes);
        let (mut steps, mut at) = (Vec::new(), 0);
        while self.phase != Phase::Asked {
            let Some(header) = frame::header(&self.input[at..]).map_err(ConsoleFault::Frame)? else { break };
            let end = at + header.total();
            if header.total() > MAX_INPUT {
                return Err(ConsoleFault::TooLong(header.total()));
            }
            if self.input.len() < end {
                break;
            }
            let step = message(&mut self.phase, header.tag, &self.input[at + frame::HEADER..end])?;
            at = end;
            let closing = step == Some(ConsoleStep::Close);
            steps.extend(step);
            if closing {
                break;
            }
        }
        self.input.drain(..at);
        // What is kept stands behind a query, for a message that is not whole was bounded above.
        if self.input.len() > MAX_INPUT {
            return Err(ConsoleFault::TooLong(self.input.len()));
        }
        Ok(steps)
    }

    /// Answers the query with rows; the tag is `SHOW`.
    #[must_use]
    pub fn rows(&mut self, columns: &[(&str, ColumnKind)], rows: &[Vec<Option<String>>], tag: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let described: Vec<_> = columns
            .iter()
            .map(|&(name, kind)| {
                let (oid, size) = kind.wire();
                Column { name, oid, size }
            })
            .collect();
        make::row_description(&mut out, &described);
        for row in rows {
            let values: Vec<_> = row.iter().map(|value| value.as_ref().map(String::as_bytes)).collect();
            make::data_row(&mut out, &values);
        }
        make::command_complete(&mut out, tag);
        self.answered(out)
    }

    /// Answers the query: done, with notices before it. An empty tag is the answer to an empty text.
    #[must_use]
    pub fn done(&mut self, tag: &str, notices: &[String]) -> Vec<u8> {
        let mut out = Vec::new();
        for notice in notices {
            let (severity, sqlstate) = ("NOTICE", "00000");
            make::notice(&mut out, &Report { severity, sqlstate, message: notice, detail: None, hint: None });
        }
        if tag.is_empty() {
            make::empty_query(&mut out);
        } else {
            make::command_complete(&mut out, tag);
        }
        self.answered(out)
    }

    /// Answers the query with an error.
    #[must_use]
    pub fn error(&mut self, sqlstate: &str, message: &str, hint: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        report(&mut out, "ERROR", sqlstate, message, hint);
        self.answered(out)
    }

    fn answered(&mut self, mut out: Vec<u8>) -> Vec<u8> {
        assert_eq!(self.phase, Phase::Asked, "an answer follows a query, and each query has one");
        self.phase = Phase::Reading;
        make::ready(&mut out, b'I');
        out
    }
}

fn message(phase: &mut Phase, tag: u8, body: &[u8]) -> Result<Option<ConsoleStep>, ConsoleFault> {
    match tag {
        tag::TERMINATE => Ok(Some(ConsoleStep::Close)),
        tag::SYNC => {
            *phase = Phase::Reading;
            let mut out = Vec::new();
            make::ready(&mut out, b'I');
            Ok(Some(ConsoleStep::Send(out)))
        }
        tag::QUERY => query(phase, body),
        tag::PARSE | tag::BIND | tag::DESCRIBE | tag::EXECUTE | tag::CLOSE | tag::FUNCTION_CALL => {
            Ok(unsupported(phase, tag))
        }
        // Flush asks for replies that are sent anyway; COPY messages outside COPY are ignored, as PostgreSQL does.
        tag::FLUSH | tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => Ok(None),
        unknown => Err(ConsoleFault::Tag(unknown)),
    }
}

fn query(phase: &mut Phase, body: &[u8]) -> Result<Option<ConsoleStep>, ConsoleFault> {
    let Some((text, [])) = read::cstr(body) else {
        return Err(ConsoleFault::Layout);
    };
    if *phase == Phase::Skipping {
        return Ok(None);
    }
    let Ok(text) = std::str::from_utf8(text) else {
        let mut out = Vec::new();
        report(&mut out, "ERROR", "22021", "invalid byte sequence for encoding \"UTF8\"", None);
        make::ready(&mut out, b'I');
        return Ok(Some(ConsoleStep::Send(out)));
    };
    *phase = Phase::Asked;
    Ok(Some(ConsoleStep::Query(text.to_owned())))
}

/// One error per cycle; a function call has no Sync and is its own cycle.
fn unsupported(phase: &mut Phase, tag: u8) -> Option<ConsoleStep> {
    if *phase == Phase::Skipping {
        return None;
    }
    let mut out = Vec::new();
    let message = "the console does not speak the extended query protocol";
    report(&mut out, "ERROR", "0A000", message, Some("use the simple protocol, e.g. psql"));
    if tag == tag::FUNCTION_CALL {
        make::ready(&mut out, b'I');
    } else {
        *phase = Phase::Skipping;
    }
    Some(ConsoleStep::Send(out))
}

fn report(out: &mut Vec<u8>, severity: &str, sqlstate: &str, message: &str, hint: Option<&str>) {
    make::error(out, &Report { severity, sqlstate, message, detail: None, hint });
}

#[cfg(test)]
mod tests;
