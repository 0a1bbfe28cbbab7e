//! The recorder's thread: packs what it hears and writes it, a block at least every second while there is something to tell.
//!
//! ```text
//!   off ◄──── enabled ────► writing ◄── every RETRY ──► failing (full, read-only): kept in memory up to MOST_PENDING, then lost
//! ```
//!
//! A checkout stays pending until its block is written, so that none is told twice and none is left out silently.

use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use poolwarden_pool::{CheckoutRecord, HostId, HostSnapshot, Time};
use poolwarden_store::recording::{Anchor, Block, Checkout, Gap, Shelf, blocks};
use poolwarden_watch::Level;

use super::super::log::Log;
use super::names::Names;
use super::pages::{self, us_of};
use super::told::Told;
use super::{Orders, Word};

/// What a crash may cost.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// So many are written at once, before that time is over: a block is not larger.
const MOST_AT_ONCE: usize = 20_000;
/// Checkouts kept in memory while nothing can be written: some 13 MB.
const MOST_PENDING: usize = 100_000;
/// What failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(2);
/// Microseconds between two anchors.
const ANCHOR_EVERY_US: u64 = 60_000_000;
/// The clocks drift apart a little in that time; if they are further apart, one of them was set, or stood still.
const JUMP_MS: u64 = 50;
/// Names in one block, which has room for them.
const MOST_NAMES: usize = 1_000;
/// Below everything that serves somebody.
const NICE: i32 = 10;

/// The thread's own.
pub(super) struct Writer<C> {
    shelf: Shelf,
    clock: C,
    log: Log,
    told: Arc<Told>,
    names: Names,
    orders: Orders,
    /// The recording does not say yet what is in force, since this moment.
    unsaid_us: Option<u64>,
    pending: Vec<(HostId, CheckoutRecord)>,
    state: Option<(Time, Vec<(HostId, HostSnapshot)>)>,
    gap: Option<Gap>,
    /// Since when it is off.
    off_us: Option<u64>,
    anchored: Anchor,
    failing: Option<Failing>,
    written_at: Instant,
}

/// It cannot write.
struct Failing {
    since: Instant,
    tried: Instant,
    /// Lost before it began.
    lost_before: u64,
}

impl<C: Fn() -> Anchor> Writer<C> {
    pub(super) fn new(shelf: Shelf, clock: C, log: Log, told: Arc<Told>) -> Self {
        let anchored = clock();
        Self {
            shelf,
            clock,
            log,
            told,
            names: Names::default(),
            orders: Orders::default(),
            unsaid_us: None,
            pending: Vec::new(),
            state: None,
            gap: None,
            off_us: None,
            anchored,
            failing: None,
            written_at: Instant::now(),
        }
    }

    /// Until nobody speaks any more; then what is left is written.
    pub(super) fn run(mut self, heard: &Receiver<Word>, emptied: &SyncSender<Vec<CheckoutRecord>>) {
        // of this thread alone; where it may not, it is as any other
        let _refused = rustix::process::setpriority_process(None, NICE);
        loop {
            let wait = WRITE_EVERY.saturating_sub(self.written_at.elapsed());
            match heard.recv_timeout(wait) {
                Ok(word) => self.hear(word, emptied),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.end(),
            }
            if self.pending.len() >= MOST_AT_ONCE || self.written_at.elapsed() >= WRITE_EVERY {
                self.write(false);
            }
        }
    }

    fn hear(&mut self, word: Word, emptied: &SyncSender<Vec<CheckoutRecord>>) {
        match word {
            Word::Ended { mut records, .. } if !self.orders.enabled => {
                records.clear();
                let _enough = emptied.try_send(records);
            }
            Word::Ended { host, mut records, lost, from, until } => {
                let room = MOST_PENDING.saturating_sub(self.pending.len());
                let more = records.len().saturating_sub(room) as u64;
                self.told.lose(more);
                self.pending.extend(records.drain(..).take(room).map(|record| (host, record)));
                if lost + more > 0 {
                    self.miss(Gap { from_us: us_of(from), until_us: us_of(until), lost: lost + more });
                }
                let _enough = emptied.try_send(records); // then it is given back to the system
            }
            Word::Pools { host, pools } => {
                pools.into_iter().for_each(|(id, name)| self.names.add_pool(host, id, name));
            }
            Word::Tenants(tenants) => {
                tenants.into_iter().for_each(|(tenant, name)| self.names.add_tenant(tenant, name));
            }
            Word::State { at, hosts } => self.state = Some((at, hosts)),
            Word::Obey(orders) => self.obey(*orders),
        }
    }

    /// What came before was under other orders.
    fn obey(&mut self, orders: Orders) {
        self.write(false);
        let now = (self.clock)();
        match (self.orders.enabled, orders.enabled) {
            (true, false) => self.switch_off(now),
            (false, true) => {
                if let Some(from_us) = self.off_us.take() {
                    self.miss(Gap { from_us, until_us: now.clock_us, lost: 0 });
                }
            }
            (true, true) | (false, false) => {}
        }
        self.shelf.bound(orders.max_size);
        self.names.classes(&orders.classes);
        self.unsaid_us = Some(now.clock_us);
        self.orders = orders;
    }

    fn switch_off(&mut self, now: Anchor) {
        self.lose_pending(now);
        if self.shelf.is_open() && self.failing.is_none() {
            self.try_to(|writer| writer.anchor(now));
        }
        self.shelf.leave();
        self.recover();
        self.state = None;
        self.off_us = Some(now.clock_us);
    }

    /// What could not be written will not be.
    fn lose_pending(&mut self, now: Anchor) {
        let lost = self.pending.len() as u64;
        if let Some((_, first)) = self.pending.first() {
            let from_us = us_of(first.arrived);
            self.told.lose(lost);
            self.miss(Gap { from_us, until_us: now.clock_us, lost });
        }
        self.pending.clear();
    }

    /// Something is not told; of several times all that lies between them.
    fn miss(&mut self, more: Gap) {
        let gap = self.gap.get_or_insert(Gap { lost: 0, ..more });
        gap.from_us = gap.from_us.min(more.from_us);
        gap.until_us = gap.until_us.max(more.until_us);
        gap.lost += more.lost;
    }

    /// Writes what is there; `last`: whatever came of it a moment ago.
    fn write(&mut self, last: bool) {
        self.written_at = Instant::now();
        let is_early = self.failing.as_ref().is_some_and(|failing| failing.tried.elapsed() < RETRY);
        if !self.orders.enabled || (is_early && !last) {
            return;
        }
        let now = (self.clock)();
        self.try_to(|writer| writer.pages(now));
        self.told.take_up(self.shelf.size());
    }

    fn try_to(&mut self, write: impl FnOnce(&mut Self) -> std::io::Result<()>) {
        match write(self) {
            Ok(()) => self.recover(),
            Err(error) => self.fail(&error),
        }
    }

    fn pages(&mut self, now: Anchor) -> std::io::Result<()> {
        self.turn_over(now)?;
        while !self.pending.is_empty() {
            self.checkouts()?;
            self.turn_over(now)?;
        }
        if let Some(gap) = self.gap {
            self.shelf.write(&Block::Gap(gap))?;
            self.gap = None;
        }
        if let Some((at, hosts)) = &self.state {
            let state = pages::state(&mut self.names, *at, hosts);
            self.names()?;
            self.shelf.write(&Block::State(state))?;
            self.state = None;
        }
        self.names()?;
        if is_due(self.anchored, now) { self.anchor(now) } else { Ok(()) }
    }

    /// There is a recording that has room, and says what is in force.
    fn turn_over(&mut self, now: Anchor) -> std::io::Result<()> {
        if self.shelf.is_full(now) {
            self.anchor(now)?;
            self.shelf.leave();
        }
        if !self.shelf.is_open() {
            self.shelf.begin(now)?;
            self.names.begin();
            self.anchored = now;
            self.unsaid_us.get_or_insert(now.clock_us);
        }
        if let Some(from_us) = self.unsaid_us {
            self.shelf.write(&Block::Settings(pages::settings(&self.orders, from_us)))?;
            self.unsaid_us = None;
        }
        Ok(())
    }

    /// So many checkouts in one block, that it is small beside what all may take.
    fn at_once(&self) -> usize {
        usize::try_from(self.orders.max_size / 128).unwrap_or(MOST_AT_ONCE).clamp(1_000, MOST_AT_ONCE)
    }

    /// The oldest that are pending, and the names they need before.
    fn checkouts(&mut self) -> std::io::Result<()> {
        let some = self.pending.iter().take(self.at_once());
        let names = &mut self.names;
        let all: Vec<Checkout> = some.map(|(host, record)| pages::checkout(names, *host, record)).collect();
        self.names()?;
        for block in blocks(&all) {
            self.shelf.write(&block)?;
            if let Block::Checkouts(written) = block {
                self.pending.drain(..written.len());
                self.told.record(written.len() as u64);
            }
        }
        Ok(())
    }

    fn names(&mut self) -> std::io::Result<()> {
        let names = self.names.untold();
        names.chunks(MOST_NAMES).try_for_each(|some| self.shelf.write(&Block::Names(some.to_vec())))
    }

    fn anchor(&mut self, now: Anchor) -> std::io::Result<()> {
        self.shelf.write(&Block::Anchor(now))?;
        self.anchored = now;
        Ok(())
    }

    fn fail(&mut self, error: &std::io::Error) {
        self.names.begin(); // some may not be written
        let why = error.to_string();
        let tried = Instant::now();
        let lost_before = self.told.standing().lost;
        if let Some(failing) = &mut self.failing {
            failing.tried = tried;
        } else {
            self.failing = Some(Failing { since: tried, tried, lost_before });
            let said = format!(
                "traffic is not recorded: {why}; pooling goes on, and the newest {MOST_PENDING} checkouts are kept in memory until it can be"
            );
            self.log.say(Level::Error, "recording", said);
        }
        self.told.fail(Some(why));
    }

    fn recover(&mut self) {
        let Some(failing) = self.failing.take() else { return };
        let (seconds, lost) =
            (failing.since.elapsed().as_secs(), self.told.standing().lost.saturating_sub(failing.lost_before));
        let lost_too = if lost == 0 { "nothing was lost".to_owned() } else { format!("{lost} checkouts were lost") };
        let said = format!("traffic is recorded again after {seconds}s, {lost_too}");
        self.log.say(Level::Info, "recording", said);
        self.told.fail(None);
    }

    fn end(&mut self) {
        self.write(true);
        let now = (self.clock)();
        if self.orders.enabled && self.failing.is_none() && self.shelf.is_open() {
            self.try_to(|writer| writer.anchor(now));
        }
        let left = mem::take(&mut self.pending).len() as u64;
        if left > 0 {
            self.told.lose(left);
            self.log.say(Level::Error, "recording", format!("the last {left} checkouts are not recorded"));
        }
    }
}

/// Whether the clocks must be told again.
fn is_due(told: Anchor, now: Anchor) -> bool {
    let passed_us = now.clock_us.saturating_sub(told.clock_us);
    let expected_ms = told.wall_ms.saturating_add(passed_us / 1_000);
    passed_us >= ANCHOR_EVERY_US || now.wall_ms.abs_diff(expected_ms) > JUMP_MS
}

#[cfg(test)]
mod tests;
