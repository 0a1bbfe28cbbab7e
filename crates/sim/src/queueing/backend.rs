//! The modelled PostgreSQL: slots, connects, holds of three kinds, stalls, restarts.
//!
//! A hold of kind `cpu` wants one of the processors and waits for it, one of kind `lock` wants the one lock; both in the order in
//! which they came. While PostgreSQL is stalled nothing in it moves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use poolwarden_switch::pool::{ConnId, Time};

use crate::scenario::{HoldKind, Postgres};

/// Slots PostgreSQL keeps for superusers by default.
const RESERVED: u32 = 3;

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

/// A query that holds its connection.
#[derive(Clone, Copy, Debug)]
struct Query {
    kind: HoldKind,
    hold: Duration,
    /// When it ends; `None` while it waits for what its kind wants.
    ends: Option<Time>,
}

/// What one kind of hold wants, so many at once.
#[derive(Debug)]
struct Station {
    places: u32,
    taken: u32,
    waiting: VecDeque<ConnId>,
}

#[derive(Debug)]
pub(super) struct Backends {
    slots: u32,
    foreign: u32,
    open: BTreeSet<ConnId>,
    queries: BTreeMap<ConnId, Query>,
    cpu: Station,
    lock: Station,
    stalled: Time,
    down: Time,
}

impl Backends {
    pub(super) fn new(postgres: Postgres) -> Self {
        let station = |places| Station { places, taken: 0, waiting: VecDeque::new() };
        Self {
            slots: postgres.max_connections.saturating_sub(RESERVED),
            foreign: 0,
            open: BTreeSet::new(),
            queries: BTreeMap::new(),
            cpu: station(postgres.cores),
            lock: station(1),
            stalled: Time::ZERO,
            down: Time::ZERO,
        }
    }

    pub(super) fn connect(&mut self, now: Time, conn: ConnId) -> Connect {
        if now < self.down {
            Connect::Down
        } else if now < self.stalled {
            Connect::Later(self.stalled)
        } else if self.open.len() as u64 + u64::from(self.foreign) >= u64::from(self.slots) {
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

    /// A query of this kind begins; when something ends is [`Backends::next`]'s to say.
    pub(super) fn begin(&mut self, now: Time, conn: ConnId, kind: HoldKind, hold: Duration) {
        let starts = now.max(self.stalled);
        let station = match kind {
            HoldKind::Sleep => None,
            HoldKind::Cpu => Some(&mut self.cpu),
            HoldKind::Lock => Some(&mut self.lock),
        };
        let runs = match station {
            None => true,
            Some(station) if station.taken < station.places => {
                station.taken += 1;
                true
            }
            Some(station) => {
                station.waiting.push_back(conn);
                false
            }
        };
        self.queries.insert(conn, Query { kind, hold, ends: runs.then(|| starts + hold) });
    }

    /// The query that ends first, and when.
    pub(super) fn next(&self) -> Option<(Time, ConnId)> {
        self.queries.iter().filter_map(|(conn, query)| Some((query.ends?, *conn))).min()
    }

    /// The query of `conn` is over, done or not; who waited for its place goes on.
    pub(super) fn end(&mut self, now: Time, conn: ConnId) {
        let Some(query) = self.queries.remove(&conn) else { return };
        let station = match query.kind {
            HoldKind::Sleep => return,
            HoldKind::Cpu => &mut self.cpu,
            HoldKind::Lock => &mut self.lock,
        };
        if query.ends.is_none() {
            station.waiting.retain(|waiting| *waiting != conn);
            return;
        }
        match station.waiting.pop_front() {
            None => station.taken -= 1,
            Some(next) => {
                let starts = now.max(self.stalled);
                if let Some(query) = self.queries.get_mut(&next) {
                    query.ends = Some(starts + query.hold);
                }
            }
        }
    }

    /// Nothing moves for so long.
    pub(super) fn stall(&mut self, now: Time, lasts: Duration) {
        let before = self.stalled.max(now);
        self.stalled = before.max(now + lasts);
        let longer = self.stalled.since(before);
        for query in self.queries.values_mut() {
            query.ends = query.ends.map(|ends| ends + longer);
        }
    }

    /// Every session ends, and none begins for so long. Who they were.
    pub(super) fn restart(&mut self, now: Time, lasts: Duration) -> Vec<ConnId> {
        self.down = now + lasts;
        self.open.iter().copied().collect()
    }

    /// Sessions there are, in the order of their ids.
    pub(super) fn sessions(&self) -> Vec<ConnId> {
        self.open.iter().copied().collect()
    }

    /// Somebody else takes slots, or gives them back.
    pub(super) fn foreign(&mut self, slots: u32, takes: bool) {
        self.foreign = if takes { self.foreign.saturating_add(slots) } else { self.foreign.saturating_sub(slots) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn conn(index: u32) -> ConnId {
        ConnId { index, generation: 0 }
    }

    /// Every end there is, in milliseconds.
    fn ends(backends: &mut Backends) -> Vec<(u128, u32)> {
        let mut all = Vec::new();
        while let Some((at, conn)) = backends.next() {
            backends.end(at, conn);
            all.push((at.since(Time::ZERO).as_millis(), conn.index));
        }
        all
    }

    #[test]
    fn sleeps_run_side_by_side_locks_one_by_one_and_work_as_many_as_there_are_cores() {
        let table = [
            (HoldKind::Sleep, vec![10, 10, 10, 10]),
            (HoldKind::Lock, vec![10, 20, 30, 40]),
            (HoldKind::Cpu, vec![10, 10, 20, 20]),
        ];
        for (kind, expected) in table {
            let mut backends = Backends::new(Postgres::default());
            (0..4).for_each(|n| backends.begin(Time::ZERO, conn(n), kind, 10 * MS));
            let at: Vec<u128> = ends(&mut backends).into_iter().map(|(at, _)| at).collect();
            assert_eq!(at, expected, "{kind:?}");
        }
    }

    #[test]
    fn a_stall_moves_every_end_and_every_beginning() {
        let mut backends = Backends::new(Postgres::default());
        backends.begin(Time::ZERO, conn(0), HoldKind::Sleep, 10 * MS);
        backends.stall(Time::ZERO + 4 * MS, 100 * MS);
        backends.begin(Time::ZERO + 50 * MS, conn(1), HoldKind::Sleep, 10 * MS);
        assert_eq!(backends.connect(Time::ZERO + 50 * MS, conn(2)), Connect::Later(Time::ZERO + 104 * MS));
        assert_eq!(ends(&mut backends), [(110, 0), (114, 1)]);
    }

    #[test]
    fn a_query_that_ends_early_gives_its_place_on() {
        let mut backends = Backends::new(Postgres::default());
        (0..3).for_each(|n| backends.begin(Time::ZERO, conn(n), HoldKind::Lock, 10 * MS));
        backends.end(Time::ZERO + 2 * MS, conn(1));
        backends.end(Time::ZERO + 5 * MS, conn(0));
        assert_eq!(ends(&mut backends), [(15, 2)]);
    }

    #[test]
    fn slots_are_bounded_and_others_take_some() {
        let mut backends = Backends::new(Postgres { max_connections: 6, ..Postgres::default() });
        assert_eq!(backends.connect(Time::ZERO, conn(0)), Connect::Done);
        backends.foreign(2, true);
        assert_eq!(backends.connect(Time::ZERO, conn(1)), Connect::Full);
        backends.foreign(2, false);
        assert_eq!(backends.connect(Time::ZERO, conn(1)), Connect::Done);
        assert_eq!(backends.restart(Time::ZERO, 10 * MS), [conn(0), conn(1)]);
        assert!(backends.close(Time::ZERO, conn(0)) && !backends.close(Time::ZERO, conn(0)));
        assert_eq!(backends.connect(Time::ZERO + 9 * MS, conn(3)), Connect::Down);
    }
}
