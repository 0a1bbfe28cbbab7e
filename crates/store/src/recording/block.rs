//! What a block says: checkouts, names, a gap, a moment on both clocks, settings, states. Its bytes without checksum and packing.

use super::Anchor;
use super::checkout::{Before, Checkout, MAX_BYTES, checkout, put_checkout};
use super::number::{Bytes, put, put_text};

/// The most checkouts of one block: what a crash or a broken byte can cost.
pub(super) const MAX_CHECKOUTS: usize = super::MAX_RAW / MAX_BYTES - 1;

/// A part of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Checkouts, in the order in which they ended.
    Checkouts(Vec<Checkout>),
    /// What numbers of checkouts stand for.
    Names(Vec<Name>),
    /// Nothing is known of this time.
    Gap(Gap),
    /// What both clocks said.
    Anchor(Anchor),
    /// The configuration from here on.
    Settings(Settings),
    /// How the pools stood.
    State(State),
    /// Of a newer release; its kind.
    Unknown(u8),
}

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Of which list.
    pub kind: NameKind,
    /// The number.
    pub number: u16,
    /// Its name: of a pool its server, database and user, separated by a NUL.
    pub text: String,
}

/// The configuration that was in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Since when, in microseconds of the process's clock.
    pub from_us: u64,
    /// Its number in the history; `None`: the history does not know it.
    pub version: Option<u64>,
    /// What recognises it.
    pub hash: String,
    /// It as TOML, without secrets; empty where it is longer than a block may be.
    pub text: String,
}

/// How the pools stood at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The moment, in microseconds of the process's clock.
    pub at_us: u64,
    /// Every pool that is in use.
    pub pools: Vec<PoolState>,
}

/// How one pool stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Which, by a number that a [`Name`] tells.
    pub pool: u16,
    /// The most connections it may have.
    pub size: u32,
    /// Connections that count against its limits, in whatever state.
    pub open: u32,
    /// Of those, lent ones.
    pub lent: u32,
    /// Of those, idle ones.
    pub idle: u32,
    /// Of those, connects under way.
    pub opening: u32,
    /// Requests that wait.
    pub waiting: u32,
}

/// Lists of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameKind {
    /// Pools.
    Pool,
    /// Classes.
    Class,
    /// Applications.
    Application,
    /// Limits.
    Limit,
}

impl NameKind {
    const ALL: [Self; 4] = [Self::Pool, Self::Class, Self::Application, Self::Limit];

    const fn number(self) -> u8 {
        match self {
            Self::Pool => 0,
            Self::Class => 1,
            Self::Application => 2,
            Self::Limit => 3,
        }
    }
}

/// A time of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its begin, in microseconds of the process's clock.
    pub from_us: u64,
    /// Its end.
    pub until_us: u64,
    /// Checkouts that ended in it, as far as they were counted.
    pub lost: u64,
}

const CHECKOUTS: u8 = 1;
const NAMES: u8 = 2;
const GAP: u8 = 3;
pub(super) const ANCHOR: u8 = 4;
const SETTINGS: u8 = 5;
const STATE: u8 = 6;

impl Block {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Checkouts(_) => CHECKOUTS,
            Self::Names(_) => NAMES,
            Self::Gap(_) => GAP,
            Self::Anchor(_) => ANCHOR,
            Self::Settings(_) => SETTINGS,
            Self::State(_) => STATE,
            Self::Unknown(kind) => *kind,
        }
    }

    /// The payload.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Checkouts(all) => {
                let base_us = all.first().map_or(0, |first| first.arrived_us);
                put(base_us, &mut out);
                let mut before = Before::new(base_us);
                all.iter().for_each(|of| put_checkout(of, &mut before, &mut out));
            }
            Self::Names(all) => {
                for Name { kind, number, text } in all {
                    out.push(kind.number());
                    put(u64::from(*number), &mut out);
                    put_text(text, &mut out);
                }
            }
            Self::Gap(Gap { from_us, until_us, lost }) => {
                [from_us, until_us, lost].into_iter().for_each(|number| put(*number, &mut out));
            }
            Self::Anchor(Anchor { wall_ms, clock_us }) => {
                [wall_ms, clock_us].into_iter().for_each(|number| put(*number, &mut out));
            }
            Self::Settings(settings) => settings.put(&mut out),
            Self::State(state) => state.put(&mut out),
            Self::Unknown(_) => {}
        }
        out
    }

    /// `None`: these bytes are no block of this kind.
    pub(super) fn read(kind: u8, payload: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(payload);
        let block = match kind {
            CHECKOUTS => {
                let mut before = Before::new(bytes.number()?);
                let mut all = Vec::new();
                while !bytes.is_empty() {
                    all.push(checkout(&mut bytes, &mut before)?);
                }
                Self::Checkouts(all)
            }
            NAMES => {
                let mut all = Vec::new();
                while !bytes.is_empty() {
                    let kind = *NameKind::ALL.get(usize::from(bytes.byte()?))?;
                    let number = u16::try_from(bytes.number()?).ok()?;
                    all.push(Name { kind, number, text: bytes.text()? });
                }
                Self::Names(all)
            }
            GAP => Self::Gap(Gap { from_us: bytes.number()?, until_us: bytes.number()?, lost: bytes.number()? }),
            ANCHOR => Self::Anchor(Anchor { wall_ms: bytes.number()?, clock_us: bytes.number()? }),
            SETTINGS => Self::Settings(Settings::read(&mut bytes)?),
            STATE => Self::State(State::read(&mut bytes)?),
            _ => return Some(Self::Unknown(kind)),
        };
        bytes.is_empty().then_some(block)
    }
}

impl Settings {
    fn put(&self, out: &mut Vec<u8>) {
        put(self.from_us, out);
        put(self.version.map_or(0, |version| version.saturating_add(1)), out);
        put_text(&self.hash, out);
        put_text(&self.text, out);
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (from_us, version) = (bytes.number()?, bytes.number()?.checked_sub(1));
        Some(Self { from_us, version, hash: bytes.text()?, text: bytes.text()? })
    }
}

impl State {
    fn put(&self, out: &mut Vec<u8>) {
        put(self.at_us, out);
        for of in &self.pools {
            put(u64::from(of.pool), out);
            let counts = [of.size, of.open, of.lent, of.idle, of.opening, of.waiting];
            counts.into_iter().for_each(|count| put(u64::from(count), out));
        }
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Self> {
        let at_us = bytes.number()?;
        let mut pools = Vec::new();
        while !bytes.is_empty() {
            let pool = u16::try_from(bytes.number()?).ok()?;
            let mut count = || u32::try_from(bytes.number()?).ok();
            let (size, open, lent) = (count()?, count()?, count()?);
            let (idle, opening, waiting) = (count()?, count()?, count()?);
            pools.push(PoolState { pool, size, open, lent, idle, opening, waiting });
        }
        Some(Self { at_us, pools })
    }
}
