//! The differential oracle: one conversation, held with PostgreSQL and through the pooler, answered alike.
//!
//! Each connection's messages are compared in their order, by type and by every field, after the few normalisations of
//! `oracle_normal`. Every conversation ends with a question of the oracle's own, so that a message too many shows,
//! and so does a session that is out of step. `Mutation` breaks an answer on purpose: the oracle must notice.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::thread;
use std::time::Duration;

use crate::corpus::{Act, Conversation, Depth, Hello, Until, call};
use crate::oracle_normal::{agree, line};
use crate::postgres::Postgres;
use crate::scram::Scram;
use crate::version;
use crate::wire::{Address, Fault, Login, Wire, message};

/// From this release on PostgreSQL reports a parameter when its value has changed; before, at each assignment: which
/// assignments there are is the pooler's business, so only what tells another value is compared.
const REPORTS_CHANGES: u32 = 14;
/// No single answer of a conversation takes longer.
const PATIENCE: Duration = Duration::from_secs(8);
/// What goes out in one piece beyond this is written by a thread, because both ends may be writing.
const LARGE: usize = 32 << 10;
/// The oracle's own question, and its answer.
const FINISHED: &str = "the conversation is finished";

/// What each connection was told.
pub type Record = BTreeMap<char, Vec<String>>;

/// How an answer is broken on purpose: the message of this number is...
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// ... not told.
    Dropped(usize),
    /// ... told twice.
    Doubled(usize),
    /// ... told with a byte more.
    Altered(usize),
    /// ... told after the one behind it.
    Late(usize),
}

/// Holds conversations.
pub struct Player<'a> {
    /// With whom.
    pub address: Address,
    /// Whose superuser prepares and meddles.
    pub postgres: &'a Postgres,
    /// What is broken on purpose.
    pub mutation: Option<Mutation>,
}

/// One connection of a conversation.
struct End {
    wire: Option<Wire>,
    unsent: Vec<u8>,
    due: usize,
    told: Vec<String>,
    /// What each parameter was last reported to be.
    reported: BTreeMap<String, String>,
    depth: Depth,
}

impl Player<'_> {
    /// Prepares the database, holds the conversation and closes its connections.
    #[must_use]
    pub fn play(&self, talk: &Conversation) -> Record {
        let mut superuser = self.postgres.direct("app");
        self.prepare(&mut superuser, talk);
        let mut ends: BTreeMap<char, End> = talk.connections().iter().map(|who| (*who, End::new(talk.depth))).collect();
        for step in &talk.steps {
            let end = ends.get_mut(&step.who).expect("every name has an end");
            match &step.act {
                Act::Superuser(sql) => {
                    superuser.query(sql).unwrap_or_else(|e| panic!("{} line {}: {e}", talk.name, step.line));
                }
                Act::Call(function, arguments) => {
                    let sql = format!("select '{function}'::regprocedure::oid");
                    let answer = superuser.query(&sql).unwrap_or_else(|e| panic!("{}: {e}", talk.name));
                    let number = answer.value().parse().expect("an oid is a number");
                    end.say(&self.address, &call(number, arguments), 1);
                }
                Act::Say(bytes, due) => end.say(&self.address, bytes, *due),
                Act::Connect(hello) => end.connect(&self.address, hello),
                Act::Dial => end.dial(&self.address),
                Act::Send => end.send(),
                Act::HalfClose => end.half_close(),
                Act::Wait(until) => end.wait(*until),
                Act::Mark => end.mark(&self.address),
            }
        }
        let mut record = Record::new();
        for (who, mut end) in ends {
            end.finish();
            record.insert(who, end.told);
        }
        self.mutation.map_or(record.clone(), |mutation| mutation.applied(record))
    }

    /// An empty schema, and what the conversation sets up.
    fn prepare(&self, superuser: &mut Wire, talk: &Conversation) {
        let clean = "set client_min_messages to error; drop schema if exists public cascade; create schema public; \
                     grant all on schema public to public; \
                     alter default privileges in schema public grant all on tables to public; \
                     alter default privileges in schema public grant all on sequences to public; select lo_unlink(oid) from pg_largeobject_metadata";
        for sql in std::iter::once(clean).chain(talk.setup.iter().map(String::as_str)) {
            superuser.query(sql).unwrap_or_else(|e| panic!("{}: {sql}: {e}", talk.name));
        }
    }
}

impl End {
    fn new(depth: Depth) -> End {
        End { wire: None, unsent: Vec::new(), due: 0, told: Vec::new(), reported: BTreeMap::new(), depth }
    }

    fn dial(&mut self, address: &Address) {
        let mut wire = Wire::dial(address).unwrap_or_else(|e| panic!("connect: {e}"));
        wire.patience(PATIENCE).unwrap_or_else(|e| panic!("a socket: {e}"));
        self.wire = Some(wire);
    }

    /// Logs in, on the connection there is or on a new one.
    fn connect(&mut self, address: &Address, hello: &Hello) {
        if self.wire.is_none() {
            self.dial(address);
        }
        self.unsent.extend(hello.bytes());
        self.send();
        let login = Login { user: hello.user(), password: hello.password.clone(), database: String::new() };
        let mut scram = Scram::new(&hello.password, &crate::wire::nonce());
        let mut parameters = Vec::new();
        while let Some((tag, body)) = self.receive() {
            match tag {
                b'R' => {
                    let wire = self.wire.as_mut().expect("it has just received");
                    if let Err(fault) = wire.authenticate(&mut scram, &login, &body) {
                        self.over(&format!("(authentication: {fault})"));
                    }
                }
                b'S' => {
                    let told = line(tag, &body, self.depth);
                    self.news(&told);
                    parameters.push(told);
                }
                tag => self.told.push(line(tag, &body, self.depth)),
            }
            if tag == b'Z' {
                break;
            }
        }
        // PostgreSQL reports them in no order worth keeping.
        parameters.sort();
        self.told.extend(parameters);
    }

    /// Keeps it for the next sending.
    fn say(&mut self, address: &Address, bytes: &[u8], due: usize) {
        if self.wire.is_none() && self.told.is_empty() {
            self.connect(address, &Hello::default());
        }
        self.unsent.extend(bytes);
        self.due += due;
    }

    fn send(&mut self) {
        let bytes = std::mem::take(&mut self.unsent);
        let Some(wire) = self.wire.as_mut().filter(|_| !bytes.is_empty()) else { return };
        if bytes.len() > LARGE {
            let mut writer = wire.twin();
            // Its outcome is the reader's: a connection that breaks ends there.
            thread::spawn(move || writer.send(&bytes).is_ok());
        } else if let Err(fault) = wire.send(&bytes) {
            match fault {
                // Whoever closed may have said why: the reader tells.
                Fault::Closed => {}
                Fault::Io(_) | Fault::Server(_) | Fault::Protocol(_) => self.over(&format!("(sending: {fault})")),
            }
        }
    }

    fn half_close(&mut self) {
        self.send();
        if let Some(wire) = &self.wire {
            wire.finish().unwrap_or_else(|e| panic!("close for writing: {e}"));
        }
    }

    fn over(&mut self, why: &str) {
        self.told.push(why.to_string());
        self.wire = None;
    }

    fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        match self.wire.as_mut()?.receive() {
            Ok(message) => return Some(message),
            Err(Fault::Closed) => self.over("(closed)"),
            Err(Fault::Io(e)) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                self.over(&format!("(nothing came for {PATIENCE:?})"));
            }
            Err(fault) => self.over(&format!("({fault})")),
        }
        None
    }

    /// Receives and keeps one message; its tag, or nothing at the end.
    fn hear(&mut self) -> Option<u8> {
        let (tag, body) = self.receive()?;
        let told = line(tag, &body, self.depth);
        if tag != b'S' || self.news(&told) || version::major() >= REPORTS_CHANGES {
            self.told.push(told);
        }
        Some(tag)
    }

    /// Whether a `ParameterStatus` tells another value than the last one of its parameter.
    fn news(&mut self, told: &str) -> bool {
        let name = told.split('=').next().unwrap_or_default().to_string();
        self.reported.insert(name, told.to_string()).is_none_or(|before| before != told)
    }

    fn wait(&mut self, until: Until) {
        self.send();
        let readies = match until {
            Until::Due => std::mem::take(&mut self.due),
            Until::Ready(count) => {
                self.due = self.due.saturating_sub(count);
                count
            }
            Until::Tag(tag) => {
                while let Some(heard) = self.hear().filter(|heard| *heard != tag) {
                    self.due = self.due.saturating_sub(usize::from(heard == b'Z'));
                }
                return;
            }
            Until::End => {
                while self.hear().is_some() {}
                return;
            }
            Until::Byte => return self.byte(),
        };
        let mut left = readies;
        while left > 0 {
            match self.hear() {
                Some(b'Z') => left -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }

    /// An empty query is answered once the session is in step: reads up to there.
    fn mark(&mut self, address: &Address) {
        let ask = [in_step(), message(b'Q', b"\0")].concat();
        self.say(address, &ask, 0);
        self.due = 0;
        self.send();
        while self.hear().is_some_and(|tag| tag != b'I') {}
        while self.hear().is_some_and(|tag| tag != b'Z') {}
    }

    fn byte(&mut self) {
        let Some(wire) = self.wire.as_mut() else { return };
        let mut one = [0];
        match wire.read(&mut one) {
            Ok(1) => self.told.push(format!("({})", one.escape_ascii())),
            Ok(_) | Err(Fault::Closed) => self.over("(closed)"),
            Err(fault) => self.over(&format!("({fault})")),
        }
    }

    /// Asks the last question, reads up to its answer, and says goodbye.
    fn finish(&mut self) {
        let ask = |sql: &str| message(b'Q', &[sql.as_bytes(), b"\0"].concat());
        let question = ask(&format!("select '{FINISHED}'"));
        if self.wire.is_none() {
            return;
        }
        self.unsent.extend([in_step(), ask("rollback"), question].concat());
        self.send();
        let last = format!("D('{FINISHED}')");
        while self.told.last() != Some(&last) && self.hear().is_some() {}
        while self.hear().is_some_and(|tag| tag != b'Z') {}
        if self.wire.is_some() {
            self.unsent.extend(message(b'X', b""));
            self.wait(Until::End);
        }
    }
}

/// Sync behind a `CopyFail`, which means nothing but in COPY. One may be open, because the Parse of a COPY was bound a second
/// time and nobody sent rows: for a query among them PostgreSQL from 14 on ends the session, and 13 skips everything up to a
/// Sync, which nobody would send.
fn in_step() -> Vec<u8> {
    [message(b'f', b"in step\0"), message(b'S', b"")].concat()
}

impl Mutation {
    fn applied(self, mut record: Record) -> Record {
        let at = match self {
            Mutation::Dropped(at) | Mutation::Doubled(at) | Mutation::Altered(at) | Mutation::Late(at) => at,
        };
        let told = record.values_mut().next().expect("a conversation has a connection");
        match self {
            Mutation::Dropped(_) => drop(told.remove(at)),
            Mutation::Doubled(_) => told.insert(at, told[at].clone()),
            Mutation::Altered(_) => told[at].insert(1, '!'),
            Mutation::Late(_) => told.swap(at, at + 1),
        }
        record
    }
}

/// The difference between two records, side by side; nothing where they agree.
#[must_use]
pub fn difference(direct: &Record, pooled: &Record) -> Option<String> {
    let mut told = String::new();
    for (who, expected) in direct {
        let heard = pooled.get(who).map(Vec::as_slice).unwrap_or_default();
        let same = |at: usize| match (expected.get(at), heard.get(at)) {
            (Some(one), Some(other)) => agree(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let length = expected.len().max(heard.len());
        let Some(first) = (0..length).find(|at| !same(*at)) else { continue };
        // Writing to a String cannot fail.
        let _ = writeln!(told, "  connection {who}, message {first}:  PostgreSQL  |  through the pooler");
        for at in first.saturating_sub(3)..length.min(first + 8) {
            let side = |lines: &[String]| lines.get(at).map_or(String::new(), |line| shortened(line));
            let mark = if same(at) { ' ' } else { '!' };
            let _ = writeln!(told, "  {mark} {at:3} {:<90} | {}", side(expected), side(heard));
        }
    }
    (!told.is_empty()).then_some(told)
}

fn shortened(line: &str) -> String {
    let said: String = line.chars().take(180).collect();
    if said.len() < line.len() { format!("{said}...") } else { said }
}
