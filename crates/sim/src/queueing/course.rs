//! What a run was like, step by step: how long requests waited, for which limit, and how much was lent.

use std::time::Duration;

use poolwarden_switch::pool::{HostSnapshot, Limit, PoolId, PoolKey, PoolSnapshot, Refusal, Time};

use crate::spread::{Quantiles, Spread};

/// A run, pool by pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// When it began; what was before does not count.
    pub begins: Time,
    /// How long one of its moments is.
    pub step: Duration,
    /// Every pool.
    pub pools: Vec<PoolCourse>,
    /// Whether anything counts yet.
    has_begun: bool,
    /// When the current moment ends.
    edge: Time,
}

/// What a run was like in one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolCourse {
    /// Which.
    pub key: PoolKey,
    /// How long requests waited that were granted.
    pub waits: Spread,
    /// Requests that were made.
    pub asked: u64,
    /// Requests that were granted.
    pub granted: u64,
    /// Requests that were refused, by the limit that bound, in the order of `Limit::ALL`.
    pub refused: [u64; Limit::ALL.len()],
    /// Requests whose clients left.
    pub left: u64,
    /// Connects that ended well.
    pub connects: u64,
    /// Nanoseconds waited by the limit that bound, in the order of `Limit::ALL`.
    pub waited: [u64; Limit::ALL.len()],
    /// When somebody first had to wait.
    pub saturated: Option<Time>,
    /// The longest time in which there was always somebody waiting: until the queue was empty again.
    pub longest_queue: Duration,
    /// Step by step.
    pub moments: Vec<Moment>,
    /// Of the current moment.
    now: Moment,
    waits_now: Spread,
    before: Before,
    queue_since: Option<Time>,
}

/// A step of time in one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    /// Requests that were made.
    pub asked: u64,
    /// Requests that were granted.
    pub granted: u64,
    /// Requests that were refused or left by their clients.
    pub failed: u64,
    /// How long those waited that were granted in it.
    pub waits: Quantiles,
    /// Server connections lent, on average.
    pub lent: f64,
    /// Requests waiting, on average.
    pub waiting: f64,
    /// The pool's size at its end.
    pub size: u32,
    /// The limit for which most was waited.
    pub binding: Option<Limit>,
}

/// Counters as they stood when the current moment began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Before {
    lent_nanos: u64,
    waited: [u64; Limit::ALL.len()],
    connects: u64,
}

impl PoolCourse {
    /// The limit that kept requests waiting the longest.
    #[must_use]
    pub fn binding(&self) -> Option<Limit> {
        binding(&self.waited)
    }

    /// Requests that were refused.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refused.iter().sum()
    }

    fn new(key: PoolKey) -> Self {
        Self {
            key,
            waits: Spread::default(),
            asked: 0,
            granted: 0,
            refused: [0; Limit::ALL.len()],
            left: 0,
            connects: 0,
            waited: [0; Limit::ALL.len()],
            saturated: None,
            longest_queue: Duration::ZERO,
            moments: Vec::new(),
            now: Moment::default(),
            waits_now: Spread::default(),
            before: Before::default(),
            queue_since: None,
        }
    }

    /// The current moment is over.
    fn close(&mut self, snapshot: &PoolSnapshot, step: Duration) {
        let mut waited = snapshot.wait_nanos;
        waited.iter_mut().zip(&self.before.waited).for_each(|(now, before)| *now = now.saturating_sub(*before));
        self.waited.iter_mut().zip(&waited).for_each(|(all, more)| *all += more);
        let share = |nanos: u64| nanos as f64 / step.as_nanos().max(1) as f64;
        self.now.waits = self.waits_now.quantiles();
        self.now.lent = share(snapshot.lent_nanos.saturating_sub(self.before.lent_nanos));
        self.now.waiting = share(waited.iter().sum());
        self.now.size = snapshot.size;
        self.now.binding = binding(&waited);
        self.connects += snapshot.connects - self.before.connects;
        self.moments.push(std::mem::take(&mut self.now));
        self.waits_now.clear();
        self.begin(snapshot);
    }

    fn begin(&mut self, snapshot: &PoolSnapshot) {
        self.before =
            Before { lent_nanos: snapshot.lent_nanos, waited: snapshot.wait_nanos, connects: snapshot.connects };
    }
}

impl Course {
    /// Nothing has happened yet, and nothing will count before `begins`.
    pub(super) fn new(begins: Time, step: Duration) -> Self {
        let has_begun = begins == Time::ZERO;
        let edge = if has_begun { begins + step } else { begins };
        Self { begins, step, pools: Vec::new(), has_begun, edge }
    }

    pub(super) fn enter(&mut self, pool: PoolId, key: &PoolKey) {
        let place = pool.0 as usize;
        if place == self.pools.len() {
            self.pools.push(PoolCourse::new(key.clone()));
        }
    }

    /// When [`Course::turn`] is due.
    pub(super) fn edge(&self) -> Time {
        self.edge
    }

    /// The current moment ends.
    pub(super) fn turn(&mut self, now: Time, snapshot: &HostSnapshot) {
        let lasted = self.step.saturating_sub(self.edge.since(now));
        for of in &snapshot.pools {
            let Some(pool) = self.pools.get_mut(of.id.0 as usize) else { continue };
            if self.has_begun { pool.close(of, lasted) } else { pool.begin(of) }
        }
        self.has_begun = true;
        self.edge = self.edge + self.step;
    }

    fn at(&mut self, pool: PoolId) -> Option<&mut PoolCourse> {
        self.pools.get_mut(pool.0 as usize).filter(|_| self.has_begun)
    }

    pub(super) fn asked(&mut self, pool: PoolId) {
        let Some(of) = self.at(pool) else { return };
        of.asked += 1;
        of.now.asked += 1;
    }

    pub(super) fn granted(&mut self, pool: PoolId, waited: Duration) {
        let Some(of) = self.at(pool) else { return };
        of.granted += 1;
        of.now.granted += 1;
        of.waits.note(waited);
        of.waits_now.note(waited);
    }

    pub(super) fn refused(&mut self, pool: PoolId, refusal: &Refusal) {
        let Some(of) = self.at(pool) else { return };
        of.refused[refusal.limit.index()] += 1;
        of.now.failed += 1;
    }

    pub(super) fn left(&mut self, pool: PoolId) {
        let Some(of) = self.at(pool) else { return };
        of.left += 1;
        of.now.failed += 1;
    }

    /// So many wait now.
    pub(super) fn waiting(&mut self, now: Time, pool: PoolId, waiting: u32) {
        let Some(of) = self.at(pool) else { return };
        match (of.queue_since, waiting) {
            (None, 1..) => {
                of.queue_since = Some(now);
                of.saturated.get_or_insert(now);
            }
            (Some(since), 0) => {
                of.longest_queue = of.longest_queue.max(now.since(since));
                of.queue_since = None;
            }
            (Some(_), 1..) | (None, 0) => {}
        }
    }

    /// The run is over.
    pub(super) fn finish(&mut self, now: Time, snapshot: &HostSnapshot) {
        self.turn(now, snapshot);
        for pool in 0..self.pools.len() {
            self.waiting(now, PoolId(pool as u32), 0); // as many as the host has
        }
    }
}

fn binding(waited: &[u64; Limit::ALL.len()]) -> Option<Limit> {
    let most = waited.iter().zip(Limit::ALL).max_by_key(|(nanos, _)| **nanos);
    most.filter(|(nanos, _)| **nanos > 0).map(|(_, limit)| limit)
}
