//! A copy of what the core knows, for SHOW, metrics and whoever watches: plain numbers, taken under the lock.

use std::time::Duration;

use crate::{ClassId, ConnectFailure, Limit, Mode, PoolId, PoolKey, Reason};

/// Upper bounds of the wait and hold histograms, in nanoseconds; one more bucket holds the rest.
pub const WAIT_BUCKETS: [u64; 15] = [
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// Bounds of the occupancy histogram: 0, 0.1, … 1 of the size; one more bucket holds the rest.
pub const OCCUPANCY_BUCKETS: usize = 11;

/// How many server connections stand in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Connect or login under way.
    pub opening: u32,
    /// Free to be lent.
    pub idle: u32,
    /// Lent.
    pub lent: u32,
    /// Reset query under way.
    pub resetting: u32,
    /// Not lent, and a cancel request is in the air towards it.
    pub fenced: u32,
    /// Told to go, its end not seen yet.
    pub ending: u32,
    /// Its end not seen for `ending_timeout`; still counted.
    pub ghosts: u32,
}

impl Slots {
    /// All that count against every limit.
    #[must_use]
    pub const fn counted(&self) -> u32 {
        self.opening + self.idle + self.lent + self.resetting + self.fenced + self.ending + self.ghosts
    }
}

/// One limit as one pool sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// Which.
    pub limit: Limit,
    /// How much of it is used, by everybody it counts.
    pub used: u32,
    /// Its size; `None` is unlimited or unknown.
    pub size: Option<u32>,
    /// Whether it is what keeps the pool from having one more connection now (or would be, if one more were wanted).
    pub binds: bool,
}

/// One class in one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSnapshot {
    /// Which.
    pub class: ClassId,
    /// Server connections lent to its requests now.
    pub lent: u32,
    /// Its requests waiting now.
    pub waiting: u32,
    /// Requests granted, in total.
    pub granted: u64,
    /// Requests refused, in the order of `Reason::ALL`.
    pub refused: [u64; Reason::ALL.len()],
    /// Requests that would have been refused, had the guard acted, likewise.
    pub would_refuse: [u64; Reason::ALL.len()],
    /// Requests that came again at once after a refusal and waited.
    pub reattempts: u64,
    /// Server-nanoseconds of its ended leases.
    pub server_nanos: u64,
    /// Whether it is overloaded.
    pub overloaded: bool,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// Its id.
    pub id: PoolId,
    /// Its name.
    pub key: PoolKey,
    /// It serves one client, whose connection nobody else gets.
    pub alone: bool,
    /// When a connection returns.
    pub mode: Mode,
    /// Most connections per pool now in force.
    pub size: u32,
    /// Kept open.
    pub min_size: u32,
    /// Beyond size.
    pub reserve: u32,
    /// Connections by state.
    pub slots: Slots,
    /// Clients that entered and did not leave.
    pub clients: u32,
    /// Requests waiting now.
    pub waiting: u32,
    /// How long the oldest of them has waited.
    pub oldest_wait: Duration,
    /// Lends no more until resumed.
    pub paused: bool,
    /// Refuses who comes.
    pub disabled: bool,
    /// The limit that binds, while somebody waits.
    pub binding: Option<Limit>,
    /// Every limit that applies to the pool.
    pub limits: Vec<LimitUse>,
    /// Requests granted, in total; at once or after waiting.
    pub granted: u64,
    /// Of those, how many had to wait.
    pub granted_after_wait: u64,
    /// Requests refused, by the limit that bound, in the order of `Limit::ALL`.
    pub refused: [u64; 16],
    /// Requests given up by their client while waiting.
    pub abandoned: u64,
    /// Waiter-nanoseconds by the limit that bound at the time (failed waits included, growing while they last), in the order of `Limit::ALL`.
    pub wait_nanos: [u64; 16],
    /// Waits of granted requests by bucket (zero waits included), see `WAIT_BUCKETS`.
    pub wait_granted: [u64; 16],
    /// Waits of refused and abandoned requests by bucket.
    pub wait_failed: [u64; 16],
    /// Hold times of ended leases by bucket.
    pub hold: [u64; 16],
    /// Ended leases.
    pub leases: u64,
    /// Server-nanoseconds lent, open leases included.
    pub lent_nanos: u64,
    /// Of ended leases: with a query in flight.
    pub on_server_nanos: u64,
    /// Of ended leases: in a transaction with no query in flight.
    pub idle_in_transaction_nanos: u64,
    /// Requests by how much of the size they found lent when they came, in tenths rounded up; more than all of it last.
    pub occupancy: [u64; OCCUPANCY_BUCKETS + 1],
    /// Connects that ended well.
    pub connects: u64,
    /// How long they took, login included, by bucket, see `WAIT_BUCKETS`.
    pub connect: [u64; 16],
    /// Connects that failed.
    pub connects_failed: u64,
    /// The same by SQLSTATE, at most 17 of them; `other` for the rest.
    pub connect_failures: Vec<([u8; 5], u64)>,
    /// Connections closed, by `CloseReason` in its order (9), and those that ended by themselves last.
    pub closed: [u64; 10],
    /// Most lent at once, and most waiting at once, in the last ten to twenty seconds.
    pub high_water: (u32, u32),
    /// The newest failed connect that was not followed by a good one.
    pub failure: Option<ConnectFailure>,
    /// Classes that have been there, by id.
    pub classes: Vec<ClassSnapshot>,
}

impl ClassSnapshot {
    /// Adds what the same class did in another pool.
    fn add(&mut self, other: &Self) {
        self.lent += other.lent;
        self.waiting += other.waiting;
        self.granted += other.granted;
        for reason in 0..Reason::ALL.len() {
            self.refused[reason] += other.refused[reason];
            self.would_refuse[reason] += other.would_refuse[reason];
        }
        self.reattempts += other.reattempts;
        self.server_nanos = self.server_nanos.saturating_add(other.server_nanos);
        self.overloaded |= other.overloaded;
    }
}

impl Slots {
    /// Adds another pool's.
    fn add(&mut self, other: &Self) {
        self.opening += other.opening;
        self.idle += other.idle;
        self.lent += other.lent;
        self.resetting += other.resetting;
        self.fenced += other.fenced;
        self.ending += other.ending;
        self.ghosts += other.ghosts;
    }
}

impl PoolSnapshot {
    /// Adds another pool's numbers, so that pools with one client each can be shown as one. What is not a number stays.
    pub fn add(&mut self, other: &Self) {
        self.size += other.size;
        self.slots.add(&other.slots);
        self.clients += other.clients;
        self.waiting += other.waiting;
        self.oldest_wait = self.oldest_wait.max(other.oldest_wait);
        self.binding = self.binding.or(other.binding);
        self.granted += other.granted;
        self.granted_after_wait += other.granted_after_wait;
        self.abandoned += other.abandoned;
        let both =
            |mine: &mut [u64], theirs: &[u64]| mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        both(&mut self.refused, &other.refused);
        both(&mut self.wait_nanos, &other.wait_nanos);
        both(&mut self.wait_granted, &other.wait_granted);
        both(&mut self.wait_failed, &other.wait_failed);
        both(&mut self.hold, &other.hold);
        both(&mut self.occupancy, &other.occupancy);
        both(&mut self.connect, &other.connect);
        both(&mut self.closed, &other.closed);
        self.leases += other.leases;
        self.lent_nanos = self.lent_nanos.saturating_add(other.lent_nanos);
        self.on_server_nanos = self.on_server_nanos.saturating_add(other.on_server_nanos);
        self.idle_in_transaction_nanos = self.idle_in_transaction_nanos.saturating_add(other.idle_in_transaction_nanos);
        self.connects += other.connects;
        self.connects_failed += other.connects_failed;
        for (sqlstate, count) in &other.connect_failures {
            match self.connect_failures.iter_mut().find(|(mine, _)| mine == sqlstate) {
                Some((_, mine)) => *mine += count,
                None => self.connect_failures.push((*sqlstate, *count)),
            }
        }
        let (lent, waiting) = (self.high_water.0 + other.high_water.0, self.high_water.1 + other.high_water.1);
        self.high_water = (lent, waiting); // an upper bound: the moments may have been different ones
        self.failure = self.failure.take().or_else(|| other.failure.clone());
        for theirs in &other.classes {
            match self.classes.binary_search_by_key(&theirs.class, |mine| mine.class) {
                Ok(place) => self.classes[place].add(theirs),
                Err(place) => self.classes.insert(place, theirs.clone()),
            }
        }
    }
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSnapshot {
    /// Its pools, in the order they were made.
    pub pools: Vec<PoolSnapshot>,
    /// The host budget now in force.
    pub budget: u32,
    /// Connections counted against it.
    pub used: u32,
    /// Connects in flight, and how many may be.
    pub connects: (u32, u32),
    /// Whether the server is believed down.
    pub down: bool,
    /// Connections that moved between loops with a grant.
    pub moved: u64,
    /// Evictions between pools.
    pub evicted: u64,
    /// Server-nanoseconds, grants and refusals of pools retired since.
    pub retired: (u64, u64, u64),
    /// Classes that an operator sheds, and for how long yet.
    pub shed: Vec<(ClassId, Duration)>,
}
