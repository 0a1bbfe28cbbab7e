//! Session state that a transaction can leave behind on a server connection: what is suspected, and what is known to be there.
//!
//! ```text
//!  a text is suspicious ─► Doubts ─ end of the transaction ─► Gate::Probe ─► settings: the client's from now on
//!                                                                       └──► Pins: the connection stays with the client
//! ```
//! Invariant: a connection with doubts or pins is never lent to another client before it was reset.

use std::collections::BTreeSet;
use std::fmt;

use crate::client::Client;
use crate::settings::{IDENTITY, Settings};
use crate::sql::{Name, Touch};

/// Most settings that one client's transactions may leave changed; with more it keeps its connection.
pub(crate) const MAX_KEPT: usize = 2 * crate::settings::MAX_SETTINGS;

/// What becomes of session state that no other connection can be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionState {
    /// The client keeps its connection while it lasts.
    #[default]
    Pin,
    /// What would make it is refused.
    Refuse,
}

/// Why a client keeps its server connection beyond its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pin {
    /// It holds a session-level advisory lock.
    AdvisoryLock,
    /// It has temporary tables (or other objects in its temporary schema).
    TempTable,
    /// It has a cursor WITH HOLD.
    HoldCursor,
    /// It listens.
    Listen,
    /// It has a statement prepared in SQL.
    Prepare,
    /// It has loaded a library.
    Load,
    /// It may have changed settings whose names nobody can tell.
    Setting,
    /// It has a prepared statement too large to be prepared elsewhere as well.
    Statement,
}

impl Pin {
    /// Every reason, in the order of SHOW PINS.
    pub const ALL: [Self; 8] = [
        Self::AdvisoryLock,
        Self::TempTable,
        Self::HoldCursor,
        Self::Listen,
        Self::Prepare,
        Self::Load,
        Self::Setting,
        Self::Statement,
    ];

    /// Its name in SHOW PINS and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdvisoryLock => "advisory_lock",
            Self::TempTable => "temp_table",
            Self::HoldCursor => "hold_cursor",
            Self::Listen => "listen",
            Self::Prepare => "prepare",
            Self::Load => "load",
            Self::Setting => "setting",
            Self::Statement => "statement",
        }
    }

    /// What makes it, as a refused client is told.
    pub(crate) const fn construct(self) -> &'static str {
        match self {
            Self::AdvisoryLock => "a session-level advisory lock",
            Self::TempTable => "a temporary table",
            Self::HoldCursor => "DECLARE ... WITH HOLD",
            Self::Listen => "LISTEN",
            Self::Prepare => "PREPARE",
            Self::Load => "LOAD",
            Self::Setting => "set_config of a setting whose name is not a literal",
            Self::Statement => "a prepared statement of this size",
        }
    }
}

/// A set of [`Pin`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pins(u8);

impl Pins {
    /// None.
    pub const NONE: Self = Self(0);

    pub(crate) const fn all() -> Self {
        Self(u8::MAX)
    }

    pub(crate) fn of(pin: Pin) -> Self {
        Self(1 << pin as u8)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `pin` is among them.
    #[must_use]
    pub fn has(self, pin: Pin) -> bool {
        self.0 & Self::of(pin).0 != 0
    }

    pub(crate) fn add(&mut self, pin: Pin) {
        self.0 |= Self::of(pin).0;
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Each, in order.
    pub fn iter(self) -> impl Iterator<Item = Pin> {
        Pin::ALL.into_iter().filter(move |pin| self.has(*pin))
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, pin) in self.iter().enumerate() {
            f.write_str(if number > 0 { "," } else { "" })?;
            f.write_str(pin.name())?;
        }
        Ok(())
    }
}

/// What PostgreSQL must be asked at the end of the transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubts {
    /// Settings that may have been set.
    pub(crate) sets: BTreeSet<Box<str>>,
    /// Settings that may have been taken back to what the session began with.
    pub(crate) resets: BTreeSet<Box<str>>,
    /// Every setting may have been.
    pub(crate) resets_all: bool,
    /// State that may have come or gone.
    pub(crate) pins: Pins,
    /// Any setting may have been set by what could not be told.
    pub(crate) any: bool,
    /// A text goes through of which not all was there to be read: the last bytes of what has gone.
    pub(crate) unread: Option<[u8; 2]>,
    /// An error came since: what was to be set may be what nobody may set.
    pub(crate) failed: bool,
    /// Settings that were taken back, and nothing has been done about it yet; those that were set behind it are not among them.
    pub(crate) back: BTreeSet<Box<str>>,
    /// All were, but for `set_behind`.
    pub(crate) all_back: bool,
    /// Settings that were set since all were taken back.
    pub(crate) set_behind: BTreeSet<Box<str>>,
}

impl Doubts {
    /// What `touch` may have done, where `pinned` is known to be there; `value` tells the parameters of the statement.
    pub(crate) fn add(&mut self, touch: &Touch, pinned: Pins, value: impl Fn(u16) -> Option<Box<str>>) {
        self.resets.extend(touch.resets.iter().cloned());
        self.back.extend(touch.resets.iter().cloned());
        if touch.resets_all {
            (self.resets_all, self.all_back) = (true, true);
            self.set_behind.clear();
        }
        for name in &touch.sets {
            let named = match name {
                Name::Is(name) => Some(name.clone()),
                Name::Parameter(number) => value(*number),
            };
            match named {
                Some(name) => {
                    self.back.remove(&name);
                    self.set_behind.insert(name.clone());
                    self.sets.insert(name);
                }
                None => self.pins.add(Pin::Setting),
            }
        }
        if touch.anything {
            self.add_all();
        }
        self.pins = self.pins.and(touch.makes).and(touch.ends.both(pinned));
    }

    /// Something ran that cannot be told: all that PostgreSQL can be asked for. Settings of the client's own are not among it.
    pub(crate) fn add_all(&mut self) {
        self.any = true;
        self.resets.extend(IDENTITY.map(Box::from)); // which `pg_settings` does not list
        let told = Pins::all().without(Pins::of(Pin::Setting)).without(Pins::of(Pin::Statement));
        self.pins = self.pins.and(told);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.resets.is_empty() && !self.resets_all && self.pins.is_empty() && !self.any
    }

    /// Whether `name` was just taken back.
    pub(crate) fn is_back(&self, name: &str) -> bool {
        self.back.contains(name) || (self.all_back && !self.set_behind.contains(name))
    }

    /// What was taken back has been dealt with.
    pub(crate) fn forget_backs(&mut self) {
        self.back.clear();
        self.all_back = false;
    }

    /// The settings that may be back at what the session began with, where it has a say in what that is.
    pub(crate) fn taken_back(&self, client: &Client, server: &crate::Settings) -> BTreeSet<Box<str>> {
        let mut names = self.resets.clone();
        if self.resets_all {
            let mine = client.settings.iter().chain(client.born.iter()).chain(server.iter());
            names.extend(mine.map(|(name, _)| Box::<str>::from(name)));
        }
        names
    }
}

/// What keeps a connection with its client, since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) pins: Pins,
    /// Nanoseconds.
    pub(crate) since: u64,
    /// The settings that statements which live here alone may set whenever they run.
    pub(crate) sets: BTreeSet<Box<str>>,
}

/// Whether a search path says that tables are made as temporary ones. (Behind a schema `pg_temp` is where they are looked for.)
pub(crate) fn makes_temp_tables(settings: &Settings) -> bool {
    let path = settings.value("search_path").unwrap_or_default();
    let mut names = path.split(',').map(|name| name.trim_matches([' ', '\t', '\n', '"']));
    names.find(|name| *name != "$user").is_some_and(|name| name.to_ascii_lowercase().starts_with("pg_temp"))
}

impl Held {
    /// A statement with this text lives here alone from now on.
    pub(crate) fn keep_sets(&mut self, touch: &Touch, doubts: &mut Doubts) {
        for name in &touch.sets {
            match name {
                Name::Is(name) => drop(self.sets.insert(name.clone())),
                Name::Parameter(_) => doubts.pins.add(Pin::Setting),
            }
        }
        if self.sets.len() > MAX_KEPT {
            doubts.pins.add(Pin::Setting);
        }
    }

    /// A statement that lives here alone may have run.
    pub(crate) fn suspect_all(&self, doubts: &mut Doubts) {
        doubts.add_all();
        doubts.sets.extend(self.sets.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_of_everything_asks_for_the_role_and_forgets_nothing() {
        let mut doubts = Doubts { pins: Pins::of(Pin::Setting), ..Doubts::default() };
        doubts.add_all();
        assert!(doubts.pins.has(Pin::Setting) && doubts.pins.has(Pin::Listen) && !doubts.pins.has(Pin::Statement));
        let question = crate::probe::question(&doubts, &doubts.taken_back(&Client::default(), &Settings::default()));
        for name in IDENTITY {
            assert!(question.contains(&format!("current_setting(E'{name}',true)")), "{question}");
        }
    }
}
