//! What was recorded, as a demand: the same requests at the same moments, each with the work it brought.
//!
//! ```text
//!   asks ─► fit: how work slowed work ─► each ask's work alone ─► rehearsal under any settings
//! ```
//!
//! What is the same under other settings is when somebody asks and how much work it is; how long it waits and how long its work
//! takes beside others' is what is found out. Three things a recording cannot tell are assumed, and counted so that they can be
//! said: the work of who was never granted (drawn among the newest granted of its kind), who sends a request whose client has another one
//! under way (another client of its kind; where all have, it waits for one), and that whoever was refused only now does not come again.

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

use crate::queueing::{Moment, step_of};
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
    /// How long requests waited that were granted.
    pub waits: Spread,
    /// Requests that came.
    pub asked: u64,
    /// Requests that were granted.
    pub granted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Requests whose clients left.
    pub left: u64,
    /// Step by step, as long as those of a rehearsal; sizes and limits are not told of it.
    pub moments: Vec<Moment>,
}

impl Recorded {
    /// What was measured, pool by pool.
    #[must_use]
    pub fn measured(&self) -> Vec<Measured> {
        let step_us = u64::try_from(step_of(self.lasts).as_micros()).unwrap_or(u64::MAX);
        let mut all = vec![(Measured::default(), Vec::<Spread>::new()); self.pools.len()];
        for ask in &self.asks {
            let (of, waits) = &mut all[self.kind(ask).pool];
            let waited = Duration::from_micros(u64::from(ask.waited_us));
            of.asked += 1;
            match ask.met {
                Met::Granted => of.granted += 1,
                Met::Refused => of.refused += 1,
                Met::Left => of.left += 1,
            }
            let (came, ended) = (ask.arrived_us / step_us, ask.granted_us() / step_us);
            let (came, ended) = (came as usize, ended as usize);
            let over = ((ask.granted_us() + ask.held_us) / step_us) as usize;
            if of.moments.len() <= over {
                of.moments.resize(over + 1, Moment::default());
                waits.resize(over + 1, Spread::default());
            }
            of.moments[came].asked += 1;
            if ask.met == Met::Granted {
                of.waits.note(waited);
                waits[ended].note(waited);
                of.moments[ended].granted += 1;
            } else {
                of.moments[ended].failed += 1;
            }
            share_out(&mut of.moments, (ask.arrived_us, ask.granted_us()), step_us, |moment| &mut moment.waiting);
            share_out(&mut of.moments, (ask.granted_us(), ask.granted_us() + ask.held_us), step_us, |moment| {
                &mut moment.lent
            });
        }
        let finish = |(mut of, waits): (Measured, Vec<Spread>)| {
            of.moments.iter_mut().zip(waits).for_each(|(moment, waits)| moment.waits = waits.quantiles());
            of
        };
        all.into_iter().map(finish).collect()
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

/// Adds a stretch of time to the averages of the moments it lies in.
fn share_out(moments: &mut [Moment], (from_us, until_us): (u64, u64), step_us: u64, of: fn(&mut Moment) -> &mut f64) {
    let mut at_us = from_us;
    while at_us < until_us {
        let place = at_us / step_us;
        let ends_us = until_us.min((place + 1) * step_us);
        let Some(moment) = moments.get_mut(place as usize) else { return }; // there is one for each
        *of(moment) += (ends_us - at_us) as f64 / step_us as f64;
        at_us = ends_us;
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
