//! One client's session on the SQL console, after its login: bytes in, queries up, replies down.
//!
//! Simple and extended protocol. It knows no command: whoever drives it answers each query with
//! [`ConsoleSession::rows`], [`ConsoleSession::done`] or [`ConsoleSession::error`] and each description with
//! [`ConsoleSession::described`], in order, and only one is asked at a time.
//! Invariant: at most [`MAX_INPUT`] bytes of input are kept, whatever a client sends or announces, and as many of
//! statements it has prepared.

mod encode;
mod extended;

use core::fmt;

use poolwarden_pgwire::frame::{self, FrameError};
use poolwarden_pgwire::make::{self, Report};
use poolwarden_pgwire::read;
use poolwarden_pgwire::tag::client as tag;

pub use encode::ColumnKind;
use encode::Formats;
use extended::Prepared;

/// The most that is kept of a client: one message, or several waiting behind a query. Console
/// commands are a line long; 64 kB is room for any driver's probes.
pub const MAX_INPUT: usize = 64 * 1024;

/// What the session wants done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsoleStep {
    /// Answer this text; nothing else is read before it is answered.
    Query(String),
    /// Say which columns this text will have; nothing else is read before that is answered.
    Describe(String),
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
    /// A message that is not laid out as its type demands.
    Layout,
}

impl fmt::Display for ConsoleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(fault) => fault.fmt(f),
            Self::TooLong(bytes) => write!(f, "{bytes} bytes at once; the console takes at most {MAX_INPUT}"),
            Self::Tag(tag) => write!(f, "invalid frontend message type 0x{tag:02x}"),
            Self::Layout => f.write_str("invalid message format: a text or a count does not end where it should"),
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

/// The session.
///
/// ```text
/// reading ── Query, Describe, Execute ──► asked ── rows, done, described ──► reading
///    ▲                                      │
///    └──────────── Sync ──── skipping ◄─────┴── error in the extended protocol
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConsoleSession {
    input: Vec<u8>,
    phase: Phase,
    prepared: Prepared,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Reading,
    Asked(Asked),
    Skipping,
}

/// What the answer that is waited for belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// A simple query.
    Query,
    /// A Describe; of a statement, whose parameters (none) are told as well, or of a portal, which has formats.
    Describe { formats: Formats, parameters: bool },
    /// An Execute of this portal, and the most rows it may send (0: all).
    Execute(Vec<u8>, usize),
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
        if matches!(self.phase, Phase::Asked(_)) && kept > MAX_INPUT {
            return Err(ConsoleFault::TooLong(kept));
        }
        self.input.extend_from_slice(bytes);
        let (mut steps, mut at) = (Vec::new(), 0);
        while !matches!(self.phase, Phase::Asked(_)) {
            let Some(header) = frame::header(&self.input[at..]).map_err(ConsoleFault::Frame)? else { break };
            let end = at + header.total();
            if header.total() > MAX_INPUT {
                return Err(ConsoleFault::TooLong(header.total()));
            }
            if self.input.len() < end {
                break;
            }
            let body = self.input[at + frame::HEADER..end].to_vec(); // short, and not on the data path
            let step = self.message(header.tag, &body)?;
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

    /// Answers the query with rows and the tag that closes them.
    #[must_use]
    pub fn rows(&mut self, columns: &[(&str, ColumnKind)], rows: Vec<Vec<Option<String>>>, tag: &str) -> Vec<u8> {
        let mut out = Vec::new();
        if let Asked::Execute(portal, most) = self.take() {
            let kinds = columns.iter().map(|(_, kind)| *kind).collect();
            self.prepared.fill(&portal, extended::Result { kinds, rows: rows.into(), tag: tag.to_owned() });
            self.prepared.send(&portal, most, &mut out);
            return out;
        }
        encode::description(&mut out, columns, &Formats::default());
        let kinds: Vec<_> = columns.iter().map(|(_, kind)| *kind).collect();
        for row in &rows {
            encode::row(&mut out, &kinds, row, &Formats::default());
        }
        make::command_complete(&mut out, tag);
        make::ready(&mut out, b'I');
        out
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
        if self.take() == Asked::Query {
            make::ready(&mut out, b'I');
        }
        out
    }

    /// Answers a [`ConsoleStep::Describe`]; `None`: it has no rows.
    #[must_use]
    pub fn described(&mut self, columns: Option<&[(&str, ColumnKind)]>) -> Vec<u8> {
        let mut out = Vec::new();
        let asked = self.take();
        let Asked::Describe { formats, parameters } = &asked else {
            unreachable!("a description follows a Describe: the driver of the session answers what was asked")
        };
        if *parameters {
            encode::no_parameters(&mut out);
        }
        match columns {
            Some(columns) => encode::description(&mut out, columns, formats),
            None => encode::bare(&mut out, poolwarden_pgwire::tag::server::NO_DATA),
        }
        out
    }

    /// Answers the query with an error.
    #[must_use]
    pub fn error(&mut self, sqlstate: &str, message: &str, hint: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        report(&mut out, "ERROR", sqlstate, message, hint);
        if self.take() == Asked::Query {
            make::ready(&mut out, b'I');
        } else {
            self.phase = Phase::Skipping;
        }
        out
    }

    fn take(&mut self) -> Asked {
        match std::mem::take(&mut self.phase) {
            Phase::Asked(asked) => asked,
            Phase::Reading | Phase::Skipping => {
                unreachable!("an answer follows a question, and each question has one answer")
            }
        }
    }

    fn message(&mut self, tag: u8, body: &[u8]) -> Result<Option<ConsoleStep>, ConsoleFault> {
        match tag {
            tag::TERMINATE => Ok(Some(ConsoleStep::Close)),
            tag::SYNC => {
                self.phase = Phase::Reading;
                self.prepared.end_cycle();
                let mut out = Vec::new();
                make::ready(&mut out, b'I');
                Ok(Some(ConsoleStep::Send(out)))
            }
            tag::QUERY => self.query(body),
            tag::PARSE | tag::BIND | tag::DESCRIBE | tag::EXECUTE | tag::CLOSE => {
                if self.phase == Phase::Skipping {
                    return Ok(None);
                }
                self.extended(tag, body).map(Some)
            }
            tag::FUNCTION_CALL if self.phase == Phase::Skipping => Ok(None),
            tag::FUNCTION_CALL => {
                let mut out = Vec::new();
                report(&mut out, "ERROR", "0A000", "the console has no functions to call", None);
                make::ready(&mut out, b'I');
                Ok(Some(ConsoleStep::Send(out)))
            }
            // Flush asks for replies that are sent anyway; COPY messages outside COPY are ignored, as PostgreSQL does.
            tag::FLUSH | tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => Ok(None),
            unknown => Err(ConsoleFault::Tag(unknown)),
        }
    }

    fn query(&mut self, body: &[u8]) -> Result<Option<ConsoleStep>, ConsoleFault> {
        let Some((text, [])) = read::cstr(body) else {
            return Err(ConsoleFault::Layout);
        };
        if self.phase == Phase::Skipping {
            return Ok(None);
        }
        let Ok(text) = std::str::from_utf8(text) else {
            let mut out = Vec::new();
            report(&mut out, "ERROR", "22021", "invalid byte sequence for encoding \"UTF8\"", None);
            make::ready(&mut out, b'I');
            return Ok(Some(ConsoleStep::Send(out)));
        };
        self.phase = Phase::Asked(Asked::Query);
        Ok(Some(ConsoleStep::Query(text.to_owned())))
    }
}

fn report(out: &mut Vec<u8>, severity: &str, sqlstate: &str, message: &str, hint: Option<&str>) {
    make::error(out, &Report { severity, sqlstate, message, detail: None, hint });
}

#[cfg(test)]
mod tests;
