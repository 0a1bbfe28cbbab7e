//! A client between its requests: what it has sent and nobody has taken yet, its settings, its statements.
//!
//! An idle client owns no buffer. What a client without a server connection sends is looked at only as far as needed
//! to know whether it wants one.

use std::sync::Arc;

use poolwarden_pgwire::frame;
use poolwarden_pgwire::tag::client as tag;

use crate::refuse::Skip;
use crate::server::Fault;
use crate::settings::{Defaults, Settings};
use crate::sql::{Dialect, Pairs};
use crate::statement::{About, ClientBook, Named, Statement, Texts, Unnamed, What, text_of};

/// One client connection after its login.
#[derive(Debug, Default)]
pub struct Client {
    /// The session settings it wants to find on every server connection.
    pub settings: Settings,
    /// Those it asked for at its login: what RESET gives it back.
    pub(crate) born: Settings,
    /// The defaults it was told of.
    pub(crate) told: Option<Arc<Defaults>>,
    /// Input nobody has taken yet.
    pub pending: Vec<u8>,
    /// Whose statement texts it may share: those of clients with the same number, which is that of its pool.
    pub scope: u32,
    /// What is still to come of the message at the front.
    pub(crate) body: Body,
    /// What is skipped because a request was refused.
    pub(crate) skip: Skip,
    /// The beginning of a transaction was refused, and its end has not been seen since.
    pub(crate) opened: bool,
    /// A Parse without a name is among what is skipped: the unnamed statement is not what it was.
    pub(crate) reparsed: bool,
    /// It has sent a request before the answer to the one before.
    pub(crate) pipelined: bool,
    pub(crate) book: Option<Box<ClientBook>>,
}

/// The rest of a message whose beginning has been dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Body {
    #[default]
    None,
    /// So many bytes go to the server.
    Forward(usize),
    /// So many bytes go nowhere.
    Discard(usize),
}

/// What an idle client's input asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Idle {
    /// Nothing yet.
    Nothing,
    /// A server connection.
    Wants,
    /// It says goodbye.
    Leaves,
}

/// `pending` of an idle client is given back above this capacity (0: an idle client owns no buffer).
const KEEP_PENDING: usize = 0;

impl Client {
    /// A client that wants these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { born: settings.clone(), settings, ..Self::default() }
    }

    /// It is welcomed with the settings it has, and told of these defaults.
    pub fn greeted(&mut self, told: Option<Arc<Defaults>>) {
        self.born = self.settings.clone();
        self.told = told;
    }

    /// Whether it began with settings of its own.
    pub(crate) fn has_beginnings(&self) -> bool {
        !self.born.is_empty()
    }

    /// Who shares its statement texts: those of its pool to whom a text means the same.
    pub(crate) fn circle(&self) -> u64 {
        u64::from(self.scope) ^ self.settings.meaning()
    }

    /// How it writes, as far as is known without a server connection.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect_by(self.told.as_deref())
    }

    /// The same, where the server reported these.
    pub(crate) fn dialect_by(&self, defaults: Option<&Defaults>) -> Dialect {
        let value = |name| self.settings.value(name).or_else(|| defaults?.value(name));
        let pairs = value("client_encoding").map_or(Pairs::None, Pairs::of);
        Dialect { escapes: value("standard_conforming_strings") == Some("off"), pairs }
    }

    /// Looks at `input` of a client that has no server connection: how many bytes are done with, and what the rest asks for.
    ///
    /// Late COPY messages and Flush mean nothing outside a request and are dropped, as PostgreSQL does.
    ///
    /// # Errors
    /// A frame that cannot be, or a message type no client sends.
    pub fn idle_input(&mut self, input: &[u8], reply: &mut Vec<u8>) -> Result<(usize, Idle), Fault> {
        let mut at = 0;
        loop {
            at += self.discard(&input[at..]);
            if self.body != Body::None {
                return Ok((at, Idle::Nothing));
            }
            let Some(header) = frame::header(&input[at..])? else {
                return Ok((at, Idle::Nothing));
            };
            if self.skip != Skip::No {
                self.note(header, &input[at..]);
                at += self.skip_message(header, reply);
                continue;
            }
            match header.tag {
                tag::TERMINATE => return Ok((at, Idle::Leaves)),
                tag::COPY_DATA | tag::COPY_DONE | tag::COPY_FAIL | tag::FLUSH => {
                    self.body = Body::Discard(header.total());
                }
                tag::QUERY
                | tag::PARSE
                | tag::BIND
                | tag::DESCRIBE
                | tag::EXECUTE
                | tag::CLOSE
                | tag::SYNC
                | tag::FUNCTION_CALL => return Ok((at, Idle::Wants)),
                other => return Err(Fault::unknown_message(other)),
            }
        }
    }

    /// Drops what is to be dropped of the current message; returns how many bytes that took.
    pub(crate) fn discard(&mut self, input: &[u8]) -> usize {
        let Body::Discard(left) = self.body else {
            return 0;
        };
        let taken = left.min(input.len());
        self.body = if taken == left { Body::None } else { Body::Discard(left - taken) };
        taken
    }

    /// Keeps `input` (which came behind `pending`) for later.
    pub fn keep(&mut self, input: &[u8]) {
        if !input.is_empty() {
            self.pending.extend_from_slice(input);
        }
    }

    /// There is known to be input behind what was handed over: it has sent a request before the answer to the one before, unless
    /// that is the rest of the last message.
    pub fn has_sent_more(&mut self) {
        let mut at = 0;
        while let Ok(Some(header)) = frame::header(&self.pending[at..]) {
            if header.total() > self.pending.len() - at {
                return;
            }
            at += header.total();
        }
        self.pipelined = true;
    }

    /// Gives buffers back; called when the client becomes idle.
    pub fn rest(&mut self) {
        if self.pending.is_empty() && self.pending.capacity() > KEEP_PENDING {
            self.pending = Vec::new();
        }
    }

    /// Whether a part of its message has gone to the server, which waits for the rest: nothing else can be told the server.
    #[must_use]
    pub fn is_amid_request(&self) -> bool {
        matches!(self.body, Body::Forward(_))
    }

    /// How many named statements it has.
    #[must_use]
    pub fn statements(&self) -> usize {
        self.book.as_ref().map_or(0, |book| book.named.len())
    }

    /// The client is gone: its texts are given back.
    pub fn leave(&mut self, texts: &mut Texts) {
        self.forget_unnamed(texts);
        if let Some(book) = self.book.take() {
            texts.refund(book.named.keys().map(|name| name.len()).sum());
        }
    }

    /// Its named statements are gone (it said DEALLOCATE ALL or DISCARD ALL; the unnamed one survives both), but for those it made since.
    pub(crate) fn forget_statements(&mut self, texts: &mut Texts, is_newer: impl Fn(&[u8]) -> bool) {
        let Some(book) = self.book.as_mut() else { return };
        book.named.retain(|name, _| {
            let stays = is_newer(name);
            texts.refund(if stays { 0 } else { name.len() });
            stays
        });
    }

    /// How many statements it has that live on its server connection alone.
    pub(crate) fn pinned_statements(&self) -> u32 {
        let pinned = |named: &&Named| matches!(named.what, What::Pinned(_));
        let count = self.book.as_ref().map_or(0, |book| book.named.values().filter(pinned).count());
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Takes the unnamed statement out, to be given back by `restore_unnamed` if the message at `place`, which replaces it, is skipped.
    pub(crate) fn take_unnamed(&mut self, place: u64, texts: &mut Texts) -> Option<Box<Unnamed>> {
        let book = self.book();
        book.unnamed_at = place;
        let unnamed = book.unnamed.take()?;
        texts.refund(unnamed.rest.len());
        Some(Box::new(unnamed))
    }

    /// What replaced the unnamed statement was skipped, as everything before place `end`; what changed it later was not,
    /// and then it stays (false).
    pub(crate) fn restore_unnamed(&mut self, before: Option<Box<Unnamed>>, end: u64, texts: &mut Texts) -> bool {
        if self.book().unnamed_at >= end {
            return false;
        }
        self.forget_unnamed(texts);
        if let Some(before) = before.filter(|before| texts.charge(before.rest.len())) {
            self.book().unnamed = Some(*before);
        }
        true
    }

    /// A named statement is there after all: its Close was skipped.
    pub(crate) fn restore_named(&mut self, name: Arc<[u8]>, named: Named, texts: &mut Texts) {
        let bytes = name.len();
        // one that took its name meanwhile was skipped with the Close, and is paid for
        if self.book().named.insert(name, named).is_none() {
            texts.owe(bytes);
        }
    }

    pub(crate) fn book(&mut self) -> &mut ClientBook {
        self.book.get_or_insert_default()
    }

    /// The shared statement `id`, under whatever name.
    pub(crate) fn shared(&self, id: u64) -> Option<&Statement> {
        self.book.as_ref()?.named.values().find_map(|named| match &named.what {
            What::Shared(statement) if statement.id == id => Some(&**statement),
            What::Shared(_) | What::Pinned(_) => None,
        })
    }

    /// The name itself, to be kept; one of its own where the client never gave it.
    pub(crate) fn keep_name(&self, name: &[u8]) -> Arc<[u8]> {
        let given = self.book.as_ref().and_then(|book| book.named.get_key_value(name));
        given.map_or_else(|| name.into(), |(given, _)| Arc::clone(given))
    }

    pub(crate) fn named(&self, name: &[u8]) -> Option<&Named> {
        self.book.as_ref()?.named.get(name)
    }

    /// Remembers the unnamed statement; `None` when its text does not fit the bound.
    pub(crate) fn keep_unnamed(&mut self, texts: &mut Texts, rest: &[u8], made_at: u64) -> Option<u64> {
        let mut buffer = self.forget_unnamed(texts);
        if !texts.charge(rest.len()) {
            return None;
        }
        buffer.clear();
        buffer.extend_from_slice(rest);
        let id = texts.fresh_id();
        let book = self.book();
        book.unnamed_at = made_at;
        book.unnamed = Some(Unnamed { id, rest: buffer, described: None, made_at, about: About::default() });
        Some(id)
    }

    /// Forgets the unnamed statement and returns its buffer.
    pub(crate) fn forget_unnamed(&mut self, texts: &mut Texts) -> Vec<u8> {
        let Some(unnamed) = self.book.as_mut().and_then(|book| book.unnamed.take()) else {
            return Vec::new();
        };
        texts.refund(unnamed.rest.len());
        unnamed.rest
    }

    /// The Parse at `place` failed or was skipped: what it made is gone.
    pub(crate) fn undo_parse(&mut self, name: &[u8], place: u64, texts: &mut Texts) {
        let Some(book) = self.book.as_mut() else { return };
        if name.is_empty() {
            if book.unnamed.as_ref().is_some_and(|unnamed| unnamed.made_at == place) {
                self.forget_unnamed(texts);
            }
        } else if book.named.get(name).is_some_and(|named| named.made_at == place) {
            book.named.remove(name);
            texts.refund(name.len());
        }
    }

    /// The text of the statement called `name` ("" is the unnamed one), where it is kept.
    pub(crate) fn bound(&self, name: &[u8]) -> Option<&[u8]> {
        let book = self.book.as_ref()?;
        if name.is_empty() {
            return book.unnamed.as_ref().map(|unnamed| text_of(&unnamed.rest));
        }
        match &book.named.get(name)?.what {
            What::Shared(statement) => Some(text_of(&statement.rest)),
            What::Pinned(_) => None,
        }
    }
}
