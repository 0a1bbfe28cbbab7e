//! One modelled PostgreSQL backend: bytes in, bytes out, and statements that take time.
//!
//! It answers in protocol 3 as PostgreSQL would, and complains about what no pooler may let happen to it:
//! statements of two clients in one transaction, or in one session where sessions are kept.

use std::collections::BTreeMap;

use poolwarden_switch::pool::Time;
use poolwarden_switch::relay::pgwire::tag::client as tag;
use poolwarden_switch::relay::pgwire::{frame, make, read};

use crate::sql::{Command, Token};

/// It reads no more while so much waits to be sent.
const MOST_UNSENT: usize = 16 << 10;
/// It reads no more while a statement runs and so much waits to be dealt with.
const MOST_UNREAD: usize = 200;
/// PostgreSQL's report of the parameter that clients of this world set.
pub(crate) const NAME: &str = "application_name";

/// A statement that runs.
#[derive(Debug)]
struct Run {
    until: Time,
    command: Command,
    /// Came as a simple query, which ends with ReadyForQuery.
    simple: bool,
    /// It stops at its row limit.
    suspends: bool,
}

/// A statement with its parameter, and how many of its rows were told.
#[derive(Clone, Debug)]
struct Portal {
    sql: String,
    parameter: Option<String>,
    told: u32,
}

/// What a COPY from the client has brought.
#[derive(Clone, Copy, Debug)]
struct Copying {
    token: Token,
    rows: u32,
    simple: bool,
}

#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) pid: u32,
    pub(crate) secret: u32,
    pub(crate) inbox: Vec<u8>,
    pub(crate) outbox: Vec<u8>,
    /// What must never happen, and did.
    pub(crate) complaints: Vec<String>,
    /// It was told to end.
    pub(crate) ended: bool,
    /// Another client may come only after DISCARD ALL.
    sessions: bool,
    run: Option<Run>,
    copying: Option<Copying>,
    skipping: bool,
    status: u8,
    /// Transactions begun.
    transaction: u32,
    /// Whose transaction, batch or session this is.
    owner: Option<u32>,
    batch: bool,
    /// A transaction has begun, be it an implicit one.
    transacts: bool,
    statements: BTreeMap<String, String>,
    portals: BTreeMap<String, Portal>,
    name: String,
    /// What the connection began with.
    name_first: String,
    name_before: String,
    name_told: String,
}

impl Backend {
    pub(crate) fn new(pid: u32, secret: u32, sessions: bool, name: String) -> Self {
        Self {
            pid,
            secret,
            inbox: Vec::new(),
            outbox: Vec::new(),
            complaints: Vec::new(),
            ended: false,
            sessions,
            run: None,
            copying: None,
            skipping: false,
            status: b'I',
            transaction: 0,
            owner: None,
            batch: false,
            transacts: false,
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            name_first: name.clone(),
            name_before: name.clone(),
            name_told: name.clone(),
            name,
        }
    }

    /// Whether a statement runs.
    pub(crate) fn is_running(&self) -> bool {
        self.run.is_some()
    }

    /// Whether it reads no more until it has worked: it has enough for now.
    pub(crate) fn is_full(&self) -> bool {
        self.run.is_some() && self.inbox.len() >= MOST_UNREAD
    }

    /// Works as far as time and input go; returns when to work again, if a statement runs.
    pub(crate) fn work(&mut self, now: Time) -> Option<Time> {
        while !self.ended {
            if let Some(run) = self.run.take() {
                if run.until > now {
                    let until = run.until;
                    self.run = Some(run);
                    return Some(until);
                }
                self.finish(&run.command, run.simple, run.suspends);
                continue;
            }
            if self.outbox.len() > MOST_UNSENT {
                return None;
            }
            let header = match frame::header(&self.inbox) {
                Ok(Some(header)) if header.total() <= self.inbox.len() => header,
                Ok(_) => return None,
                Err(error) => {
                    self.complaints.push(format!("backend {}: {error}", self.pid));
                    return None;
                }
            };
            let message: Vec<u8> = self.inbox.drain(..header.total()).collect();
            self.message(now, header.tag, &message[frame::HEADER..]);
        }
        None
    }

    /// A cancel request came: what runs fails.
    pub(crate) fn cancel(&mut self) {
        let (token, simple) = if let Some(run) = self.run.take_if(|run| !matches!(run.command, Command::Commit(_))) {
            (run.command.token(), run.simple)
        } else if let Some(copying) = self.copying.take() {
            (Some(copying.token), copying.simple)
        } else {
            return;
        };
        self.fail("57014", "canceling statement due to user request", token, simple);
    }

    fn message(&mut self, now: Time, tag: u8, body: &[u8]) {
        if self.skipping && tag != tag::SYNC && tag != tag::TERMINATE {
            return;
        }
        if self.copying.is_some() && self.copy_message(tag, body) {
            return;
        }
        match tag {
            tag::QUERY => self.query(now, &text(body)),
            tag::PARSE => self.parse(body),
            tag::BIND => self.bind(body),
            tag::DESCRIBE => self.describe(body),
            tag::EXECUTE => self.execute(now, body),
            tag::CLOSE => {
                let (kind, name) = read::named(body).unwrap_or_default();
                if kind == b'S' {
                    self.statements.remove(&text(name)).map(drop)
                } else {
                    self.portals.remove(&text(name)).map(drop)
                };
                make::close_complete(&mut self.outbox);
            }
            tag::SYNC => {
                self.skipping = false;
                self.ready();
            }
            tag::TERMINATE => self.ended = true,
            tag::FLUSH | tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL => {}
            other => self.complaints.push(format!("backend {}: message {:?}", self.pid, char::from(other))),
        }
    }

    fn query(&mut self, now: Time, sql: &str) {
        match Command::read(sql, None) {
            Some(command) => self.begin(now, command, (true, false)),
            None => self.complaints.push(format!("backend {}: cannot read {sql:?}", self.pid)),
        }
    }

    fn parse(&mut self, body: &[u8]) {
        let Some(parse) = read::parse(body) else {
            return self.complaints.push(format!("backend {}: broken Parse", self.pid));
        };
        let (name, sql) = (text(parse.name), text(parse.text));
        self.batch = true;
        if self.status == b'E' && !sql.starts_with("rollback") && !sql.starts_with("commit") {
            return self.fail("25P02", "current transaction is aborted", None, false);
        }
        if sql.starts_with("SELECT \"poolwarden") {
            return self.fail("42703", "column does not exist", None, false);
        }
        if !name.is_empty() && self.statements.contains_key(&name) {
            return self.fail("42P05", "prepared statement already exists", None, false);
        }
        self.statements.insert(name, sql);
        make::parse_complete(&mut self.outbox);
    }

    fn bind(&mut self, body: &[u8]) {
        let Some((bind, parameter)) = read::bind(body).zip(Some(first_parameter(body))) else {
            return self.complaints.push(format!("backend {}: broken Bind", self.pid));
        };
        let Some(sql) = self.statements.get(&text(bind.statement)).cloned() else {
            return self.fail("26000", "prepared statement does not exist", None, false);
        };
        if self.status == b'E' && !sql.starts_with("rollback") && !sql.starts_with("commit") {
            return self.fail("25P02", "current transaction is aborted", None, false);
        }
        self.batch = true;
        self.portals.insert(text(bind.portal), Portal { sql, parameter, told: 0 });
        make::bind_complete(&mut self.outbox);
    }

    fn describe(&mut self, body: &[u8]) {
        let (kind, name) = read::named(body).unwrap_or_default();
        let name = text(name);
        let known = if kind == b'S' { self.statements.contains_key(&name) } else { self.portals.contains_key(&name) };
        if !known {
            return self.fail("26000", "nothing of that name", None, false);
        }
        if kind == b'S' {
            self.outbox.extend_from_slice(&[b't', 0, 0, 0, 6, 0, 0]);
        }
        self.columns();
    }

    fn execute(&mut self, now: Time, body: &[u8]) {
        let Some((name, tail)) = read::cstr(body) else {
            return self.complaints.push(format!("backend {}: broken Execute", self.pid));
        };
        let limit = tail.try_into().map_or(0, u32::from_be_bytes);
        let Some(portal) = self.portals.get_mut(&text(name)) else {
            return self.fail("34000", "portal does not exist", None, false);
        };
        let (sql, parameter, mut suspends) = (portal.sql.clone(), portal.parameter.clone(), false);
        let command = Command::read(&sql, parameter.as_deref()).map(|mut command| {
            if let Command::Select { rows, .. } = &mut command {
                *rows -= portal.told;
                suspends = limit > 0 && *rows >= limit;
                *rows = if suspends { limit } else { *rows };
                portal.told += *rows;
            }
            command
        });
        match command {
            Some(command) => self.begin(now, command, (false, suspends)),
            None => self.complaints.push(format!("backend {}: cannot execute {sql:?} with {parameter:?}", self.pid)),
        }
    }

    /// A statement begins.
    fn begin(&mut self, now: Time, command: Command, (simple, suspends): (bool, bool)) {
        if let Some(token) = command.token() {
            self.own(token);
        }
        let ends = matches!(command, Command::Commit(_) | Command::Rollback(_));
        if self.status == b'E' && !ends {
            return self.fail("25P02", "current transaction is aborted", command.token(), simple);
        }
        if self.status == b'I' {
            self.complaints.extend(command.strays().map(|token| format!("{token} ran outside its transaction")));
            self.transaction += u32::from(!self.transacts);
            self.name_before = self.name.clone();
        }
        self.transacts = true;
        self.batch |= !simple;
        self.run = Some(Run { until: now + command.hold(), command, simple, suspends });
    }

    /// Nobody else's statement may come before the transaction, batch or session ends.
    fn own(&mut self, token: Token) {
        let owner = *self.owner.get_or_insert(token.owner);
        if owner != token.owner {
            self.complaints.push(format!("backend {}: statement {token} amid those of c{owner}", self.pid));
        }
    }

    fn finish(&mut self, command: &Command, simple: bool, suspends: bool) {
        match command {
            Command::Select { token, rows, size, .. } => {
                if simple {
                    self.columns();
                }
                for _ in 0..*rows {
                    let value =
                        format!("{token}|{}|{}|{}|{}", self.pid, self.transaction, self.name, "x".repeat(*size));
                    make::data_row(&mut self.outbox, &[Some(value.as_bytes())]);
                }
                if suspends {
                    self.outbox.extend_from_slice(&[b's', 0, 0, 0, 4]);
                } else {
                    make::command_complete(&mut self.outbox, &format!("SELECT {rows}"));
                }
            }
            Command::Forget(_) => {
                self.statements.retain(|name, _| name.is_empty());
                make::command_complete(&mut self.outbox, "DEALLOCATE ALL");
            }
            Command::Begin(_) => {
                self.status = if self.status == b'I' { b'T' } else { self.status };
                make::command_complete(&mut self.outbox, "BEGIN");
            }
            Command::Commit(_) => {
                let done = self.status != b'E';
                self.end_transaction(done);
                make::command_complete(&mut self.outbox, if done { "COMMIT" } else { "ROLLBACK" });
            }
            Command::Rollback(_) => {
                self.end_transaction(false);
                make::command_complete(&mut self.outbox, "ROLLBACK");
            }
            Command::Fail { token, .. } => return self.fail("22012", "division by zero", Some(*token), simple),
            Command::Name { value, .. } => {
                self.name.clone_from(value);
                make::command_complete(&mut self.outbox, "SET");
            }
            Command::CopyIn(token) => {
                self.outbox.extend_from_slice(&[b'G', 0, 0, 0, 7, 0, 0, 0]);
                self.copying = Some(Copying { token: *token, rows: 0, simple });
                return;
            }
            Command::CopyOut { token, rows } => self.copy_out(*token, *rows),
            Command::Restore(pairs) => {
                for (_, value) in pairs.iter().filter(|(name, _)| name == NAME) {
                    self.name.clone_from(value);
                }
                self.columns();
                make::data_row(&mut self.outbox, &[Some(b"set")]);
                make::command_complete(&mut self.outbox, "SELECT 1");
            }
            Command::Probe { is, differs } => self.probed(*is, *differs),
            Command::Discard => {
                self.statements.clear();
                self.name.clone_from(&self.name_first);
                self.owner = None;
                make::command_complete(&mut self.outbox, "DISCARD ALL");
            }
            Command::Provoke => return self.fail("42703", "column does not exist", None, simple),
        }
        if simple {
            self.ready();
        }
    }

    fn probed(&mut self, is: bool, differs: bool) {
        self.columns();
        let digits: String = self.name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let (name, value) = (NAME.as_bytes(), digits.as_bytes());
        let mut rows = 0;
        if is {
            rows += 1;
            make::data_row(&mut self.outbox, &[Some(b"s"), Some(name), Some(value)]);
        }
        if differs {
            rows += 1;
            let value = (self.name != self.name_first).then_some(value);
            make::data_row(&mut self.outbox, &[Some(b"d"), Some(name), value]);
        }
        if rows == 0 {
            rows = 1;
            make::data_row(&mut self.outbox, &[Some(b"n"), None, None]);
        }
        make::command_complete(&mut self.outbox, &format!("SELECT {rows}"));
    }

    fn copy_out(&mut self, token: Token, rows: u32) {
        self.outbox.extend_from_slice(&[b'H', 0, 0, 0, 7, 0, 0, 0]);
        for _ in 0..rows {
            copy_data(&mut self.outbox, format!("{token}\n").as_bytes());
        }
        self.outbox.extend_from_slice(&[b'c', 0, 0, 0, 4]);
        make::command_complete(&mut self.outbox, &format!("COPY {rows}"));
    }

    /// A message while rows are read; whether it was dealt with.
    fn copy_message(&mut self, tag: u8, body: &[u8]) -> bool {
        let Some(copying) = &mut self.copying else { return false };
        match tag {
            tag::COPY_DATA => {
                copying.rows += 1;
                let token = copying.token;
                if !text(body).starts_with(&format!("{token}\n")) {
                    self.complaints.push(format!("backend {}: rows of {:?} in COPY {token}", self.pid, text(body)));
                }
            }
            tag::COPY_DONE => {
                let Copying { rows, simple, .. } = *copying;
                self.copying = None;
                make::command_complete(&mut self.outbox, &format!("COPY {rows}"));
                if simple {
                    self.ready();
                }
            }
            tag::COPY_FAIL => {
                let Copying { token, simple, .. } = *copying;
                self.copying = None;
                self.fail("57014", "COPY from stdin failed", Some(token), simple);
            }
            tag::FLUSH | tag::SYNC => {}
            tag::TERMINATE => return false,
            other => self.complaints.push(format!("backend {}: message {:?} in COPY", self.pid, char::from(other))),
        }
        true
    }

    fn end_transaction(&mut self, done: bool) {
        if !done && self.status != b'I' {
            self.name = self.name_before.clone();
        }
        self.status = b'I';
        self.transacts = false;
    }

    fn fail(&mut self, sqlstate: &str, message: &str, token: Option<Token>, simple: bool) {
        let message = token.map_or_else(|| message.to_owned(), |token| format!("{message} token={token}"));
        let report = make::Report { severity: "ERROR", sqlstate, message: &message, detail: None, hint: None };
        make::error(&mut self.outbox, &report);
        if self.status == b'T' {
            self.status = b'E';
            self.name = self.name_before.clone();
        }
        if simple {
            self.ready();
        } else {
            self.skipping = true;
        }
    }

    fn ready(&mut self) {
        self.batch = false;
        if self.status == b'I' {
            self.portals.clear();
            self.transacts = false;
            if !self.sessions {
                self.owner = None;
            }
        }
        if self.name != self.name_told {
            self.name_told.clone_from(&self.name);
            make::parameter_status(&mut self.outbox, NAME, &self.name);
        }
        if self.transaction % 7 == 3 {
            self.notice();
        }
        make::ready(&mut self.outbox, self.status);
        if self.transaction % 11 == 5 {
            self.notice();
        }
    }

    /// A word nobody asked for.
    fn notice(&mut self) {
        let report =
            make::Report { severity: "NOTICE", sqlstate: "00000", message: "by the way", detail: None, hint: None };
        make::notice(&mut self.outbox, &report);
    }

    fn columns(&mut self) {
        make::row_description(&mut self.outbox, &[make::Column { name: "echo", oid: 25, size: -1 }]);
    }
}

/// A COPY row, in either direction.
pub(crate) fn copy_data(out: &mut Vec<u8>, row: &[u8]) {
    out.push(b'd');
    let length = u32::try_from(row.len() + 4).unwrap_or(u32::MAX); // rows of this world have a few bytes
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(row);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}

/// The first parameter's value: after the names come the counts of formats and of parameters.
fn first_parameter(body: &[u8]) -> Option<String> {
    let tail = body.get(read::bind(body)?.after..)?;
    let values = tail.get(2..)?; // this world's clients give no formats
    let length = usize::try_from(i32::from_be_bytes(values.get(2..6)?.try_into().ok()?)).ok()?;
    (values.get(..2)? != [0, 0]).then(|| text(&values[6..6 + length]))
}
