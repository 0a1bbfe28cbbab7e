//! The extended protocol on the console: statements without parameters, portals that keep the rows not yet sent.

use std::collections::{BTreeMap, VecDeque};

use poolwarden_pgwire::make;
use poolwarden_pgwire::read;
use poolwarden_pgwire::tag::client as tag;
use poolwarden_pgwire::tag::server;

use super::encode::{self, ColumnKind, Formats};
use super::{Asked, ConsoleFault, ConsoleSession, ConsoleStep, MAX_INPUT, Phase, report};

/// Statements and portals kept of one session; drivers keep one per text they send.
const MAX_KEPT: usize = 256;

/// What a session has prepared.
#[derive(Clone, Debug, Default)]
pub(super) struct Prepared {
    statements: BTreeMap<Vec<u8>, String>,
    portals: BTreeMap<Vec<u8>, Portal>,
}

#[derive(Clone, Debug)]
struct Portal {
    sql: String,
    formats: Formats,
    /// What is left to send, once it ran.
    result: Option<Result>,
}

/// Rows not sent yet.
#[derive(Clone, Debug)]
pub(super) struct Result {
    pub(super) kinds: Vec<ColumnKind>,
    pub(super) rows: VecDeque<Vec<Option<String>>>,
    pub(super) tag: String,
}

/// Why a message of the extended protocol is answered with an error.
struct Refused {
    sqlstate: &'static str,
    message: String,
}

type Handled = std::result::Result<ConsoleStep, Refused>;

fn refused(sqlstate: &'static str, message: impl Into<String>) -> Refused {
    Refused { sqlstate, message: message.into() }
}

impl Prepared {
    /// Portals end with the transaction, and here every cycle is one.
    pub(super) fn end_cycle(&mut self) {
        self.portals.clear();
    }

    pub(super) fn fill(&mut self, portal: &[u8], result: Result) {
        if let Some(portal) = self.portals.get_mut(portal) {
            portal.result = Some(result);
        }
    }

    /// Sends up to `most` rows of a portal that ran (0: all), and how it ended.
    pub(super) fn send(&mut self, portal: &[u8], most: usize, out: &mut Vec<u8>) {
        let Some(portal) = self.portals.get_mut(portal) else { return };
        let Some(result) = &mut portal.result else { return };
        let most = if most == 0 { usize::MAX } else { most };
        for row in result.rows.drain(..most.min(result.rows.len())) {
            encode::row(out, &result.kinds, &row, &portal.formats);
        }
        if result.rows.is_empty() {
            make::command_complete(out, &result.tag);
        } else {
            encode::bare(out, server::PORTAL_SUSPENDED);
        }
    }

    fn statement(&self, name: &[u8]) -> std::result::Result<&String, Refused> {
        let unknown = || {
            let name = String::from_utf8_lossy(name);
            refused("26000", format!("prepared statement \"{name}\" does not exist"))
        };
        self.statements.get(name).ok_or_else(unknown)
    }

    fn portal(&self, name: &[u8]) -> std::result::Result<&Portal, Refused> {
        let unknown = || refused("34000", format!("portal \"{}\" does not exist", String::from_utf8_lossy(name)));
        self.portals.get(name).ok_or_else(unknown)
    }
}

impl ConsoleSession {
    /// One message of the extended protocol, outside a cycle that failed.
    pub(super) fn extended(&mut self, tag: u8, body: &[u8]) -> std::result::Result<ConsoleStep, ConsoleFault> {
        let handled = match tag {
            tag::PARSE => self.parse(body)?,
            tag::BIND => self.bind(body)?,
            tag::DESCRIBE => self.describe(body)?,
            tag::EXECUTE => self.execute(body)?,
            _ => self.close(body)?, // the caller has five types, and this is the fifth
        };
        Ok(handled.unwrap_or_else(|Refused { sqlstate, message }| {
            self.phase = Phase::Skipping;
            let mut out = Vec::new();
            report(&mut out, "ERROR", sqlstate, &message, None);
            ConsoleStep::Send(out)
        }))
    }

    fn parse(&mut self, body: &[u8]) -> std::result::Result<Handled, ConsoleFault> {
        let parse = read::parse(body).ok_or(ConsoleFault::Layout)?;
        let Ok(text) = std::str::from_utf8(parse.text) else {
            return Ok(Err(refused("22021", "invalid byte sequence for encoding \"UTF8\"")));
        };
        let statements = &mut self.prepared.statements;
        if !parse.name.is_empty() && statements.contains_key(parse.name) {
            let name = String::from_utf8_lossy(parse.name);
            return Ok(Err(refused("42P05", format!("prepared statement \"{name}\" already exists"))));
        }
        let bytes: usize = statements.iter().map(|(name, text)| name.len() + text.len()).sum();
        if statements.len() >= MAX_KEPT || bytes + body.len() > MAX_INPUT {
            return Ok(Err(refused("54000", "too many prepared statements for the console: close some")));
        }
        statements.insert(parse.name.to_vec(), text.to_owned());
        Ok(Ok(sent(server::PARSE_COMPLETE)))
    }

    fn bind(&mut self, body: &[u8]) -> std::result::Result<Handled, ConsoleFault> {
        let bind = read::bind(body).ok_or(ConsoleFault::Layout)?;
        let (parameters, formats) = formats(&body[bind.after..]).ok_or(ConsoleFault::Layout)?;
        if parameters > 0 {
            let message = format!("the console's commands take no parameters, and {parameters} are given");
            return Ok(Err(refused("08P01", message)));
        }
        let sql = match self.prepared.statement(bind.statement) {
            Ok(sql) => sql.clone(),
            Err(refused) => return Ok(Err(refused)),
        };
        let portals = &mut self.prepared.portals;
        if portals.len() >= MAX_KEPT {
            return Ok(Err(refused("54000", "too many portals for the console: close some")));
        }
        portals.insert(bind.portal.to_vec(), Portal { sql, formats, result: None });
        Ok(Ok(sent(server::BIND_COMPLETE)))
    }

    fn describe(&mut self, body: &[u8]) -> std::result::Result<Handled, ConsoleFault> {
        let (kind, name) = read::named(body).ok_or(ConsoleFault::Layout)?;
        let found = match kind {
            b'S' => self.prepared.statement(name).map(|sql| (sql.clone(), Formats::default())),
            _ => self.prepared.portal(name).map(|portal| (portal.sql.clone(), portal.formats.clone())), // S or P
        };
        Ok(found.map(|(sql, formats)| {
            self.phase = Phase::Asked(Asked::Describe { formats, parameters: kind == b'S' });
            ConsoleStep::Describe(sql)
        }))
    }

    fn execute(&mut self, body: &[u8]) -> std::result::Result<Handled, ConsoleFault> {
        let (name, rest) = read::cstr(body).ok_or(ConsoleFault::Layout)?;
        let most: [u8; 4] = rest.try_into().map_err(|_| ConsoleFault::Layout)?;
        let most = usize::try_from(i32::from_be_bytes(most)).unwrap_or_default(); // below zero is no limit either
        let portal = match self.prepared.portal(name) {
            Ok(portal) => portal,
            Err(refused) => return Ok(Err(refused)),
        };
        if portal.result.is_some() {
            let mut out = Vec::new();
            self.prepared.send(name, most, &mut out);
            return Ok(Ok(ConsoleStep::Send(out)));
        }
        let sql = portal.sql.clone();
        self.phase = Phase::Asked(Asked::Execute(name.to_vec(), most));
        Ok(Ok(ConsoleStep::Query(sql)))
    }

    fn close(&mut self, body: &[u8]) -> std::result::Result<Handled, ConsoleFault> {
        let (kind, name) = read::named(body).ok_or(ConsoleFault::Layout)?;
        if kind == b'S' {
            self.prepared.statements.remove(name);
        } else {
            self.prepared.portals.remove(name);
        }
        Ok(Ok(sent(server::CLOSE_COMPLETE)))
    }
}

fn sent(tag: u8) -> ConsoleStep {
    let mut out = Vec::new();
    encode::bare(&mut out, tag);
    ConsoleStep::Send(out)
}

/// How many parameters a Bind has, and the formats of its results; `None`: its counts do not fit its length.
fn formats(after_names: &[u8]) -> Option<(usize, Formats)> {
    let (count, rest) = number(after_names)?;
    let rest = rest.get(2 * count..)?;
    let (parameters, mut rest) = number(rest)?;
    for _ in 0..parameters {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or_default(); // -1 is NULL
        rest = behind.get(length..)?;
    }
    let (count, rest) = number(rest)?;
    let (codes, []) = rest.as_chunks::<2>() else { return None };
    (codes.len() == count).then(|| (parameters, Formats(codes.iter().map(|code| *code == [0, 1]).collect())))
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    Some((usize::from(u16::from_be_bytes(*count)), rest))
}
