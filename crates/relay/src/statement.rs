//! Prepared statements: the texts (shared on a loop), what each client calls them, and what each server connection holds.
//!
//! A server connection knows a statement under a name of its own that is never used twice, so that a Close in flight
//! and a new Parse of the same text cannot meet. Texts count against one bound; what does not fit is not shared but pins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::reading::{Reading, Readings};
use crate::sql::{Dialect, Touch};

/// A statement's text and parameter types, as they stand in a Parse message behind the name.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Unique in the process.
    pub(crate) id: u64,
    /// Query text, NUL, parameter types.
    pub(crate) rest: Box<[u8]>,
    /// Grows each time a server says that what it prepared is older than its tables: what was prepared before is of no use anywhere.
    generation: AtomicU32,
    /// Which clients share it: those of one pool to whom its text means the same.
    circle: u64,
    /// What is known of its text.
    pub(crate) about: About,
    /// A server of that pool has parsed it, and none has said since that it is out of date.
    good: AtomicBool,
}

/// What is known of a text.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// What it may do to the session.
    pub(crate) touch: Option<Box<Touch>>,
    /// What it reads as.
    pub(crate) reading: Arc<Reading>,
}

impl Statement {
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    pub(crate) fn outdate(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.good.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_good(&self) -> bool {
        self.good.load(Ordering::Relaxed)
    }

    pub(crate) fn prove(&self) {
        self.good.store(true, Ordering::Relaxed);
    }

    fn bytes(&self) -> usize {
        cost(&self.rest, &self.about.reading)
    }
}

/// All texts of one loop, with their byte bound.
#[derive(Debug)]
pub struct Texts {
    shared: BTreeMap<u64, Vec<Arc<Statement>>>,
    bytes: usize,
    bound: usize,
    swept: usize,
    next_id: u64,
    /// A statement was kept that says something of itself.
    labelled: bool,
    /// The texts that were read last, kept or not.
    pub(crate) readings: Readings,
}

/// Bytes a shared statement costs beside its texts.
const OVERHEAD: usize = 96 + size_of::<Reading>();

fn cost(rest: &[u8], reading: &Reading) -> usize {
    rest.len() + OVERHEAD + reading.bytes()
}

impl Texts {
    /// Texts of loop `home` (ids of different loops differ), at most `bound` bytes.
    #[must_use]
    pub fn new(home: u16, bound: usize) -> Self {
        Self {
            shared: BTreeMap::new(),
            bytes: 0,
            bound,
            swept: 0,
            next_id: (u64::from(home) << 48) + 1,
            labelled: false,
            readings: Readings::default(),
        }
    }

    /// Bytes kept now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a kept statement may say something of itself.
    pub(crate) fn is_labelled(&self) -> bool {
        self.labelled
    }

    /// A new bound; what is kept stays.
    pub fn rebound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// The statement of this text in this circle, if there is one.
    pub(crate) fn known(&self, circle: u64, rest: &[u8]) -> Option<Arc<Statement>> {
        let same = |one: &&Arc<Statement>| one.circle == circle && *one.rest == *rest;
        self.shared.get(&hash(rest))?.iter().find(same).cloned()
    }

    /// The one statement of this text in this circle; `None` when the bound is reached.
    pub(crate) fn share(&mut self, circle: u64, rest: &[u8], about: About) -> Option<Arc<Statement>> {
        if let Some(same) = self.known(circle, rest) {
            return Some(same);
        }
        let cost = cost(rest, &about.reading);
        if self.bytes + cost > self.bound || self.bytes + cost > 2 * self.swept.max(1 << 20) {
            self.sweep();
        }
        if self.bytes + cost > self.bound {
            return None;
        }
        self.bytes += cost;
        self.labelled |= about.reading.label.is_some();
        let statement = Arc::new(Statement {
            id: self.fresh_id(),
            rest: rest.into(),
            generation: AtomicU32::new(0),
            circle,
            about,
            good: AtomicBool::new(false),
        });
        self.shared.entry(hash(rest)).or_default().push(statement.clone());
        Some(statement)
    }

    /// What a text reads as.
    #[inline]
    pub(crate) fn read(&mut self, text: &[u8], dialect: impl FnOnce() -> Dialect) -> Arc<Reading> {
        self.readings.read(text, dialect)
    }

    /// An id for a text that is not shared.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Takes `bytes` out of the bound for something kept elsewhere; false when they do not fit.
    pub(crate) fn charge(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= self.bound;
        self.bytes += if fits { bytes } else { 0 };
        fits
    }

    /// Counts `bytes` that are kept whether they fit or not.
    pub(crate) fn owe(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// As `share`, with the name a client calls it by.
    pub(crate) fn share_named(
        &mut self,
        circle: u64,
        name: &[u8],
        rest: &[u8],
        about: About,
    ) -> Option<Arc<Statement>> {
        let statement = self.share(circle, rest, about)?;
        if !self.charge(name.len()) {
            self.sweep();
            if !self.charge(name.len()) {
                return None;
            }
        }
        Some(statement)
    }

    /// Gives back what `charge` took (a client that moved in from another loop may give back more than it took here).
    pub(crate) fn refund(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Drops the statements nobody holds.
    fn sweep(&mut self) {
        let mut freed = 0;
        self.shared.retain(|_, all| {
            all.retain(|one| {
                let held = Arc::strong_count(one) > 1;
                freed += if held { 0 } else { one.bytes() };
                held
            });
            !all.is_empty()
        });
        self.bytes = self.bytes.saturating_sub(freed);
        self.swept = self.bytes;
    }
}

/// What a client calls a statement.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) what: What,
    /// Hash of the description the client was told last.
    pub(crate) described: Option<u64>,
    /// The place in the lease's queue of the Parse that made it; forgotten if that one fails.
    pub(crate) made_at: u64,
}

/// Where a client's statement is.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// On any server connection, as needed.
    Shared(Arc<Statement>),
    /// Only on the server connection lent now, under this number; the connection stays with the client.
    Pinned(u32),
}

/// The unnamed statement, kept in case it is used in a later transaction.
#[derive(Debug)]
pub(crate) struct Unnamed {
    pub(crate) id: u64,
    pub(crate) rest: Vec<u8>,
    pub(crate) described: Option<u64>,
    pub(crate) made_at: u64,
    /// What is known of its text.
    pub(crate) about: About,
}

/// All statements of one client.
#[derive(Debug, Default)]
pub(crate) struct ClientBook {
    pub(crate) named: BTreeMap<Arc<[u8]>, Named>,
    pub(crate) unnamed: Option<Unnamed>,
    /// The place in the lease's queue where the unnamed one was made or dropped last.
    pub(crate) unnamed_at: u64,
}

/// A statement as one server connection holds it.
#[derive(Debug)]
pub(crate) struct OnServer {
    /// Its number in the connection's names.
    pub(crate) number: u32,
    /// The statement's generation when it was prepared.
    pub(crate) generation: u32,
    /// The place in the queue of the Parse that made it.
    pub(crate) made: u64,
    /// The place in the queue where it was used last.
    pub(crate) used: u64,
    /// Hash of the description the server gave.
    pub(crate) described: Option<u64>,
    /// ParseComplete was seen.
    pub(crate) proved: bool,
}

/// All statements of one server connection.
#[derive(Debug, Default)]
pub(crate) struct ServerBook {
    pub(crate) named: BTreeMap<u64, OnServer>,
    /// The id of the unnamed statement, and its description's hash.
    pub(crate) unnamed: Option<(u64, Option<u64>)>,
    /// The place in the queue of the Parse that made the unnamed one.
    pub(crate) unnamed_made: u64,
    /// Numbers that must still be closed: their Close was skipped by an error, or their client is gone.
    pub(crate) doomed: Vec<u32>,
    /// A text that may do something to the session was prepared where statements are not followed: nobody knows when it runs.
    pub(crate) touching: bool,
    last_number: u32,
}

impl ServerBook {
    /// A number never used before on this connection.
    pub(crate) fn number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    /// The statement used longest ago, if that was before `place`.
    pub(crate) fn least_recent_before(&self, place: u64) -> Option<u64> {
        let (id, held) = self.named.iter().min_by_key(|(_, held)| held.used)?;
        (held.used < place && held.proved).then_some(*id)
    }

    /// Everything named is gone from the server (DEALLOCATE ALL, DISCARD ALL).
    pub(crate) fn clear(&mut self) {
        self.named.clear();
        self.doomed.clear();
        self.touching = false;
    }
}

/// What the names of statements on a server connection begin with.
pub(crate) const PREFIX: &str = "poolwarden_";

/// The name of a statement on a server connection.
pub(crate) fn name_of(number: u32) -> String {
    format!("{PREFIX}{number}")
}

/// Where an error names a statement as the server does: in quotes, with its number.
pub(crate) fn named_in(body: &[u8]) -> Option<(std::ops::Range<usize>, u32)> {
    let start = memchr::memmem::find(body, format!("\"{PREFIX}").as_bytes())? + 1;
    let digits = start + PREFIX.len();
    let end = digits + memchr::memchr(b'"', &body[digits..])?;
    let number = std::str::from_utf8(&body[digits..end]).ok()?.parse().ok()?;
    Some((start..end, number))
}

/// The text of a Parse, from what stands behind its name.
pub(crate) fn text_of(rest: &[u8]) -> &[u8] {
    memchr::memchr(0, rest).map_or(rest, |end| &rest[..end])
}

/// FNV-1a over 64 bits; equality is always checked on the text itself.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_found_in_an_error_under_the_servers_name_alone() {
        let body = b"SERROR\0C08P01\0Mprepared statement \"poolwarden_42\" requires 2\0\0";
        let (at, number) = named_in(body).expect("it is named");
        assert_eq!((&body[at], number), (&b"poolwarden_42"[..], 42));
        assert_eq!(named_in(b"SERROR\0Mno table \"poolwarden_x\"\0\0"), None);
        assert_eq!(named_in(b"SERROR\0Mno statement \"a\"\0\0"), None);
    }

    #[test]
    fn equal_texts_are_one_statement_and_unheld_ones_make_room() {
        let mut texts = Texts::new(1, 3 * (OVERHEAD + 4));
        let first = texts.share(0, b"aaaa", About::default()).unwrap();
        assert_eq!(texts.share(0, b"aaaa", About::default()).unwrap().id, first.id);
        drop(texts.share(0, b"bbbb", About::default()).unwrap());
        let third = texts.share(0, b"cccc", About::default()).unwrap();
        let fourth = texts.share(0, b"dddd", About::default()).expect("bbbb is swept");
        assert!(texts.share(0, b"eeee", About::default()).is_none(), "all three are held");
        assert!(third.id != fourth.id && texts.bytes() <= 3 * (OVERHEAD + 4));
    }
}
