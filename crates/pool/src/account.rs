//! What a pool has done: exact integrals over time, counters, histograms. Told, never fetched.

use std::time::Duration;

use crate::{CloseReason, Limit, OCCUPANCY_BUCKETS, Phases, Time, WAIT_BUCKETS};

/// One pool's books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// Connections lent, and requests waiting.
    pub(crate) lent: Level,
    pub(crate) waiting: Level,
    /// See `PoolSnapshot` for the rest.
    pub(crate) granted: u64,
    pub(crate) granted_after_wait: u64,
    pub(crate) refused: [u64; 16],
    pub(crate) abandoned: u64,
    pub(crate) wait_nanos: [u64; 16],
    pub(crate) wait_granted: [u64; 16],
    pub(crate) wait_failed: [u64; 16],
    pub(crate) hold: [u64; 16],
    pub(crate) leases: u64,
    pub(crate) lent_nanos: u64,
    pub(crate) on_server_nanos: u64,
    pub(crate) idle_in_transaction_nanos: u64,
    /// Lent of the size, as arrivals found it.
    pub(crate) occupancy: [u64; OCCUPANCY_BUCKETS + 1],
    pub(crate) connects: u64,
    pub(crate) connect: [u64; 16],
    pub(crate) connects_failed: u64,
    pub(crate) connect_failures: Vec<([u8; 5], u64)>,
    pub(crate) closed: [u64; 10],
}

/// SQLSTATEs of failed connects that are counted apart; what comes beyond them is counted as [`OTHER_SQLSTATE`].
const MOST_SQLSTATES: usize = 16;
/// Not one of PostgreSQL's.
const OTHER_SQLSTATE: [u8; 5] = *b"other";

/// A number over time: up to when it is accounted, and the most that it was in the ten seconds that go on and in those before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Level {
    until: Time,
    slot_ends: Time,
    most: u32,
    most_before: u32,
}

impl Level {
    const SLOT: Duration = Duration::from_secs(10);

    /// It was `level` from the last call until `now`; tells the area under it, in nanoseconds.
    fn held(&mut self, now: Time, level: u32) -> u64 {
        self.most = self.most.max(level);
        if now >= self.slot_ends {
            self.next_slot(now, level);
        }
        let area = (now.as_nanos() - self.until.as_nanos()).saturating_mul(u64::from(level));
        self.until = now;
        area
    }

    #[cold]
    fn next_slot(&mut self, now: Time, level: u32) {
        let long_ago = now >= self.slot_ends + Self::SLOT;
        self.most_before = if long_ago { level } else { self.most };
        self.most = level;
        self.slot_ends = now + Self::SLOT;
    }

    /// The most that it was in the last ten to twenty seconds.
    pub(crate) fn high_water(&self) -> u32 {
        self.most.max(self.most_before)
    }
}

impl Account {
    /// `lent` connections were lent from the last call until `now`; to be called before that number changes.
    pub(crate) fn lent_until(&mut self, now: Time, lent: u32) {
        self.lent_nanos = self.lent_nanos.saturating_add(self.lent.held(now, lent));
    }

    /// `waiting` requests waited for `limit` from the last call until `now`; to be called before either changes.
    pub(crate) fn waited_until(&mut self, now: Time, waiting: u32, limit: Option<Limit>) {
        let area = self.waiting.held(now, waiting);
        if let Some(limit) = limit {
            let nanos = &mut self.wait_nanos[limit.index()];
            *nanos = nanos.saturating_add(area);
        }
    }

    /// A request came, and found `lent` connections lent of `size`.
    pub(crate) fn came(&mut self, lent: u32, size: u32) {
        let tenths = (u64::from(lent) * 10).div_ceil(u64::from(size).max(1));
        let bucket = usize::try_from(tenths).unwrap_or(OCCUPANCY_BUCKETS).min(OCCUPANCY_BUCKETS);
        self.occupancy[bucket] += 1;
    }

    /// A connect ended well after `took`.
    pub(crate) fn connected(&mut self, took: Duration) {
        self.connects += 1;
        self.connect[bucket(took)] += 1;
    }

    /// A connect did not.
    pub(crate) fn connect_failed(&mut self, sqlstate: [u8; 5]) {
        self.connects_failed += 1;
        let known = |of: &[u8; 5], all: &[([u8; 5], u64)]| all.iter().position(|(name, _)| name == of);
        let full = self.connect_failures.len() >= MOST_SQLSTATES;
        let name = if full && known(&sqlstate, &self.connect_failures).is_none() { OTHER_SQLSTATE } else { sqlstate };
        match known(&name, &self.connect_failures) {
            Some(at) => self.connect_failures[at].1 += 1,
            None => self.connect_failures.push((name, 1)),
        }
    }

    /// A request was granted after `waited`; `at_once` if it never stood in the queue.
    pub(crate) fn granted(&mut self, waited: Duration, at_once: bool) {
        self.granted += 1;
        self.granted_after_wait += u64::from(!at_once);
        self.wait_granted[bucket(waited)] += 1;
    }

    /// A request was refused after `waited`.
    pub(crate) fn refused(&mut self, limit: Limit, waited: Duration) {
        self.refused[limit.index()] += 1;
        self.wait_failed[bucket(waited)] += 1;
    }

    /// A client gave up after `waited`.
    pub(crate) fn abandoned(&mut self, waited: Duration) {
        self.abandoned += 1;
        self.wait_failed[bucket(waited)] += 1;
    }

    /// A lease ended after `held`.
    pub(crate) fn lease_ended(&mut self, held: Duration) {
        self.leases += 1;
        self.hold[bucket(held)] += 1;
    }

    /// Where the time of a lease went.
    pub(crate) fn phases(&mut self, phases: &Phases) {
        self.on_server_nanos = self.on_server_nanos.saturating_add(nanos(phases.on_server));
        self.idle_in_transaction_nanos =
            self.idle_in_transaction_nanos.saturating_add(nanos(phases.idle_in_transaction));
    }

    /// A connection was told to go (`None`: it went by itself).
    pub(crate) fn closed(&mut self, reason: Option<CloseReason>) {
        self.closed[reason.map_or(9, |reason| reason as usize)] += 1;
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The bucket of `WAIT_BUCKETS` whose upper bound is the first not below `span`; the last holds the rest.
fn bucket(span: Duration) -> usize {
    let span = nanos(span);
    WAIT_BUCKETS.partition_point(|&bound| bound < span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_is_of_the_last_seconds() {
        let at = Time::from_nanos;
        let second = 1_000_000_000;
        let mut level = Level::default();
        assert_eq!(level.held(at(second), 0), 0);
        assert_eq!(level.held(at(2 * second), 7), 7 * second);
        assert_eq!(level.held(at(3 * second), 2), 2 * second);
        assert_eq!(level.high_water(), 7, "though it is over");
        level.held(at(12 * second), 2);
        assert_eq!(level.high_water(), 7, "of the slot before");
        level.held(at(23 * second), 2);
        assert_eq!(level.high_water(), 2, "long gone");
        level.held(at(100 * second), 5);
        assert_eq!(level.high_water(), 5);
    }

    #[test]
    fn arrivals_find_tenths_of_the_size_lent() {
        let mut account = Account::default();
        for (lent, size) in [(0, 20), (1, 20), (2, 20), (19, 20), (20, 20), (21, 20), (500, 20), (0, 0)] {
            account.came(lent, size);
        }
        assert_eq!(account.occupancy, [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2]);
    }

    #[test]
    fn failed_connects_are_counted_by_a_bounded_number_of_sqlstates() {
        let mut account = Account::default();
        for code in 0..100_u32 {
            let digits = format!("{code:05}");
            account.connect_failed(digits.as_bytes().try_into().unwrap());
            account.connect_failed(*b"53300");
        }
        assert_eq!(account.connects_failed, 200);
        assert_eq!(account.connect_failures.len(), MOST_SQLSTATES + 1);
        assert_eq!(account.connect_failures[1], (*b"53300", 100));
        assert_eq!(account.connect_failures.last(), Some(&(*b"other", 85)));
    }
}
