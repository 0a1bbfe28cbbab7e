//! One checkout in at most forty bytes, in a dozen as a rule: what is none takes no room, and times are told from the one before.
//!
//! Who was lent a connection has one and was refused by nothing; who was refused has none, and limits instead.

use super::number::{Bytes, put, put_signed};

/// The most bytes a checkout takes.
pub(super) const MAX_BYTES: usize = 40;
/// The longest time that is told, in microseconds: nine hours and a half, in five bytes. Longer ones are told as this.
const MAX_US: u64 = (1 << 35) - 1;
/// The longest connect, in microseconds: four minutes and a half, in four bytes.
const MAX_CONNECT_US: u64 = (1 << 28) - 1;
/// The furthest from the arrival before, on either side, in five bytes. Who came longer before begins a block.
const MAX_STEP_US: i64 = (1 << 34) - 1;
/// What is told of a client's number, in four bytes.
const CLIENT: u32 = (1 << 28) - 1;

const OUTCOME: u8 = 0b0000_0111;
const HAS_WAITED: u8 = 0b0000_1000;
const HAS_ATTEMPT: u8 = 0b0001_0000;
const HAS_CONNECT: u8 = 0b0010_0000;
const HAS_IDLED: u8 = 0b0100_0000;
const IS_SAME_POOL: u8 = 0b1000_0000;

/// One request for a server connection, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Which pool, by a number that a [`super::Name`] tells.
    pub pool: u16,
    /// Which client: the lower 28 bits of its number in the process.
    pub client: u32,
    /// Which class, by its id.
    pub class: u8,
    /// What the client calls itself, by a number that a [`super::Name`] tells; 0 is nothing.
    pub application: u16,
    /// How often in a row its client had been refused and come again at once.
    pub attempt: u8,
    /// When it came, in microseconds of the process's clock.
    pub arrived_us: u64,
    /// How long it waited until it was granted or given up, in microseconds.
    pub waited_us: u64,
    /// How long it held the connection, in microseconds; 0 where it got none.
    pub held_us: u64,
    /// How much of that its transaction was open and idle, in microseconds.
    pub idled_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Which server connection, by its place on its server; 0 where it got none.
    pub conn: u16,
    /// How long the connect of its connection took, in microseconds, told by the first that is lent it.
    pub connect_us: Option<u64>,
    /// What refused it; `None`: nothing did.
    pub barred: Option<Barred>,
}

/// What refused a checkout: numbers below 16 that a [`super::Name`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barred {
    /// The limit that refused it.
    pub limit: u8,
    /// The limit that bound while it waited.
    pub binding: u8,
}

/// How a checkout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The connection came back in good order.
    Served,
    /// The connection came back unfit for anybody else, or was taken away.
    Broken,
    /// It waited as long as it may, and was refused.
    TimedOut,
    /// It was refused at once.
    Refused,
    /// Its client did not wait for it.
    Abandoned,
    /// The connection ended while it was lent.
    Lost,
    /// It was refused while it waited, and might have waited longer.
    Shed,
}

impl Outcome {
    const ALL: [Self; 7] =
        [Self::Served, Self::Broken, Self::TimedOut, Self::Refused, Self::Abandoned, Self::Lost, Self::Shed];

    /// Whether it was lent a connection.
    #[must_use]
    pub const fn is_lent(self) -> bool {
        match self {
            Self::Served | Self::Broken | Self::Lost => true,
            Self::TimedOut | Self::Refused | Self::Abandoned | Self::Shed => false,
        }
    }

    /// Whether it was refused.
    #[must_use]
    pub const fn is_refused(self) -> bool {
        match self {
            Self::TimedOut | Self::Refused | Self::Shed => true,
            Self::Served | Self::Broken | Self::Lost | Self::Abandoned => false,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Served => 0,
            Self::Broken => 1,
            Self::TimedOut => 2,
            Self::Refused => 3,
            Self::Abandoned => 4,
            Self::Lost => 5,
            Self::Shed => 6,
        }
    }
}

/// What the next checkout is told from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    pool: u16,
    arrived_us: u64,
}

impl Before {
    /// The first of a block is told from the block's own time.
    pub(super) fn new(base_us: u64) -> Self {
        Self { pool: 0, arrived_us: base_us }
    }
}

/// Whether one that came at `next_us` can be told from one that came at `before_us`.
pub(super) fn follows(before_us: u64, next_us: u64) -> bool {
    before_us.abs_diff(next_us) <= MAX_STEP_US.unsigned_abs()
}

pub(super) fn put_checkout(of: &Checkout, before: &mut Before, out: &mut Vec<u8>) {
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let is_same_pool = of.pool == before.pool;
    out.push(
        of.outcome.number()
            | flag(of.waited_us > 0, HAS_WAITED)
            | flag(of.attempt > 0, HAS_ATTEMPT)
            | flag(of.connect_us.is_some(), HAS_CONNECT)
            | flag(of.idled_us > 0, HAS_IDLED)
            | flag(is_same_pool, IS_SAME_POOL),
    );
    let step = i64::try_from(i128::from(of.arrived_us) - i128::from(before.arrived_us)).unwrap_or(MAX_STEP_US);
    let step = step.clamp(-MAX_STEP_US, MAX_STEP_US);
    put_signed(step, out);
    if !is_same_pool {
        put(u64::from(of.pool), out);
    }
    put(u64::from(of.client & CLIENT), out);
    out.push(of.class);
    if of.attempt > 0 {
        out.push(of.attempt);
    }
    put(u64::from(of.application), out);
    if of.waited_us > 0 {
        put(of.waited_us.min(MAX_US), out);
    }
    if of.outcome.is_lent() {
        put(u64::from(of.conn), out);
        put(of.held_us.min(MAX_US), out);
    }
    if of.outcome.is_refused() {
        let Barred { limit, binding } = of.barred.unwrap_or(Barred { limit: 0, binding: 0 });
        out.push(limit & 0xf | binding << 4);
    }
    if let Some(connect_us) = of.connect_us {
        put(connect_us.min(MAX_CONNECT_US), out);
    }
    if of.idled_us > 0 {
        put(of.idled_us.min(MAX_US), out);
    }
    *before = Before { pool: of.pool, arrived_us: before.arrived_us.saturating_add_signed(step) };
}

/// `None`: these bytes are no checkout.
pub(super) fn checkout(bytes: &mut Bytes<'_>, before: &mut Before) -> Option<Checkout> {
    let flags = bytes.byte()?;
    let outcome = *Outcome::ALL.get(usize::from(flags & OUTCOME))?;
    let has = |flag: u8| flags & flag != 0;
    let arrived_us = before.arrived_us.checked_add_signed(bytes.signed()?)?;
    let small = |number: u64| u16::try_from(number).ok();
    let pool = if has(IS_SAME_POOL) { before.pool } else { small(bytes.number()?)? };
    let client = u32::try_from(bytes.number()?).ok()?;
    let class = bytes.byte()?;
    let attempt = if has(HAS_ATTEMPT) { bytes.byte()? } else { 0 };
    let application = small(bytes.number()?)?;
    let waited_us = if has(HAS_WAITED) { bytes.number()? } else { 0 };
    let (conn, held_us) = if outcome.is_lent() { (small(bytes.number()?)?, bytes.number()?) } else { (0, 0) };
    let barred = |both: u8| Barred { limit: both & 0xf, binding: both >> 4 };
    let barred = if outcome.is_refused() { Some(barred(bytes.byte()?)) } else { None };
    let connect_us = if has(HAS_CONNECT) { Some(bytes.number()?) } else { None };
    let idled_us = if has(HAS_IDLED) { bytes.number()? } else { 0 };
    *before = Before { pool, arrived_us };
    Some(Checkout {
        pool,
        client,
        class,
        application,
        attempt,
        arrived_us,
        waited_us,
        held_us,
        idled_us,
        outcome,
        conn,
        connect_us,
        barred,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_takes_forty_bytes_and_an_ordinary_one_a_dozen() {
        let largest = Checkout {
            pool: u16::MAX,
            client: u32::MAX,
            class: u8::MAX,
            application: u16::MAX,
            arrived_us: u64::MAX,
            waited_us: u64::MAX,
            held_us: u64::MAX,
            idled_us: u64::MAX,
            attempt: u8::MAX,
            outcome: Outcome::Lost,
            conn: u16::MAX,
            connect_us: Some(u64::MAX),
            barred: None,
        };
        let size = |of: &Checkout, base_us| {
            let mut out = Vec::new();
            put_checkout(of, &mut Before::new(base_us), &mut out);
            out.len()
        };
        assert_eq!(size(&largest, 0), MAX_BYTES);
        assert_eq!(size(&Checkout { arrived_us: 0, ..largest }, u64::MAX), MAX_BYTES);
        let barred = Some(Barred { limit: 15, binding: 15 });
        assert!(size(&Checkout { outcome: Outcome::Shed, barred, ..largest }, 0) < MAX_BYTES);
        let ordinary = Checkout {
            pool: 0,
            client: 4_711,
            class: 1,
            application: 3,
            arrived_us: 1_000_700,
            waited_us: 0,
            held_us: 2_500,
            idled_us: 120,
            outcome: Outcome::Served,
            attempt: 0,
            conn: 17,
            connect_us: None,
            barred: None,
        };
        assert!(size(&ordinary, 1_000_000) <= 13, "{}", size(&ordinary, 1_000_000));
    }
}
