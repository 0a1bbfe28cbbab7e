//! A made-up server and clients that arrive on their own schedule, around the core: who waits how long, and who gets how much.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use poolwarden_pool::{
    Action, Checkin, ClassId, ConnId, DatabaseSettings, Fitness, Handled, Host, HostSettings, Input, LoopId, Opened,
    Phases, PoolId, PoolKey, Reason, Request, Ticket, Time,
};

pub const DEFAULT: ClassId = ClassId(0);
pub const BATCH: ClassId = ClassId(1);
pub const CRITICAL: ClassId = ClassId(2);

const MILLI: u64 = 1_000_000;

/// Somebody who sends requests.
#[derive(Clone, Debug)]
pub struct Source {
    pub user: &'static str,
    pub class: ClassId,
    pub tenant: u64,
    /// Requests per second, from when to when.
    pub rate: f64,
    pub from: Duration,
    pub until: Duration,
    pub hold: Duration,
    /// Holds are drawn from an exponential distribution of that mean.
    pub random: bool,
    pub deadline: Option<Duration>,
    /// How often a refused request is sent again at once.
    pub retries: u8,
}

impl Source {
    pub fn new(user: &'static str, class: ClassId, rate: f64, hold: Duration) -> Self {
        let (from, until) = (Duration::ZERO, Duration::MAX);
        Self { user, class, tenant: 0, rate, from, until, hold, random: false, deadline: None, retries: 0 }
    }
}

/// What became of a source's requests.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub offered: u64,
    pub served: u64,
    pub waits: Vec<u64>,
    pub refused: BTreeMap<&'static str, u64>,
    pub hints: Vec<Duration>,
    /// Server-nanoseconds.
    pub held: u64,
    /// Requests served per second, by second.
    pub by_second: Vec<u64>,
}

impl Outcome {
    /// The wait below which so much of all granted requests stayed.
    pub fn wait(&self, share: f64) -> Duration {
        let mut sorted = self.waits.clone();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        Duration::from_nanos(sorted.get(at).copied().unwrap_or(0))
    }

    pub fn share_served(&self) -> f64 {
        self.served as f64 / self.offered.max(1) as f64
    }

    pub fn refusals(&self, reason: Reason) -> u64 {
        self.refused.get(reason.name()).copied().unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Opened(ConnId, LoopId),
    Done(ConnId, LoopId),
    Gone(ConnId),
    Arrival(usize),
    Again(usize, u8),
}

pub struct Stage {
    pub host: Host,
    pub now: u64,
    pub sources: Vec<Source>,
    pub outcomes: Vec<Outcome>,
    /// Longest a connect takes.
    pub connect: Duration,
    pools: BTreeMap<&'static str, PoolId>,
    heap: BinaryHeap<Reverse<(u64, u64, Due)>>,
    number: u64,
    waiting: BTreeMap<Ticket, (usize, u8)>,
    dice: u64,
    /// Most connections that were open at once.
    pub most_open: usize,
    open: usize,
}

/// One database of `size` places under a budget of `budget`.
pub fn settings(size: u32, budget: u32, change: impl FnOnce(&mut HostSettings)) -> HostSettings {
    let database = DatabaseSettings { size, ..DatabaseSettings::default() };
    let mut settings = HostSettings {
        databases: [("app".to_owned(), database)].into(),
        max_connections: Some(budget),
        ..HostSettings::default()
    };
    change(&mut settings);
    settings
}

impl Stage {
    pub fn new(settings: HostSettings, sources: Vec<Source>, seed: u64) -> Self {
        let outcomes = vec![Outcome::default(); sources.len()];
        let mut stage = Self {
            host: Host::new(settings, seed),
            now: 0,
            sources,
            outcomes,
            connect: Duration::from_millis(5),
            pools: BTreeMap::new(),
            heap: BinaryHeap::new(),
            number: 0,
            waiting: BTreeMap::new(),
            dice: seed.max(1),
            most_open: 0,
            open: 0,
        };
        for at in 0..stage.sources.len() {
            let user = stage.sources[at].user;
            if !stage.pools.contains_key(user) {
                let key = PoolKey { database: "app".into(), user: user.into() };
                let Handled::Entered(id) = stage.host.handle(Time::ZERO, Input::Enter(key)) else { panic!("no pool") };
                stage.pools.insert(user, id);
            }
            let first = stage.sources[at].from.as_nanos() as u64;
            let gap = stage.gap(at);
            stage.put(first + gap, Due::Arrival(at));
        }
        stage
    }

    fn chance(&mut self) -> f64 {
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        (self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> u64 {
        (-(1.0 - self.chance()).ln() * mean) as u64
    }

    fn gap(&mut self, at: usize) -> u64 {
        let mean = 1e9 / self.sources[at].rate;
        self.exponential(mean)
    }

    fn put(&mut self, at: u64, due: Due) {
        self.number += 1;
        self.heap.push(Reverse((at, self.number, due)));
    }

    /// One who waits does not want any more, if anybody waits.
    pub fn give_up(&mut self) {
        let at = (self.chance() * self.waiting.len() as f64) as usize;
        if let Some(ticket) = self.waiting.keys().nth(at).copied() {
            match self.host.handle(self.time(), Input::Cancel(ticket)) {
                Handled::Cancelled => drop(self.waiting.remove(&ticket)),
                other @ (Handled::Done
                | Handled::Entered(_)
                | Handled::Queued(_)
                | Handled::Refused(_)
                | Handled::AlreadyGranted(_)
                | Handled::Stale) => panic!("it waits: {other:?}"),
            }
            self.act();
            self.host.check_invariants();
        }
    }

    /// An operator says something.
    pub fn order(&mut self, input: Input) {
        self.host.handle(self.time(), input);
        self.act();
        self.host.check_invariants();
    }

    pub fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A number below `most`.
    pub fn below(&mut self, most: u32) -> u32 {
        (self.chance() * f64::from(most)) as u32
    }

    /// Plays until `end`, with the invariants checked now and then.
    pub fn play(&mut self, end: Duration) {
        let end = end.as_nanos() as u64;
        loop {
            let due = self.heap.peek().map_or(u64::MAX, |Reverse((at, ..))| *at);
            let timeout = self.host.poll_timeout().map_or(u64::MAX, |(at, _)| at.as_nanos());
            if due.min(timeout) > end {
                break;
            }
            if timeout <= due {
                self.now = self.now.max(timeout);
                self.host.handle(self.time(), Input::Timeout);
            } else if let Some(Reverse((at, _, due))) = self.heap.pop() {
                self.now = at;
                self.happen(due);
            }
            self.act();
            if self.number.is_multiple_of(257) {
                self.host.check_invariants();
            }
        }
        self.now = end;
    }

    fn time(&self) -> Time {
        Time::from_nanos(self.now)
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Opened(conn, home) => {
                let opened = Opened { home, flavor: 0, pid: Some(conn.index) };
                self.host.handle(self.time(), Input::Opened(conn, Ok(opened)));
            }
            Due::Done(conn, home) => {
                let checkin = Checkin { fitness: Fitness::Clean, flavor: 0, home, phases: Phases::default() };
                self.host.handle(self.time(), Input::Checkin(conn, checkin));
            }
            Due::Gone(conn) => {
                self.open -= 1;
                self.host.handle(self.time(), Input::Closed(conn, poolwarden_pool::EndCause::Eof));
            }
            Due::Arrival(at) => {
                let next = self.now + self.gap(at);
                if next < self.sources[at].until.as_nanos().min(u128::from(u64::MAX)) as u64 {
                    self.put(next, Due::Arrival(at));
                }
                self.outcomes[at].offered += 1;
                self.ask(at, 0);
            }
            Due::Again(at, attempt) => self.ask(at, attempt),
        }
    }

    fn ask(&mut self, at: usize, attempt: u8) {
        let source = &self.sources[at];
        let deadline = source.deadline.map_or(Time::NEVER, |span| self.time() + span);
        let (pool, home) = (self.pools[source.user], LoopId((self.number % 2) as u16));
        let (class, tenant) = (source.class, source.tenant);
        let request = Request { pool, class, tenant, attempt, deadline, home, flavor: 0, client: 0 };
        match self.host.handle(self.time(), Input::Checkout(request)) {
            Handled::Queued(ticket) => {
                self.waiting.insert(ticket, (at, attempt));
            }
            Handled::Refused(refusal) => self.refused(at, attempt, &refusal),
            other @ (Handled::Done
            | Handled::Entered(_)
            | Handled::Cancelled
            | Handled::AlreadyGranted(_)
            | Handled::Stale) => panic!("{other:?}"),
        }
    }

    fn refused(&mut self, at: usize, attempt: u8, refusal: &poolwarden_pool::Refusal) {
        let outcome = &mut self.outcomes[at];
        *outcome.refused.entry(refusal.reason.name()).or_default() += 1;
        outcome.hints.push(refusal.retry_after);
        if attempt < self.sources[at].retries {
            self.put(self.now + MILLI, Due::Again(at, attempt + 1));
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.host.poll_action() {
            match action {
                Action::Open { conn, near, .. } => {
                    self.open += 1;
                    self.most_open = self.most_open.max(self.open);
                    let after = self.connect.as_nanos() as u64;
                    self.put(self.now + after, Due::Opened(conn, near));
                }
                Action::Grant { ticket, conn, to, waited, .. } => {
                    let (at, _) = self.waiting.remove(&ticket).expect("a ticket is granted once");
                    let mean = self.sources[at].hold.as_nanos() as u64;
                    let hold = if self.sources[at].random { self.exponential(mean as f64) } else { mean };
                    let outcome = &mut self.outcomes[at];
                    let second = ((self.now + hold) / 1_000_000_000) as usize;
                    outcome.by_second.resize(outcome.by_second.len().max(second + 1), 0);
                    outcome.by_second[second] += 1;
                    outcome.served += 1;
                    outcome.held += hold;
                    outcome.waits.push(waited.as_nanos() as u64);
                    self.put(self.now + hold, Due::Done(conn, to));
                }
                Action::Refuse { ticket, refusal, .. } => {
                    let (at, attempt) = self.waiting.remove(&ticket).expect("a ticket is refused once");
                    self.refused(at, attempt, &refusal);
                }
                Action::Close { conn, .. } => self.put(self.now + MILLI, Due::Gone(conn)),
                Action::Reset { .. } | Action::Forget { .. } => {}
            }
        }
        while self.host.poll_event().is_some() {}
    }
}
