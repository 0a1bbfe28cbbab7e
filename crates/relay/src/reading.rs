//! What is known of a statement without its values: fingerprint, normalised text, route, what it says of itself. Read once per
//! distinct text and kept; and which statements a lease ran.
//!
//! Texts are known again by a 64-bit hash of their bytes; of a long one its beginning, its end and its length count. Those that
//! differ from one known in plain values alone are known by their shape.
//! Invariant: what is kept is bounded, whatever clients send.

use std::collections::BTreeMap;
use std::sync::Arc;

use poolwarden_pgwire::read;

use crate::client::Client;
use crate::fingerprint::{MAX_READ, fingerprint, normalised, shown};
use crate::from_client::Message;
use crate::label::{self, Label};
use crate::server::Server;
use crate::shape::shape;
use crate::sql::Dialect;
use crate::statement::{Texts, hash, text_of};

/// One statement, without its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Equal for statements that differ in values, comments, white space and case alone; 0: there is no statement in the text.
    /// Of a text above 16 KiB its beginning counts.
    pub fingerprint: u64,
    /// The normalised text, at most [`crate::MAX_QUERY`] bytes.
    pub text: Box<str>,
    /// `route` of the comment at its end (sqlcommenter), at most [`crate::MAX_ROUTE`] bytes.
    pub route: Option<Route>,
    /// What it says of itself.
    pub(crate) label: Option<Arc<Label>>,
}

/// Where in an application a statement comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// A hash of the name.
    pub hash: u64,
}

impl Reading {
    /// Reads a whole text, as a client writes it that has changed nothing.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        Self::read(text, Dialect::default())
    }

    fn read(text: &[u8], dialect: Dialect) -> Self {
        let normal = normalised(text, dialect);
        let said = label::read_text(text);
        Self {
            fingerprint: fingerprint(&normal),
            text: shown(&normal),
            route: said.route.map(|name| Route { hash: hash(name.as_bytes()), name }),
            label: said.label,
        }
    }

    /// Bytes of its texts.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + self.route.as_ref().map_or(0, |route| route.name.len())
    }
}

/// Pairs of places for texts that were read and for their shapes: a loop's common statements, with room for as many that come once.
const PAIRS: usize = 1024;
/// Of longer texts so much of the beginning tells them apart,
const HEAD: usize = 4096;
/// and so much of the end, which is where comments are looked for.
const TAIL: usize = label::MOST;

/// A text that was read, by the hash of its bytes or of its shape.
type Place = Option<(u64, Arc<Reading>)>;

/// The texts that were read last.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    /// The newer of a pair stands first. Empty before the first text.
    places: Vec<[Place; 2]>,
}

impl Readings {
    /// What `text` reads as.
    #[inline]
    pub(crate) fn read(&mut self, text: &[u8], dialect: impl FnOnce() -> Dialect) -> Arc<Reading> {
        let key = key(text);
        match self.known(key) {
            Some(reading) => reading.clone(),
            None => self.read_alike(key, text, dialect),
        }
    }

    #[inline]
    fn known(&self, key: u64) -> Option<&Arc<Reading>> {
        match self.places.get(place(key)) {
            Some([Some((known, reading)), _]) if *known == key => Some(reading),
            Some([_, Some((known, reading))]) if *known == key => Some(reading),
            Some(_) | None => None,
        }
    }

    /// Texts that were not met before may differ in plain values alone from one that was.
    fn read_alike(&mut self, key: u64, text: &[u8], dialect: impl FnOnce() -> Dialect) -> Arc<Reading> {
        let shape = shape(text);
        match shape.and_then(|shape| self.known(shape)) {
            Some(reading) => reading.clone(),
            None => self.read_new([Some(key), shape], text, dialect()),
        }
    }

    #[cold]
    fn read_new(&mut self, keys: [Option<u64>; 2], text: &[u8], dialect: Dialect) -> Arc<Reading> {
        let reading = Arc::new(Reading::read(text, dialect));
        if dialect != Dialect::default() {
            return reading; // the same bytes mean something else to most
        }
        if self.places.is_empty() {
            self.places.resize_with(PAIRS, Default::default);
        }
        for key in keys.into_iter().flatten() {
            if let Some(pair) = self.places.get_mut(place(key)) {
                pair.swap(0, 1);
                pair[0] = Some((key, reading.clone()));
            }
        }
        reading
    }
}

fn place(key: u64) -> usize {
    (key >> 32) as usize % PAIRS
}

/// A hash of a text's bytes: multiplied words, folded, so that each bit of a word meets all of the next.
fn key(text: &[u8]) -> u64 {
    let start = text.len() as u64 ^ 0x9e37_79b9_7f4a_7c15;
    if text.len() <= HEAD + TAIL {
        return fold_all(start, text);
    }
    fold_all(fold_all(start, &text[..HEAD]), &text[text.len() - TAIL..])
}

#[inline]
pub(crate) fn fold_all(start: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words.iter().fold(start, |hash, word| fold(hash, u64::from_le_bytes(*word)));
    fold(hash, u64::from_le_bytes(last))
}

#[inline]
pub(crate) fn fold(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word).wrapping_mul(0xa076_1d64_78bd_642f_u128) ^ u128::from(hash.rotate_left(29));
    (product as u64) ^ ((product >> 64) as u64)
}

/// The statements of one lease.
#[derive(Debug, Default)]
pub struct Heard {
    /// The newest, if it could be read.
    newest: Option<Arc<Reading>>,
    /// Nanoseconds on the server since it went out.
    spent: u64,
    /// Of the older ones, the one that took longest.
    longest: Option<Arc<Reading>>,
    /// How long.
    most: u64,
    /// The first that names a route, unless that is the newest.
    routed: Option<Arc<Reading>>,
    /// Where statements are not followed: what their names stand for.
    named: BTreeMap<Box<[u8]>, Arc<Reading>>,
}

/// So many names are remembered in a lease whose statements are not followed.
const MOST_NAMED: usize = 256;

impl Heard {
    /// The newest statement.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Reading>> {
        self.newest.as_ref()
    }

    /// The statement that took longest on the server; of several that went out at once, the last of them.
    #[must_use]
    pub fn longest(&self) -> Option<&Arc<Reading>> {
        let newest = self.newest.as_ref().filter(|_| self.longest.is_none() || self.spent >= self.most);
        newest.or(self.longest.as_ref())
    }

    /// The route of the first statement that named one.
    #[must_use]
    pub fn route(&self) -> Option<&Route> {
        let first = self.routed.as_ref().or(self.newest.as_ref());
        first.and_then(|reading| reading.route.as_ref())
    }

    /// The server has worked so long for what went out last.
    #[inline]
    pub(crate) fn spend(&mut self, span: u64) {
        self.spent += span;
    }

    /// A statement goes out; `None`: one that could not be read.
    #[inline]
    pub(crate) fn note(&mut self, reading: Option<&Arc<Reading>>) {
        match (&self.newest, reading) {
            (Some(newest), Some(reading)) if Arc::ptr_eq(newest, reading) || newest == reading => return,
            (Some(_), _) => self.put_by(),
            (None, _) => self.spent = 0,
        }
        self.newest = reading.cloned();
    }

    /// Another lease begins.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.spent = 0;
        self.newest = None;
        if self.longest.is_some() || !self.named.is_empty() {
            *self = Self::default();
        }
    }

    /// The newest is no longer the newest.
    #[cold]
    fn put_by(&mut self) {
        let spent = std::mem::take(&mut self.spent);
        let Some(before) = self.newest.take() else { return };
        if self.routed.is_none() && before.route.is_some() {
            self.routed = Some(before.clone());
        }
        if self.longest.is_none() || spent >= self.most {
            (self.longest, self.most) = (Some(before), spent);
        }
    }
}

impl Server {
    /// The statements of this lease.
    #[must_use]
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// A text goes out of which this has come; `whole`: that is all of it.
    pub(crate) fn hear_text(
        &mut self,
        text: &[u8],
        whole: bool,
        readings: &mut Readings,
        dialect: impl FnOnce(&Self) -> Dialect,
    ) {
        let enough = whole || text.len() > MAX_READ; // more would not count
        let reading = enough.then(|| readings.read(text, || dialect(self)));
        self.heard.note(reading.as_ref());
    }

    /// A Parse goes out of a statement that is not followed.
    pub(crate) fn hear_parse(&mut self, client: &Client, texts: &mut Texts, message: Message<'_>) {
        let Some((name, rest)) = read::cstr(message.body()) else { return self.heard.note(None) };
        let text = text_of(rest);
        let whole = text.len() < rest.len() || message.whole().is_some();
        self.hear_text(text, whole, &mut texts.readings, |server| server.dialect(client));
        self.keep_heard(name);
    }

    /// The newest statement will be used under this name.
    fn keep_heard(&mut self, name: &[u8]) {
        let known = self.heard.named.contains_key(name);
        if !name.is_empty() && (known || self.heard.named.len() < MOST_NAMED) {
            match self.heard.newest.clone() {
                Some(reading) => self.heard.named.insert(name.into(), reading),
                None => self.heard.named.remove(name),
            };
        }
    }

    /// The statement that was kept under this name is used; the one without a name is the newest anyway.
    pub(crate) fn hear_name(&mut self, name: &[u8]) {
        if !name.is_empty() {
            let reading = self.heard.named.get(name).cloned();
            self.heard.note(reading.as_ref());
        }
    }
}
