//! What was recorded, as a demand: the same requests at the same moments, each with the work it brought.
//!
//! ```text
//!   asks ─► fit: how work slowed work ─► each ask's work alone ─► rehearsal under any settings
//! ```
//!
//! What is the same under other settings is when somebody asks and how much work it is; how long it waits and how long its work
//! takes beside others' is what is found out. Three things a recording cannot tell are assumed, and counted so that they can be
//! said: the work of who was never granted (drawn among the newest granted of its kind), when a client comes whose request before
//! is not over yet (at once when it is), and that whoever was refused only now does not come again.

mod draw;
mod fit;
mod play;
mod replay;
mod vary;

use std::time::Duration;

use poolwarden_switch::pool::{ClassId, PoolKey};

pub use fit::{Contention, Fit};
pub use play::Prepared;
pub use replay::{Rehearsal, Rehearse};
pub use vary::{resampled, scaled};

use crate::spread::Spread;

/// Requests of one pool, class and application: those whose work is alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Whose connections.
    pub pool: usize,
    /// Of which class.
    pub class: ClassId,
    /// Who shares fairly: the application, as a number.
    pub tenant: u64,
}

/// How a recorded request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It was granted.
    Granted,
    /// It was refused, at once or after waiting.
    Refused,
    /// Its client went away.
    Left,
}

/// One recorded request. Times are microseconds since the recording's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// When it came.
    pub arrived_us: u64,
    /// How long it held its connection; 0 of who was never granted.
    pub held_us: u64,
    /// How long its work takes alone, in nanoseconds; known once [`Fit::prepare`] was there.
    pub alone_ns: u64,
    /// How long it waited, until it was granted or not.
    pub waited_us: u32,
    /// How long its transaction was idle besides.
    pub idle_us: u32,
    /// Whose: clients are numbered from 0, each of one kind.
    pub client: u32,
    /// What came of it.
    pub met: Met,
    /// It came again at once after a refusal.
    pub is_retry: bool,
}

/// Recorded requests and what else is known of their time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Every pool.
    pub pools: Vec<PoolKey>,
    /// Every kind of requests.
    pub kinds: Vec<Kind>,
    /// Of which kind each client is.
    pub clients: Vec<u32>,
    /// Every request, in the order in which they came.
    pub asks: Vec<Ask>,
    /// Of every pool, the connections it had when it began.
    pub open: Vec<u32>,
    /// What connects took.
    pub connects: Vec<Duration>,
    /// How long it lasted.
    pub lasts: Duration,
}

/// What was measured of one pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// How long requests waited, whatever came of it.
    pub waits: Spread,
    /// Requests that came.
    pub asked: u64,
    /// Requests that were granted.
    pub granted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests whose clients left.
    pub left: u64,
}

impl Recorded {
    /// What was measured, pool by pool.
    #[must_use]
    pub fn measured(&self) -> Vec<Measured> {
        let mut all = vec![Measured::default(); self.pools.len()];
        for ask in &self.asks {
            let of = &mut all[self.kind(ask).pool];
            of.asked += 1;
            of.waits.note(Duration::from_micros(u64::from(ask.waited_us)));
            match ask.met {
                Met::Granted => of.granted += 1,
                Met::Refused => of.refused += 1,
                Met::Left => of.left += 1,
            }
        }
        all
    }

    /// The kind of a request.
    #[must_use]
    pub fn kind(&self, ask: &Ask) -> &Kind {
        &self.kinds[self.clients[ask.client as usize] as usize]
    }

    /// Requests that were never granted: their work is not known.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.asks.iter().filter(|ask| ask.met != Met::Granted).count() as u64
    }
}

impl Ask {
    /// When it was granted, in microseconds.
    fn granted_us(&self) -> u64 {
        self.arrived_us + u64::from(self.waited_us)
    }

    /// When its work was done, in microseconds: what its transaction was idle is taken to come behind.
    fn worked_us(&self) -> u64 {
        self.granted_us() + self.held_us.saturating_sub(u64::from(self.idle_us))
    }
}
