//! A model of one PostgreSQL backend after its login, written from the documented protocol rules: bytes in, bytes out.
//!
//! It keeps what it says until PostgreSQL would flush it. It knows nothing of the relay.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::command::{Command, Unfit};
use super::reply::{complete, copy_out, put, report, row_description, text};

type Pairs = BTreeMap<String, String>;

/// Parameters whose changes are reported, in lower case and as PostgreSQL spells them.
pub const REPORTED: [(&str, &str, &str); 4] = [
    ("application_name", "application_name", ""),
    ("client_encoding", "client_encoding", "UTF8"),
    ("datestyle", "DateStyle", "ISO, MDY"),
    ("timezone", "TimeZone", "Etc/UTC"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Block {
    None,
    Open,
    Failed,
}

#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) command: Command,
    types: Vec<u8>,
    columns: Option<u16>,
}

#[derive(Clone, Debug)]
pub(super) struct Portal {
    plan: Plan,
    sent: usize,
    ran: bool,
}

#[derive(Debug)]
struct Copy {
    rows: usize,
    extended: bool,
    rest: Vec<Result<Command, Unfit>>,
}

/// An error: SQLSTATE and message.
pub(super) type Failure = (&'static str, String);

#[derive(Debug)]
pub struct Backend {
    input: Vec<u8>,
    pub(super) buffered: Vec<u8>,
    flushed: Vec<u8>,
    catalog: Rc<Cell<u16>>,
    pub(super) statements: BTreeMap<Vec<u8>, Plan>,
    unnamed: Option<Plan>,
    pub(super) portals: BTreeMap<Vec<u8>, Portal>,
    pub(super) block: Block,
    extended: bool,
    skipping: bool,
    copy: Option<Copy>,
    pub(super) settings: Pairs,
    pub(super) defaults: Pairs,
    reported: Pairs,
    saved: Option<Pairs>,
    /// Session state that a rollback takes back, and what there was before.
    pub(super) state: BTreeSet<&'static str>,
    pub(super) state_before: Option<BTreeSet<&'static str>>,
    /// Session state that stays.
    pub(super) fixed: BTreeSet<&'static str>,
    /// Statements prepared in SQL.
    pub(super) sql: BTreeMap<String, Command>,
    pub(super) locals: Pairs,
    notified: bool,
    pub closed: bool,
    /// Every statement text that reached it, for tests that count.
    pub parsed: Vec<String>,
}

impl Backend {
    /// A backend whose startup packet asked for `settings`.
    pub fn new(catalog: Rc<Cell<u16>>, settings: &[(&str, &str)]) -> Self {
        let mut all: Pairs = REPORTED.iter().map(|(name, _, value)| ((*name).into(), (*value).into())).collect();
        all.insert("search_path".into(), "public".into());
        all.insert("work_mem".into(), "4MB".into());
        all.insert("role".into(), "none".into());
        all.insert("log_statement".into(), "none".into());
        all.insert("transaction_read_only".into(), "off".into());
        for (name, value) in settings {
            all.insert(name.to_ascii_lowercase(), canonical(name, value));
        }
        Self {
            input: vec![],
            buffered: vec![],
            flushed: vec![],
            catalog,
            statements: BTreeMap::new(),
            unnamed: None,
            portals: BTreeMap::new(),
            block: Block::None,
            extended: false,
            skipping: false,
            copy: None,
            defaults: all.clone(),
            reported: all.clone(),
            settings: all,
            saved: None,
            state: BTreeSet::new(),
            state_before: None,
            fixed: BTreeSet::new(),
            sql: BTreeMap::new(),
            locals: Pairs::new(),
            notified: false,
            closed: false,
            parsed: vec![],
        }
    }

    /// What it reported at login.
    pub fn parameters(&self) -> Vec<(String, String)> {
        REPORTED.iter().map(|(name, spelled, _)| ((*spelled).to_owned(), self.defaults[*name].clone())).collect()
    }

    pub fn setting(&self, name: &str) -> &str {
        &self.settings[name]
    }

    pub fn statements(&self) -> usize {
        self.statements.len()
    }

    /// What has been flushed since it was asked last.
    pub fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.flushed)
    }

    /// Bytes of the client's.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        self.input.extend_from_slice(bytes);
        while !self.closed && self.input.len() >= 5 {
            let length = u32::from_be_bytes(self.input[1..5].try_into().unwrap()) as usize;
            if length < 4 {
                return self.die("08P01", "invalid message length");
            }
            if self.input.len() < length + 1 {
                return;
            }
            let rest = self.input.split_off(length + 1);
            let message = std::mem::replace(&mut self.input, rest);
            self.message(message[0], &message[5..]);
        }
    }

    /// Says something of its own accord: a NOTICE, a NotificationResponse, a ParameterStatus.
    pub fn say(&mut self, bytes: &[u8]) {
        self.buffered.extend_from_slice(bytes);
        self.flush();
    }

    /// Is terminated (by an administrator, say).
    pub fn die(&mut self, sqlstate: &str, message: &str) {
        report(&mut self.buffered, b'E', "FATAL", sqlstate, message);
        self.flush();
        self.closed = true;
    }

    /// Cancels what runs: only a COPY can be caught in the middle here.
    pub fn cancel(&mut self) {
        if let Some(copy) = self.copy.take() {
            self.extended = copy.extended;
            let message = "canceling statement due to user request\0RProcessInterrupts";
            self.fail(("57014", message.into()));
        }
    }

    /// Why another client could not be lent it: something is open, or owed, or half said. What is still on its way must
    /// mean nothing outside a request.
    pub fn unclean(&self, on_its_way: &[u8]) -> Option<String> {
        let idle = self.block == Block::None && self.copy.is_none() && self.portals.is_empty() && !self.skipping;
        let quiet = self.buffered.is_empty() && self.flushed.is_empty() && !self.extended && !self.closed;
        let input = [&self.input, on_its_way].concat();
        let mut left = &input[..];
        while left.len() >= 5 && matches!(left[0], b'H' | b'c' | b'd' | b'f') {
            let length = u32::from_be_bytes(left[1..5].try_into().unwrap()) as usize + 1;
            let Some(rest) = left.get(length..) else { break };
            left = rest;
        }
        (!idle || !quiet || !left.is_empty()).then(|| format!("returned dirty: {self:?}"))
    }

    fn flush(&mut self) {
        self.flushed.append(&mut self.buffered);
    }

    fn message(&mut self, tag: u8, body: &[u8]) {
        if self.copy.is_some() {
            return self.copy_message(tag, body);
        }
        match tag {
            b'S' | b'X' => self.skipping = false,
            b'P' | b'B' | b'D' | b'E' | b'C' => self.extended = true,
            b'Q' | b'F' | b'c' | b'd' | b'f' | b'H' => {}
            _ => return self.die("08P01", &format!("invalid frontend message type {tag}")),
        }
        if self.skipping {
            return;
        }
        if matches!(tag, b'Q' | b'F' | b'S') {
            self.extended = false;
        }
        let done = match tag {
            b'X' => {
                self.closed = true;
                return;
            }
            b'Q' => return self.query(body),
            b'S' => {
                self.end_implicit();
                return self.ready();
            }
            b'F' => self.function(body),
            b'H' => {
                self.flush();
                Ok(())
            }
            b'P' => self.parse(body),
            b'B' => self.bind(body),
            b'D' => self.describe(body),
            b'E' => self.execute(body),
            b'C' => self.close(body),
            _ => Ok(()), // COPY messages outside COPY
        };
        match done {
            Err(failure) => self.fail(failure),
            Ok(()) if tag == b'F' => {
                self.end_implicit();
                self.ready();
            }
            Ok(()) => {}
        }
    }

    /// An error: the transaction fails, and a client of the extended protocol is not listened to until its Sync.
    fn fail(&mut self, (sqlstate, message): Failure) {
        report(&mut self.buffered, b'E', "ERROR", sqlstate, &message);
        self.flush();
        self.restore();
        self.copy = None;
        if self.block == Block::None {
            self.portals.clear();
        } else {
            self.block = Block::Failed;
        }
        if self.extended {
            self.skipping = true;
        } else {
            self.ready();
        }
    }

    fn ready(&mut self) {
        for (name, spelled, _) in REPORTED {
            if self.reported[name] != self.settings[name] {
                let value = self.settings[name].clone();
                put(&mut self.buffered, b'S', &[spelled.as_bytes(), b"\0", value.as_bytes(), b"\0"]);
                self.reported.insert(name.into(), value);
            }
        }
        if std::mem::take(&mut self.notified) {
            put(&mut self.buffered, b'A', &[&7u32.to_be_bytes(), b"channel\0payload\0"]);
        }
        let status = match self.block {
            Block::None => b'I',
            Block::Open => b'T',
            Block::Failed => b'E',
        };
        put(&mut self.buffered, b'Z', &[&[status]]);
        self.extended = false;
        self.flush();
    }

    fn touch(&mut self) {
        if self.saved.is_none() {
            self.saved = Some(self.settings.clone());
            self.state_before = Some(self.state.clone());
        }
    }

    fn restore(&mut self) {
        if let Some(saved) = self.saved.take() {
            self.settings = saved;
        }
        if let Some(before) = self.state_before.take() {
            self.state = before;
        }
        self.locals.clear();
    }

    /// Ends a transaction that no BEGIN opened.
    fn end_implicit(&mut self) {
        if self.block == Block::None {
            self.committed();
        }
    }

    fn committed(&mut self) {
        self.settings.append(&mut self.locals);
        self.saved = None;
        self.state_before = None;
        self.portals.clear();
    }

    fn query(&mut self, body: &[u8]) {
        self.unnamed = None;
        let text = text(body);
        self.parsed.push(text.clone());
        match Command::all(&text) {
            Err(_) => self.fail(syntax()),
            Ok(commands) if commands.is_empty() => {
                put(&mut self.buffered, b'I', &[]);
                self.end_implicit();
                self.ready();
            }
            Ok(commands) => self.run_all(commands),
        }
    }

    fn run_all(&mut self, commands: Vec<Result<Command, Unfit>>) {
        let mut commands = commands.into_iter();
        while let Some(command) = commands.next() {
            let ran = match command {
                _ if self.block == Block::Failed && !command.as_ref().is_ok_and(Command::ends_transaction) => {
                    Err(aborted())
                }
                Err(_) => Err(missing()),
                Ok(Command::CopyIn) => {
                    return self.begin_copy(false, commands.collect());
                }
                Ok(command) => {
                    if let Some(columns) = command.columns(self.catalog.get()) {
                        row_description(&mut self.buffered, columns);
                    }
                    self.run(&command, 0, 0).map(|_| ())
                }
            };
            if let Err(failure) = ran {
                return self.fail(failure);
            }
            if self.closed {
                return;
            }
        }
        self.end_implicit();
        self.ready();
    }

    fn begin_copy(&mut self, extended: bool, rest: Vec<Result<Command, Unfit>>) {
        self.touch();
        put(&mut self.buffered, b'G', &[&[0, 0, 1, 0, 0]]);
        self.flush();
        self.copy = Some(Copy { rows: 0, extended, rest });
    }

    fn copy_message(&mut self, tag: u8, body: &[u8]) {
        let Some(copy) = self.copy.as_mut() else { return };
        self.extended = copy.extended;
        match tag {
            b'd' if body.starts_with(b"bad") => self.fail(("22P04", "missing data for column".into())),
            b'd' => copy.rows += 1,
            b'H' | b'S' => {}
            b'f' => self.fail(("57014", format!("COPY from stdin failed: {}", text(body)))),
            b'c' => {
                let tag = format!("COPY {}", copy.rows);
                let rest = std::mem::take(&mut copy.rest);
                let extended = copy.extended;
                self.copy = None;
                complete(&mut self.buffered, &tag);
                if !extended {
                    self.run_all(rest);
                }
            }
            _ => {
                let message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
                report(&mut self.buffered, b'E', "ERROR", "08P01", &message);
                self.die("08P01", "terminating connection because protocol synchronization was lost");
            }
        }
    }

    fn parse(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.touch();
        let mut parts = body.splitn(3, |byte| *byte == 0);
        let (name, sql, types) = (parts.next().unwrap(), text(parts.next().unwrap()), parts.next().unwrap());
        self.parsed.push(sql.clone());
        if name.is_empty() {
            self.unnamed = None;
        }
        let mut commands = Command::all(&sql).map_err(|_| syntax())?;
        if commands.len() > 1 {
            return Err(("42601", "cannot insert multiple commands into a prepared statement".into()));
        }
        let command = commands.pop().unwrap_or(Ok(Command::Empty));
        let allowed = command.as_ref().is_ok_and(|one| one.ends_transaction() || *one == Command::Empty);
        if self.block == Block::Failed && !allowed {
            return Err(aborted());
        }
        let mut command = command.map_err(|_| missing())?;
        if command == Command::Select("zone".into()) {
            command = Command::Select(self.settings["timezone"].clone()); // a literal means what it means when it is parsed
        }
        let columns = command.columns(self.catalog.get());
        let plan = Plan { command, columns, types: types.to_vec() };
        if name.is_empty() {
            self.unnamed = Some(plan);
        } else if self.statements.contains_key(name) {
            return Err(("42P05", format!("prepared statement \"{}\" already exists", text(name))));
        } else {
            self.statements.insert(name.to_vec(), plan);
        }
        put(&mut self.buffered, b'1', &[]);
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<Plan, Failure> {
        if name.is_empty() {
            let missing = || ("26000", "unnamed prepared statement does not exist".into());
            return self.unnamed.clone().ok_or_else(missing);
        }
        let missing = || ("26000", format!("prepared statement \"{}\" does not exist", text(name)));
        self.statements.get(name).cloned().ok_or_else(missing)
    }

    fn revalidate(&self, plan: &Plan) -> Result<(), Failure> {
        if plan.columns == plan.command.columns(self.catalog.get()) {
            return Ok(());
        }
        Err(("0A000", "cached plan must not change result type".into()))
    }

    fn bind(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.touch();
        let mut parts = body.splitn(3, |byte| *byte == 0);
        let (portal, name) = (parts.next().unwrap(), parts.next().unwrap());
        let plan = self.statement(name)?;
        if self.block == Block::Failed && !plan.command.ends_transaction() && plan.command != Command::Empty {
            return Err(aborted());
        }
        if !portal.is_empty() && self.portals.contains_key(portal) {
            return Err(("42P03", format!("cursor \"{}\" already exists", text(portal))));
        }
        self.revalidate(&plan)?;
        self.portals.insert(portal.to_vec(), Portal { plan, sent: 0, ran: false });
        put(&mut self.buffered, b'2', &[]);
        Ok(())
    }

    fn portal(&self, name: &[u8]) -> Result<Portal, Failure> {
        let missing = || ("34000", format!("portal \"{}\" does not exist", text(name)));
        self.portals.get(name).cloned().ok_or_else(missing)
    }

    fn describe(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.touch();
        let name = &body[1..body.len() - 1];
        let statement = body[0] == b'S';
        let plan = if statement { self.statement(name)? } else { self.portal(name)?.plan };
        if self.block == Block::Failed && plan.columns.is_some() {
            return Err(aborted());
        }
        if statement {
            self.revalidate(&plan)?;
            put(&mut self.buffered, b't', &[&plan.types]);
        }
        match plan.columns {
            Some(columns) => row_description(&mut self.buffered, columns),
            None => put(&mut self.buffered, b'n', &[]),
        }
        Ok(())
    }

    fn close(&mut self, body: &[u8]) -> Result<(), Failure> {
        let name = &body[1..body.len() - 1];
        if body[0] == b'P' {
            self.portals.remove(name);
        } else if name.is_empty() {
            self.unnamed = None;
        } else {
            self.statements.remove(name);
        }
        put(&mut self.buffered, b'3', &[]);
        Ok(())
    }

    fn execute(&mut self, body: &[u8]) -> Result<(), Failure> {
        let (name, limit) = body.split_at(body.len() - 4);
        let name = &name[..name.len() - 1];
        let limit = u32::from_be_bytes(limit.try_into().unwrap()) as usize;
        let portal = self.portal(name)?;
        let command = portal.plan.command.clone();
        if command == Command::Empty {
            put(&mut self.buffered, b'I', &[]);
            return Ok(());
        }
        if self.block == Block::Failed && !command.ends_transaction() {
            return Err(aborted());
        }
        if portal.ran && portal.plan.columns.is_none() {
            return Err(("55000", format!("portal \"{}\" cannot be run", text(name))));
        }
        if let Some(portal) = self.portals.get_mut(name) {
            portal.ran = true;
        }
        if command == Command::CopyIn {
            self.begin_copy(true, vec![]);
            return Ok(());
        }
        let sent = self.run(&command, portal.sent, limit)?;
        if let Some(portal) = self.portals.get_mut(name) {
            portal.sent += sent;
        }
        Ok(())
    }

    fn function(&mut self, body: &[u8]) -> Result<(), Failure> {
        if self.block == Block::Failed {
            return Err(aborted());
        }
        if body.starts_with(&[0; 4]) {
            return Err(("42883", "function with OID 0 does not exist".into()));
        }
        put(&mut self.buffered, b'V', &[&4u32.to_be_bytes(), b"done"]);
        Ok(())
    }

    /// Runs a command from row `from`, at most `limit` rows (0: all); returns how many went out.
    pub(super) fn run(&mut self, command: &Command, from: usize, limit: usize) -> Result<usize, Failure> {
        self.touch();
        match command {
            Command::Begin | Command::Commit | Command::Rollback => self.transact(command),
            Command::Error => return Err(("22012", "division by zero".into())),
            Command::Select(word) => return Ok(self.rows(1, word.as_bytes(), from, limit)),
            Command::Show(name) => {
                let value = self.settings.get(name).cloned().unwrap_or_default();
                return Ok(self.rows(1, value.as_bytes(), from, limit));
            }
            Command::Rows(count, size) => return Ok(self.rows(*count, &vec![b'r'; *size], from, limit)),
            Command::Table => return Ok(self.rows(2, b"cell", from, limit)),
            Command::Insert => complete(&mut self.buffered, "INSERT 0 1"),
            Command::CopyOut(count) => copy_out(&mut self.buffered, *count),
            Command::Set { name, value, local } => {
                let before = self.settings.get(name).cloned().unwrap_or_default();
                self.set(name, value)?;
                if *local || name == "transaction_read_only" {
                    self.locals.entry(name.clone()).or_insert(before);
                } else {
                    self.mark(name, true);
                    self.locals.remove(name);
                }
                complete(&mut self.buffered, "SET");
            }
            Command::Configure { resets, sets } => return self.configure(resets, sets),
            Command::Probe(_) | Command::ResetAll | Command::Make(..) | Command::Unmake(_) | Command::State => {
                return self.run_state(command);
            }
            Command::Prepare(..) | Command::Execute(_) | Command::Deallocate(_) => {
                return self.run_named(command, from, limit);
            }
            Command::DeallocateAll => {
                self.sql.clear();
                self.statements.clear();
                complete(&mut self.buffered, "DEALLOCATE ALL");
            }
            Command::DiscardAll => return self.discard_all(),
            Command::Notice => {
                report(&mut self.buffered, b'N', "NOTICE", "00000", "hear ye");
                self.flush();
                complete(&mut self.buffered, "DO");
            }
            Command::Notify => {
                self.notified = true;
                complete(&mut self.buffered, "NOTIFY");
            }
            Command::Alter => {
                self.catalog.set(self.catalog.get() + 1);
                complete(&mut self.buffered, "ALTER TABLE");
            }
            Command::Fatal => self.die("57P01", "terminating connection due to administrator command"),
            Command::Empty | Command::CopyIn => {}
        }
        Ok(0)
    }

    fn transact(&mut self, command: &Command) {
        let warn = |out: &mut Vec<u8>, state, what| report(out, b'N', "WARNING", state, what);
        match (command, self.block) {
            (Command::Begin, Block::None) => self.block = Block::Open,
            (Command::Begin, _) => {
                warn(&mut self.buffered, "25001", "there is already a transaction in progress");
                self.flush();
            }
            (_, Block::None) => {
                warn(&mut self.buffered, "25P01", "there is no transaction in progress");
                self.flush();
            }
            (_, _) => {}
        }
        let word = match (command, self.block) {
            (Command::Begin, _) => "BEGIN",
            (Command::Commit, Block::Failed) | (Command::Rollback, _) => "ROLLBACK",
            (_, _) => "COMMIT",
        };
        complete(&mut self.buffered, word);
        if *command != Command::Begin {
            if word == "ROLLBACK" {
                self.restore();
            }
            self.block = Block::None;
            self.committed();
        }
    }

    pub(super) fn rows(&mut self, count: usize, value: &[u8], from: usize, limit: usize) -> usize {
        let left = count.saturating_sub(from);
        let sent = if limit == 0 { left } else { left.min(limit) };
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        for _ in 0..sent {
            put(&mut self.buffered, b'D', &[&1u16.to_be_bytes(), &length, value]);
        }
        if limit > 0 && sent == limit {
            put(&mut self.buffered, b's', &[]);
        } else {
            complete(&mut self.buffered, &format!("SELECT {sent}"));
        }
        sent
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        if value.contains("invalid") {
            return Err(("22023", format!("invalid value for parameter \"{name}\": \"{value}\"")));
        }
        self.permit(name)?;
        if !self.settings.contains_key(name) && !name.contains('.') {
            return Err(("42704", format!("unrecognized configuration parameter \"{name}\"")));
        }
        self.settings.insert(name.into(), canonical(name, value));
        Ok(())
    }

    /// Some settings are the superuser's alone.
    fn permit(&self, name: &str) -> Result<(), Failure> {
        if name == "log_statement" && self.settings["role"] != "su" {
            return Err(("42501", format!("permission denied to set parameter \"{name}\"")));
        }
        Ok(())
    }

    fn configure(&mut self, resets: &[String], sets: &[(String, String)]) -> Result<usize, Failure> {
        for name in resets {
            if name == "transaction_read_only" {
                return Err(("0A000", format!("parameter \"{name}\" cannot be reset")));
            }
            self.permit(name)?;
            self.reset(name);
            complete(&mut self.buffered, "RESET");
        }
        for (name, value) in sets {
            self.set(name, value)?;
            self.mark(name, true);
        }
        if !sets.is_empty() {
            return Ok(self.rows(1, b"set", 0, 0));
        }
        Ok(0)
    }
}

/// PostgreSQL spells some values in its own way.
fn canonical(name: &str, value: &str) -> String {
    if name.eq_ignore_ascii_case("client_encoding") { value.to_ascii_uppercase() } else { value.to_owned() }
}

fn syntax() -> Failure {
    ("42601", "syntax error".into())
}

fn missing() -> Failure {
    ("42703", "column does not exist".into())
}

fn aborted() -> Failure {
    ("25P02", "current transaction is aborted, commands ignored until end of transaction block".into())
}
