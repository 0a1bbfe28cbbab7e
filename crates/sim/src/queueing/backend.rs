//! The modelled PostgreSQL: slots, connects, holds of three kinds, stalls, restarts.
//!
//! A hold of kind `cpu` shares the processors with every other one (egalitarian processor sharing, Kleinrock 1967), one of kind
//! `lock` waits for its place in the order in which it came, one of kind `sleep` is slowed by nobody. What a lease is idle within
//! its transaction comes behind its work and takes of nothing. While PostgreSQL is stalled nothing in it moves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use poolwarden_switch::pool::{ConnId, Time};

use super::timers::Timers;
use crate::scenario::{HoldKind, Postgres};

/// Slots PostgreSQL keeps for superusers by default.
pub(super) const RESERVED: u32 = 3;

/// What a connect comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connect {
    Done,
    /// PostgreSQL is not there.
    Down,
    /// Every slot is taken.
    Full,
    /// It is stalled: the connect goes on then.
    Later(Time),
}

/// How much slower work gets with every other that runs beside it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sharing {
    /// So many do not slow each other.
    pub free: f64,
    /// By this part of its time alone, work takes longer for each one beyond.
    pub slope: f64,
}

impl Sharing {
    /// So many processors, evenly shared.
    #[must_use]
    pub fn of_cores(cores: u32) -> Self {
        Self { free: f64::from(cores), slope: 1.0 / f64::from(cores.max(1)) }
    }

    /// How many times as long work takes while so many run.
    #[must_use]
    pub fn slowness(&self, running: f64) -> f64 {
        1.0 + self.slope * (running - self.free).max(0.0)
    }
}

/// What the modelled PostgreSQL is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Slots for clients.
    pub slots: u32,
    /// How holds of kind `cpu` slow each other.
    pub sharing: Sharing,
    /// How many holds of kind `lock` run at once.
    pub places: u32,
}

impl From<Postgres> for Machine {
    fn from(postgres: Postgres) -> Self {
        let slots = postgres.max_connections.saturating_sub(RESERVED);
        Self { slots, sharing: Sharing::of_cores(postgres.cores), places: 1 }
    }
}

/// What a lease wants of PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// What slows it.
    pub kind: HoldKind,
    /// How long it takes alone.
    pub alone: Duration,
    /// How long its transaction is idle besides.
    pub idle: Duration,
}

/// A query's place and number: another one in the same place is not it.
type Mark = (u32, u64);

/// A query that holds its connection.
#[derive(Clone, Copy, Debug)]
struct Query {
    conn: ConnId,
    number: u64,
    work: Work,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    Idle(Time),
}

/// What a query looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Runs {
        /// It has the lock that others may wait for.
        locks: bool,
    },
    Waits,
    Idles(Time),
}

/// Processors that everybody shares. Work is told by a clock of its own, which runs slower the more share it: so nobody's end
/// has to be moved when somebody comes or goes.
#[derive(Debug)]
struct Shared {
    sharing: Sharing,
    running: u32,
    /// Nanoseconds of work that each who has been here all along has got.
    done: f64,
    /// When that was so.
    at: Time,
    /// Ends by the own clock, as the bits of a number that is never negative: they have the same order.
    ends: Timers<u64, Mark>,
}

/// One at a time, or a few.
#[derive(Debug)]
struct Queue {
    places: u32,
    taken: u32,
    waiting: VecDeque<Mark>,
}

#[derive(Debug)]
pub(super) struct Backends {
    slots: u32,
    /// Applications that are not the pooler's, and their sessions.
    foreign: BTreeMap<String, u32>,
    open: BTreeSet<ConnId>,
    /// By the place of their connections.
    queries: Vec<Option<Query>>,
    numbers: u64,
    /// Ends of sleeps, and of locks that are held.
    timed: Timers<Time, Mark>,
    idle: Timers<Time, Mark>,
    shared: Shared,
    queue: Queue,
    stalled: Time,
    down: Time,
}

impl Shared {
    fn slowness(&self) -> f64 {
        self.sharing.slowness(f64::from(self.running))
    }

    /// Brings the own clock up to `now`; it stands until `stalled`.
    fn catch_up(&mut self, now: Time, stalled: Time) {
        self.done += now.since(self.at.max(stalled)).as_nanos() as f64 / self.slowness();
        self.at = self.at.max(now);
    }

    /// When work that ends then by the own clock really does, if nobody comes or goes.
    fn really(&self, end: u64, stalled: Time) -> Time {
        let left = (f64::from_bits(end) - self.done).max(0.0) * self.slowness();
        self.at.max(stalled) + Duration::from_nanos(left.ceil() as u64)
    }
}

impl Backends {
    pub(super) fn new(machine: Machine) -> Self {
        let shared = Shared { sharing: machine.sharing, running: 0, done: 0.0, at: Time::ZERO, ends: Timers::new() };
        Self {
            slots: machine.slots,
            foreign: BTreeMap::new(),
            open: BTreeSet::new(),
            queries: Vec::new(),
            numbers: 0,
            timed: Timers::new(),
            idle: Timers::new(),
            shared,
            queue: Queue { places: machine.places, taken: 0, waiting: VecDeque::new() },
            stalled: Time::ZERO,
            down: Time::ZERO,
        }
    }

    pub(super) fn connect(&mut self, now: Time, conn: ConnId) -> Connect {
        if now < self.down {
            Connect::Down
        } else if now < self.stalled {
            Connect::Later(self.stalled)
        } else if self.open.len() as u64 + u64::from(self.others()) >= u64::from(self.slots) {
            Connect::Full
        } else {
            self.open.insert(conn);
            Connect::Done
        }
    }

    /// A session ends. Whether there was one; with it ends its query.
    pub(super) fn close(&mut self, now: Time, conn: ConnId) -> bool {
        self.end(now, conn);
        self.open.remove(&conn)
    }

    /// A query begins; when something ends is [`Backends::next_at`]'s to say.
    pub(super) fn begin(&mut self, now: Time, conn: ConnId, work: Work) {
        self.numbers += 1;
        let (place, mark) = (conn.index as usize, (conn.index, self.numbers));
        if self.queries.len() <= place {
            self.queries.resize(place + 1, None);
        }
        let mut query = Query { conn, number: self.numbers, work, stage: Stage::Running };
        match work.kind {
            HoldKind::Sleep => self.timed.put(now.max(self.stalled) + work.alone, mark),
            HoldKind::Cpu => {
                self.shared.catch_up(now, self.stalled);
                self.shared.running += 1;
                let end = self.shared.done + work.alone.as_nanos() as f64;
                self.shared.ends.put(end.to_bits(), mark);
            }
            HoldKind::Lock if self.queue.taken < self.queue.places => {
                self.queue.taken += 1;
                self.timed.put(now.max(self.stalled) + work.alone, mark);
            }
            HoldKind::Lock => {
                query.stage = Stage::Waiting;
                self.queue.waiting.push_back(mark);
            }
        }
        self.queries[place] = Some(query);
    }

    /// When [`Backends::advance`] is due.
    pub(super) fn next_at(&mut self) -> Option<Time> {
        let queries = &self.queries;
        let timed = self.timed.first(|mark| stands(queries, mark)).map(|(at, _)| at);
        let idle = self.idle.first(|mark| stands(queries, mark)).map(|(at, _)| at);
        let shared = self.shared.ends.first(|mark| stands(queries, mark));
        let shared = shared.map(|(end, _)| self.shared.really(end, self.stalled));
        [timed, idle, shared].into_iter().flatten().min()
    }

    /// Lets one thing happen whose time it is. The connection whose query is over by that.
    pub(super) fn advance(&mut self, now: Time) -> Option<ConnId> {
        let queries = &self.queries;
        if let Some((at, mark)) = self.idle.first(|mark| stands(queries, mark))
            && at <= now
        {
            self.idle.pop();
            return self.over(mark);
        }
        if let Some((at, mark)) = self.timed.first(|mark| stands(queries, mark))
            && at <= now
        {
            self.timed.pop();
            return self.worked(now, mark);
        }
        let (end, mark) = self.shared.ends.first(|mark| stands(queries, mark))?;
        if self.shared.really(end, self.stalled) > now {
            return None;
        }
        self.shared.ends.pop();
        self.worked(now, mark)
    }

    /// Its work is done; it may be idle yet.
    fn worked(&mut self, now: Time, (place, number): Mark) -> Option<ConnId> {
        let work = self.queries[place as usize]?.work;
        self.free(now, work.kind);
        if work.idle.is_zero() {
            return self.over((place, number));
        }
        self.idle.put(now + work.idle, (place, number));
        if let Some(query) = &mut self.queries[place as usize] {
            query.stage = Stage::Idle(now);
        }
        None
    }

    fn over(&mut self, (place, _): Mark) -> Option<ConnId> {
        self.queries[place as usize].take().map(|query| query.conn)
    }

    /// What a running query of this kind had is free; who waits for it goes on.
    fn free(&mut self, now: Time, kind: HoldKind) {
        match kind {
            HoldKind::Sleep => {}
            HoldKind::Cpu => {
                self.shared.catch_up(now, self.stalled);
                self.shared.running -= 1;
            }
            HoldKind::Lock => {
                while let Some((place, number)) = self.queue.waiting.pop_front() {
                    let Some(query) = self.queries[place as usize].as_mut().filter(|of| of.number == number) else {
                        continue; // called off
                    };
                    query.stage = Stage::Running;
                    self.timed.put(now.max(self.stalled) + query.work.alone, (place, number));
                    return;
                }
                self.queue.taken -= 1;
            }
        }
    }

    /// The query of `conn` is over, done or not; who waited for its place goes on.
    pub(super) fn end(&mut self, now: Time, conn: ConnId) {
        let place = conn.index as usize;
        let Some(query) = self.queries.get(place).copied().flatten().filter(|query| query.conn == conn) else { return };
        self.queries[place] = None;
        if query.stage == Stage::Running {
            self.free(now, query.work.kind);
        }
    }

    /// Nothing moves for so long.
    pub(super) fn stall(&mut self, now: Time, lasts: Duration) {
        self.shared.catch_up(now, self.stalled);
        let before = self.stalled.max(now);
        self.stalled = before.max(now + lasts);
        let longer = self.stalled.since(before);
        self.timed.shift(|ends| ends + longer);
    }

    /// Every session ends, and none begins for so long. Who they were.
    pub(super) fn restart(&mut self, now: Time, lasts: Duration) -> Vec<ConnId> {
        self.down = now + lasts;
        self.sessions()
    }

    /// Sessions there are, in the order of their ids.
    pub(super) fn sessions(&self) -> Vec<ConnId> {
        self.open.iter().copied().collect()
    }

    /// An application that is not the pooler's takes slots, or gives them back. It takes those that are free, and those that become so.
    pub(super) fn foreign(&mut self, application: &str, slots: u32, takes: bool) {
        let of = self.foreign.entry(application.to_owned()).or_default();
        *of = if takes { of.saturating_add(slots) } else { of.saturating_sub(slots) };
    }

    fn others(&self) -> u32 {
        self.foreign.values().fold(0, |sum, slots| sum.saturating_add(*slots))
    }

    /// Others by their names, with the sessions they have got.
    pub(super) fn foreigners(&self) -> Vec<(&str, u32)> {
        let mut free = self.slots.saturating_sub(self.open.len() as u32);
        let mut all = Vec::new();
        for (name, wants) in &self.foreign {
            let has = free.min(*wants);
            free -= has;
            all.push((name.as_str(), has));
        }
        all
    }

    /// Slots for clients.
    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    /// What the query of a connection does: whether it waits for the lock, and since when it is idle.
    pub(super) fn doing(&self, conn: ConnId) -> Option<Doing> {
        let query = self.queries.get(conn.index as usize)?.as_ref().filter(|query| query.conn == conn)?;
        Some(match query.stage {
            Stage::Running => Doing::Runs { locks: query.work.kind == HoldKind::Lock },
            Stage::Waiting => Doing::Waits,
            Stage::Idle(since) => Doing::Idles(since),
        })
    }
}

/// Whether the query of a mark is still there.
fn stands(queries: &[Option<Query>], (place, number): Mark) -> bool {
    queries[place as usize].is_some_and(|query| query.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn conn(index: u32) -> ConnId {
        ConnId { index, generation: 0 }
    }

    fn work(kind: HoldKind, ms: u32) -> Work {
        Work { kind, alone: ms * MS, idle: Duration::ZERO }
    }

    /// Every end there is, in milliseconds.
    fn ends(backends: &mut Backends) -> Vec<(u128, u32)> {
        let mut all = Vec::new();
        while let Some(at) = backends.next_at() {
            all.extend(backends.advance(at).map(|conn| (at.since(Time::ZERO).as_millis(), conn.index)));
        }
        all
    }

    #[test]
    fn sleeps_run_side_by_side_locks_one_by_one_and_work_shares_the_cores() {
        let table = [
            (HoldKind::Sleep, vec![10, 10, 10, 10]),
            (HoldKind::Lock, vec![10, 20, 30, 40]),
            (HoldKind::Cpu, vec![20, 20, 20, 20]),
        ];
        for (kind, expected) in table {
            let mut backends = Backends::new(Postgres::default().into());
            (0..4).for_each(|n| backends.begin(Time::ZERO, conn(n), work(kind, 10)));
            let at: Vec<u128> = ends(&mut backends).into_iter().map(|(at, _)| at).collect();
            assert_eq!(at, expected, "{kind:?}");
        }
    }

    #[test]
    fn a_stall_moves_every_end_and_every_beginning() {
        let mut backends = Backends::new(Postgres::default().into());
        backends.begin(Time::ZERO, conn(0), work(HoldKind::Sleep, 10));
        backends.stall(Time::ZERO + 4 * MS, 100 * MS);
        backends.begin(Time::ZERO + 50 * MS, conn(1), work(HoldKind::Sleep, 10));
        assert_eq!(backends.connect(Time::ZERO + 50 * MS, conn(2)), Connect::Later(Time::ZERO + 104 * MS));
        assert_eq!(ends(&mut backends), [(110, 0), (114, 1)]);
    }

    #[test]
    fn a_query_that_ends_early_gives_its_place_on() {
        let mut backends = Backends::new(Postgres::default().into());
        (0..3).for_each(|n| backends.begin(Time::ZERO, conn(n), work(HoldKind::Lock, 10)));
        backends.end(Time::ZERO + 2 * MS, conn(1));
        backends.end(Time::ZERO + 5 * MS, conn(0));
        assert_eq!(ends(&mut backends), [(15, 2)]);
    }

    #[test]
    fn slots_are_bounded_and_others_take_some() {
        let mut backends = Backends::new(Postgres { max_connections: 6, ..Postgres::default() }.into());
        assert_eq!(backends.connect(Time::ZERO, conn(0)), Connect::Done);
        backends.foreign("etl", 2, true);
        assert_eq!(backends.connect(Time::ZERO, conn(1)), Connect::Full);
        backends.foreign("etl", 2, false);
        assert_eq!(backends.connect(Time::ZERO, conn(1)), Connect::Done);
        assert_eq!(backends.restart(Time::ZERO, 10 * MS), [conn(0), conn(1)]);
        assert!(backends.close(Time::ZERO, conn(0)) && !backends.close(Time::ZERO, conn(0)));
        assert_eq!(backends.connect(Time::ZERO + 9 * MS, conn(3)), Connect::Down);
    }

    #[test]
    fn who_shares_the_cores_is_slowed_while_others_are_there_and_no_longer() {
        let mut backends = Backends::new(Postgres { cores: 1, ..Postgres::default() }.into());
        backends.begin(Time::ZERO, conn(0), work(HoldKind::Cpu, 30));
        backends.begin(Time::ZERO + 10 * MS, conn(1), work(HoldKind::Cpu, 10));
        backends.stall(Time::ZERO + 10 * MS, 100 * MS);
        // Alone for 10 ms, then both at half the speed: the second's 10 take 20, and the first has 10 left.
        assert_eq!(ends(&mut backends), [(130, 1), (140, 0)]);
    }

    #[test]
    fn a_lease_that_is_idle_takes_of_nothing() {
        let mut backends = Backends::new(Postgres::default().into());
        let idle = |kind, ms| Work { idle: ms * MS, ..work(kind, 10) };
        backends.begin(Time::ZERO, conn(0), idle(HoldKind::Lock, 50));
        backends.begin(Time::ZERO, conn(1), idle(HoldKind::Lock, 0));
        assert_eq!(ends(&mut backends), [(20, 1), (60, 0)]);
    }
}
