//! A made-up client: it says what its script makes up, and checks every byte that comes back.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use poolwarden_switch::pool::{Reason, Time};
use poolwarden_switch::relay::Keep;
use poolwarden_switch::relay::pgwire::{frame, read};

use crate::backend::NAME;
use crate::random::Random;
use crate::round::{Fate, Round, Want};
use crate::sql::Token;
use crate::wire::LinkId;

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has not been told that it may begin.
    Joining,
    Thinking,
    Awaiting,
    Gone,
}

/// What the world has done that excuses what a client meets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Excuses {
    /// Server connections have died.
    pub(crate) died: bool,
    /// Operators have ended sessions, or the process was stopped.
    pub(crate) ended: bool,
    /// The pooler has ended sessions that did not read.
    pub(crate) stalled: bool,
}

/// What clients met, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rounds answered without an error.
    pub answered: u64,
    /// Rounds that ended in an error that had to come.
    pub failed: u64,
    /// Rounds refused by the pooler.
    pub refused: u64,
    /// Rounds cancelled.
    pub cancelled: u64,
    /// Sessions ended by the pooler.
    pub ended: u64,
    /// Transactions sent at once whose beginning was refused before the rest had come.
    pub torn: u64,
    /// Refusals by what moved admission, in the order of `Reason::ALL`.
    pub reasons: [u64; Reason::ALL.len()],
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u32,
    pub(crate) link: LinkId,
    pub(crate) keep: Keep,
    /// It has a server connection of its own, opened for it.
    pub(crate) alone: bool,
    pub(crate) random: Random,
    /// Its chance for what it says of its statements.
    pub(crate) labels: Random,
    /// It says nothing but whole transactions at once.
    pub(crate) pipelines: bool,
    pub(crate) phase: Phase,
    pub(crate) outbox: Vec<u8>,
    inbox: Vec<u8>,
    pub(crate) rounds: VecDeque<Round>,
    /// Exchanges it still wants to make.
    pub(crate) left: u32,
    pub(crate) number: u32,
    /// Usual time a statement runs, microseconds.
    pub(crate) holds: u64,
    pub(crate) thinks: u64,
    /// It reads slowly.
    pub(crate) slow: bool,
    /// Its application_name, and what it was told of it.
    pub(crate) name: String,
    told: String,
    pub(crate) key: Option<(u32, Vec<u8>)>,
    pub(crate) status: u8,
    pub(crate) statements: BTreeSet<String>,
    /// Something in its transaction failed.
    trouble: bool,
    /// Its transaction was rolled back.
    undone: bool,
    /// Its application_name when its transaction began.
    name_before: String,
    /// Where its transaction runs.
    here: Option<(u32, u32)>,
    /// Where its session runs, where sessions are kept.
    home: Option<u32>,
    /// It has asked for a cancel.
    pub(crate) cancels: bool,
    fatal: Option<String>,
    /// When it last got something or began to wait.
    pub(crate) since: Time,
    pub(crate) tally: Tally,
}

impl Client {
    pub(crate) fn new(id: u32, link: LinkId, keep: Keep, name: String, random: Random) -> Self {
        Self {
            id,
            link,
            keep,
            alone: false,
            labels: random.clone().fork(),
            pipelines: false,
            random,
            phase: Phase::Joining,
            outbox: Vec::new(),
            inbox: Vec::new(),
            rounds: VecDeque::new(),
            left: 0,
            number: 0,
            holds: 0,
            thinks: 0,
            slow: false,
            name,
            told: String::new(),
            key: None,
            status: b'I',
            statements: BTreeSet::new(),
            trouble: false,
            undone: false,
            name_before: String::new(),
            here: None,
            home: None,
            cancels: false,
            fatal: None,
            since: Time::ZERO,
            tally: Tally::default(),
        }
    }

    pub(crate) fn think(&mut self) -> Duration {
        self.random.micros(self.thinks)
    }

    /// Bytes came.
    ///
    /// # Errors
    /// What must not have come.
    pub(crate) fn receive(&mut self, now: Time, bytes: &[u8], excuses: Excuses) -> Result<(), String> {
        self.since = now;
        self.inbox.extend_from_slice(bytes);
        loop {
            let header = match frame::header(&self.inbox) {
                Ok(Some(header)) if header.total() <= self.inbox.len() => header,
                Ok(_) => return Ok(()),
                Err(error) => return Err(format!("c{}: {error}", self.id)),
            };
            let message: Vec<u8> = self.inbox.drain(..header.total()).collect();
            self.message(header.tag, &message[frame::HEADER..], excuses).map_err(|what| {
                format!("c{}: {what} (status {}, awaiting {:?})", self.id, char::from(self.status), self.rounds.front())
            })?;
        }
    }

    /// The connection was closed by the pooler.
    ///
    /// # Errors
    /// Without a word before.
    pub(crate) fn hung_up(&mut self, lost: bool, excuses: Excuses) -> Result<(), String> {
        self.phase = Phase::Gone;
        if !lost && self.inbox.windows(6).any(|part| part == b"SFATAL") {
            return Err(format!("c{}: a last word in the middle of a message", self.id));
        }
        // in the middle of a message no last word can be said
        let cut = !self.inbox.is_empty() && (excuses.died || excuses.ended || excuses.stalled);
        if self.fatal.is_none() && !lost && !cut {
            return Err(format!("c{}: closed without a word, awaiting {:?}", self.id, self.rounds.front()));
        }
        self.tally.ended += 1;
        Ok(())
    }

    fn message(&mut self, tag: u8, body: &[u8], excuses: Excuses) -> Result<(), String> {
        if self.fatal.is_some() {
            return Err(format!("message {:?} after the last word", char::from(tag)));
        }
        match tag {
            b'S' => {
                if let Some((_, value)) = read::parameter_status(body).filter(|(name, _)| *name == NAME) {
                    value.clone_into(&mut self.told);
                }
                Ok(())
            }
            b'N' => Ok(()),
            b'K' if self.phase == Phase::Joining => {
                let (pid, secret) = read::backend_key(body).ok_or("broken key")?;
                if ![4, 32].contains(&secret.len()) {
                    return Err("a secret of another length".into());
                }
                self.key = Some((pid, secret.to_vec()));
                Ok(())
            }
            b'E' => self.error(body, excuses),
            b'Z' => self.ready(body),
            _ => self.reply(tag, body),
        }
    }

    fn reply(&mut self, tag: u8, body: &[u8]) -> Result<(), String> {
        if self.rounds.front().is_none_or(|round| round.errored) {
            return Err(format!("message {:?} that nobody asked for", char::from(tag)));
        }
        while self.rounds[0].want.pop_front_if_done() {}
        let Some(want) = self.rounds[0].want.front().cloned() else {
            return Err(format!("message {:?} behind all replies", char::from(tag)));
        };
        match (want, tag) {
            (Want::Is(wanted), tag) if wanted == tag => self.next(),
            (Want::Parsed(name), b'1') => {
                if !name.is_empty() {
                    self.statements.insert(name);
                }
                self.next();
            }
            (Want::Closed(name), b'3') => {
                self.statements.remove(&name);
                self.next();
            }
            (Want::Rows { token, left }, b'D') => {
                self.row(token, body)?;
                self.rounds[0].want[0] = Want::Rows { token, left: left - 1 };
            }
            (Want::CopyRows { token, left }, b'd') => {
                if body != format!("{token}\n").as_bytes() {
                    return Err(format!("row {:?} in COPY {token}", String::from_utf8_lossy(body)));
                }
                self.rounds[0].want[0] = Want::CopyRows { token, left: left - 1 };
            }
            (Want::CopyBegin(bytes), b'G') => {
                self.outbox.extend_from_slice(&bytes);
                self.next();
            }
            (Want::Complete(wanted), b'C') => {
                let told = String::from_utf8_lossy(body.strip_suffix(&[0]).unwrap_or(body)).into_owned();
                let undone = wanted == "COMMIT" && told == "ROLLBACK" && self.trouble;
                self.undone |= told == "ROLLBACK";
                if told == "DEALLOCATE ALL" {
                    self.statements.clear();
                }
                if told != wanted && !undone {
                    return Err(format!("{told:?} where {wanted:?} belongs"));
                }
                self.next();
            }
            (want, tag) => return Err(format!("message {:?} where {want:?} belongs", char::from(tag))),
        }
        Ok(())
    }

    fn next(&mut self) {
        self.rounds[0].want.pop_front();
    }

    /// `token|process|transaction|name|padding`.
    fn row(&mut self, token: Token, body: &[u8]) -> Result<(), String> {
        let value = String::from_utf8_lossy(body.get(6..).unwrap_or_default()).into_owned();
        let fields: Vec<&str> = value.split('|').collect();
        let [echo, pid, transaction, name, _] = fields[..] else { return Err(format!("broken row {value:?}")) };
        if echo != token.to_string() {
            return Err(format!("a row of {echo} where those of {token} belong"));
        }
        if name != self.name {
            return Err(format!("{token} ran with application_name {name:?}, not {:?}", self.name));
        }
        let ran = (pid.parse().unwrap_or(0), transaction.parse().unwrap_or(0));
        let before = self.here.or(self.rounds[0].ran);
        if before.is_some_and(|before| before != ran) {
            return Err(format!("{token} ran in {ran:?}, its transaction in {before:?}"));
        }
        if self.keep == Keep::Session && *self.home.get_or_insert(ran.0) != ran.0 {
            return Err(format!("{token} ran in {ran:?}, its session in {:?}", self.home));
        }
        self.rounds[0].ran = Some(ran);
        if self.status == b'T' {
            self.here = Some(ran);
        }
        Ok(())
    }

    fn error(&mut self, body: &[u8], excuses: Excuses) -> Result<(), String> {
        let fields = read::report(body);
        let (sqlstate, message) = (&*fields.sqlstate, &*fields.message);
        self.tally.note(&fields.detail);
        if fields.severity == "FATAL" {
            return self.last_word(sqlstate, message, excuses);
        }
        let refusal = message.starts_with("pool \"") || message.starts_with("database \"");
        let (cancels, trouble, inside) = (self.cancels, self.trouble, self.here.is_some());
        let round = self.rounds.front_mut().ok_or_else(|| format!("an error nobody asked for: {message}"))?;
        if round.errored {
            return Err(format!("a second error: {message}"));
        }
        if let Some(token) = message.split("token=").nth(1).and_then(Token::read)
            && (token.owner != self.id || token.number < round.numbers.0 || token.number > round.numbers.1)
        {
            return Err(format!("the error of {token}"));
        }
        let tally = &mut self.tally;
        match sqlstate {
            "22012" if round.fate == Fate::Fails => tally.failed += 1,
            "42P05" if round.fate == Fate::Duplicate => tally.failed += 1,
            // the round that closed the name was refused
            "42P05" if round.prepares().is_some_and(|name| self.statements.contains(name)) => tally.failed += 1,
            "25P02" if trouble => tally.failed += 1,
            "57014" if round.fate == Fate::GivesUp => tally.failed += 1,
            "57014" if cancels => tally.cancelled += 1,
            "53300" | "58000" if refusal && !inside => tally.refused += 1,
            "57P01" if refusal && excuses.ended && !inside => tally.refused += 1,
            _ => return Err(format!("error {sqlstate} {message}")),
        }
        round.errored = true;
        self.trouble = true;
        if self.status == b'T' {
            self.name.clone_from(&self.name_before);
        }
        Ok(())
    }

    fn last_word(&mut self, sqlstate: &str, message: &str, excuses: Excuses) -> Result<(), String> {
        let refusal = message.starts_with("pool \"") || message.starts_with("database \"");
        let own_connect = self.alone && self.phase == Phase::Joining;
        let fair = match sqlstate {
            "28P01" if own_connect => true, // the server's own words
            "57P01" => excuses.ended || (excuses.stalled && message.contains("not being read")),
            "08006" => excuses.died,
            "57014" => self.cancels,
            "0A000" => self.keep == Keep::Statement && self.status == b'T',
            "53300" | "57P03" | "58000" | "28P01" => refusal,
            _ => false,
        };
        if !fair {
            return Err(format!("last word {sqlstate} {message}"));
        }
        self.fatal = Some(sqlstate.to_owned());
        Ok(())
    }

    fn ready(&mut self, body: &[u8]) -> Result<(), String> {
        let status = read::ready(body).ok_or("broken ReadyForQuery")?;
        if self.phase == Phase::Joining {
            if self.key.is_none() || status != b'I' {
                return Err("ready without a key, or not idle".into());
            }
            self.phase = if self.rounds.is_empty() { Phase::Thinking } else { Phase::Awaiting };
            return self.check_name();
        }
        let mut round = self.rounds.pop_front().ok_or("a ReadyForQuery nobody asked for")?;
        while round.want.pop_front_if_done() {}
        if !round.errored && (!round.want.is_empty() || round.fate != Fate::Good) {
            return Err(format!("ready before {:?} ({:?})", round.want.front(), round.fate));
        }
        if !round.errored {
            self.tally.answered += 1;
            if let Some(name) = round.name {
                self.name = name;
            }
        }
        if round.begins && round.errored && status == b'I' && self.rounds.iter().any(|next| next.inside) {
            self.tally.torn += 1;
        }
        let inside = self.status != b'I';
        if !inside && status == b'T' {
            self.name_before.clone_from(&self.name);
        }
        self.status = status;
        if status == b'I' {
            if std::mem::take(&mut self.undone) && inside {
                self.name.clone_from(&self.name_before);
            }
            self.here = None;
            self.trouble = false;
        }
        if self.rounds.is_empty() {
            self.phase = Phase::Thinking;
        }
        self.check_name()
    }

    fn check_name(&self) -> Result<(), String> {
        if self.told == self.name {
            Ok(())
        } else {
            Err(format!("it was told {:?}, and wants {:?}", self.told, self.name))
        }
    }
}

impl Tally {
    /// What moved admission, where a DETAIL says so.
    fn note(&mut self, detail: &str) {
        let said = detail.split(' ').find_map(|word| word.strip_prefix("reason="));
        let at = said.and_then(|said| Reason::ALL.iter().position(|reason| reason.name() == said));
        self.reasons[at.unwrap_or_default()] += u64::from(at.is_some());
    }
}

/// Runs of rows that have all come are behind us.
trait Done {
    fn pop_front_if_done(&mut self) -> bool;
}

impl Done for VecDeque<Want> {
    fn pop_front_if_done(&mut self) -> bool {
        let done = matches!(self.front(), Some(Want::Rows { left: 0, .. } | Want::CopyRows { left: 0, .. }));
        if done {
            self.pop_front();
        }
        done
    }
}
