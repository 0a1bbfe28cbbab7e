//! Tickets and the wait queue: first in, first out, but for the affinity window; where admission acts, as `fair` orders them.
//!
//! A ticket is waiting, then granted until its lease ends; a cancel in between is answered exactly.
//! Waits are measured by the clock of the regime the pool is in: what was waited while the server was up
//! is kept, the allowances of a pause and of an outage begin anew with each.

use std::time::Duration;

use crate::list::{Linked, Links, List, NONE};
use crate::pool::Pool;
use crate::{ClassId, DatabaseSettings, LoopId, PoolId, Request, Ticket, Time};

/// Where a ticket stands.
///
/// ```text
///   Vacant ─► Waiting ─► Granted ─► Vacant (the lease has ended)
///               └──────────────────► Vacant (refused or cancelled)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Vacant,
    /// In the queue; `urgent` once half of its client's own deadline has passed.
    Waiting {
        urgent: bool,
    },
    /// Lent this slot.
    Granted(u32),
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) generation: u32,
    pub(crate) stand: Stand,
    pub(crate) pool: PoolId,
    /// Tickets are numbered in the order of their requests.
    pub(crate) number: u64,
    pub(crate) since: Time,
    /// The pool's up clock when it began to wait.
    pub(crate) mark: u64,
    pub(crate) deadline: Time,
    pub(crate) home: LoopId,
    pub(crate) flavor: u64,
    pub(crate) class: ClassId,
    /// Its tenant's place in the pool.
    pub(crate) seat: u32,
    /// How often in a row it was refused and came again.
    pub(crate) attempt: u8,
    /// What the record of it is to say.
    pub(crate) client: u32,
    pub(crate) tenant: u64,
    /// What its lease was charged, in which spell of waiting.
    pub(crate) charged: u64,
    pub(crate) spell: u64,
    /// Neighbours in the pool's queue.
    pub(crate) fifo: Links,
    /// Neighbours among those of the same class.
    pub(crate) kin: Links,
    /// Neighbours among those of the same tenant and turn.
    pub(crate) line: Links,
    /// Neighbours among those of the same loop.
    pub(crate) lane: Links,
}

impl Entry {
    /// Which of its tenant's queues it stands in.
    pub(crate) fn turn(&self) -> usize {
        usize::from(self.attempt > 0)
    }

    /// Half of the client's own deadline.
    pub(crate) fn half(&self) -> Time {
        self.since + self.deadline.since(self.since) / 2
    }
}

/// All tickets of a host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tickets {
    pub(crate) table: Vec<Entry>,
    free: Vec<u32>,
    last: u64,
}

struct Fifo<'a>(&'a mut [Entry]);
struct ByLoop<'a>(&'a mut [Entry]);
struct ByClass<'a>(&'a mut [Entry]);
struct ByTenant<'a>(&'a mut [Entry]);

impl Linked for Fifo<'_> {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.0[index as usize].fifo
    }
}

impl Linked for ByLoop<'_> {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.0[index as usize].lane
    }
}

impl Linked for ByClass<'_> {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.0[index as usize].kin
    }
}

impl Linked for ByTenant<'_> {
    fn links(&mut self, index: u32) -> &mut Links {
        &mut self.0[index as usize].line
    }
}

impl Tickets {
    /// A ticket for `request` of the tenant at `seat`, not in any queue yet.
    pub(crate) fn draw(&mut self, request: &Request, seat: u32, now: Time) -> u32 {
        self.last += 1;
        let entry = Entry {
            generation: 0,
            stand: Stand::Vacant,
            pool: request.pool,
            number: self.last,
            since: now,
            mark: 0,
            deadline: request.deadline,
            home: request.home,
            flavor: request.flavor,
            class: request.class,
            seat,
            attempt: request.attempt,
            client: request.client,
            tenant: request.tenant,
            charged: 0,
            spell: 0,
            fifo: Links::default(),
            kin: Links::default(),
            line: Links::default(),
            lane: Links::default(),
        };
        match self.free.pop() {
            Some(index) => {
                let place = &mut self.table[index as usize];
                *place = Entry { generation: place.generation, ..entry };
                index
            }
            None => {
                self.table.push(entry);
                self.table.len() as u32 - 1
            }
        }
    }

    /// Places that no ticket has.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    /// The number of the newest ticket.
    pub(crate) fn newest(&self) -> u64 {
        self.last
    }

    /// The place of `ticket`, if it waits or its lease lasts.
    pub(crate) fn find(&self, ticket: Ticket) -> Option<u32> {
        let entry = self.table.get(ticket.index as usize)?;
        (entry.generation == ticket.generation && entry.stand != Stand::Vacant).then_some(ticket.index)
    }

    /// The name of the ticket at `index`.
    pub(crate) fn id(&self, index: u32) -> Ticket {
        Ticket { index, generation: self.table[index as usize].generation }
    }

    /// The ticket was granted slot `slot`; it must not stand in a queue.
    pub(crate) fn granted(&mut self, index: u32, slot: u32) {
        self.table[index as usize].stand = Stand::Granted(slot);
    }

    /// The ticket is over; it must not stand in a queue.
    pub(crate) fn discard(&mut self, index: u32) {
        let entry = &mut self.table[index as usize];
        entry.stand = Stand::Vacant;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
    }

    /// Puts a drawn ticket at the end of its pool's queue.
    pub(crate) fn enqueue(&mut self, pool: &mut Pool, index: u32, now: Time) {
        let entry = &mut self.table[index as usize];
        entry.stand = Stand::Waiting { urgent: false };
        entry.mark = pool.queue.up(now);
        let (lane, seat, turn) = (pool.lane(entry.home), entry.seat, entry.turn());
        pool.note_waits(now);
        pool.queue.fifo.push_back(&mut Fifo(&mut self.table), index);
        let own = &mut pool.fair.seats[seat as usize];
        pool.fair.kinds[own.kind].all.push_back(&mut ByClass(&mut self.table), index);
        own.queues[turn].push_back(&mut ByTenant(&mut self.table), index);
        pool.fair.joined(seat, turn, now);
        pool.lanes[lane].waiters.push_back(&mut ByLoop(&mut self.table), index);
    }

    /// Takes a waiting ticket out of its pool's queue; tells how long it waited.
    pub(crate) fn dequeue(&mut self, pool: &mut Pool, index: u32, now: Time) -> Duration {
        let entry = &mut self.table[index as usize];
        pool.queue.urgent -= u32::from(entry.stand == Stand::Waiting { urgent: true });
        entry.stand = Stand::Vacant;
        let (since, lane, seat, turn) = (entry.since, pool.lane(entry.home), entry.seat, entry.turn());
        pool.note_waits(now);
        if pool.queue.fifo.head == index {
            pool.queue.skipped = 0;
        }
        pool.queue.fifo.remove(&mut Fifo(&mut self.table), index);
        let own = &mut pool.fair.seats[seat as usize];
        pool.fair.kinds[own.kind].all.remove(&mut ByClass(&mut self.table), index);
        own.queues[turn].remove(&mut ByTenant(&mut self.table), index);
        pool.fair.parted(seat, turn, pool.queue.fifo.len);
        pool.lanes[lane].waiters.remove(&mut ByLoop(&mut self.table), index);
        now.since(since)
    }

    /// Half of the client's own deadline has passed: nobody overtakes it any more.
    pub(crate) fn press(&mut self, pool: &mut Pool, index: u32) {
        let entry = &mut self.table[index as usize];
        if entry.stand == (Stand::Waiting { urgent: false }) {
            entry.stand = Stand::Waiting { urgent: true };
            pool.queue.urgent += 1;
        }
    }

    /// Who gets a connection that was freed on loop `home`: the oldest waiter of that loop if nobody older is
    /// skipped too often or pressed for time, else the oldest of all.
    pub(crate) fn choose(&self, pool: &mut Pool, home: LoopId, skips: u32, now: Time) -> Option<u32> {
        let head = pool.queue.fifo.head;
        if head == NONE {
            return None;
        }
        let near = pool.lanes.iter().find(|lane| lane.home == home).map_or(NONE, |lane| lane.waiters.head);
        if near == NONE || near == head {
            return Some(head);
        }
        let first = &self.table[head as usize];
        let max_wait = pool.max_wait(pool.fair.seats[first.seat as usize].kind);
        let pressed = pool.queue.urgent > 0 || pool.queue.past_half(first, &pool.rules, max_wait, now);
        if pressed || pool.queue.skipped >= skips {
            return Some(head);
        }
        pool.queue.skipped += 1;
        Some(near)
    }

    /// When the first waiter after `covered` others began to wait, and its number.
    pub(crate) fn uncovered(&self, pool: &Pool, covered: u32) -> Option<&Entry> {
        let mut at = pool.queue.fifo.head;
        for _ in 0..covered {
            if at == NONE {
                return None;
            }
            at = self.table[at as usize].fifo.next;
        }
        (at != NONE).then(|| &self.table[at as usize])
    }
}

/// Which clock waits are measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Regime {
    /// The server is up and the pool lends: `max_wait`.
    Up,
    /// An operator paused the pool: `pause_wait`.
    Paused,
    /// The server is down: `down_wait`.
    Down,
}

impl Regime {
    /// A pause holds whether the server is up or not.
    pub(crate) fn of(paused: bool, down: bool) -> Self {
        match (paused, down) {
            (true, _) => Self::Paused,
            (false, true) => Self::Down,
            (false, false) => Self::Up,
        }
    }
}

/// One pool's queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) fifo: List,
    /// Waiters past half of their client's own deadline.
    pub(crate) urgent: u32,
    /// How often in a row the head was skipped.
    pub(crate) skipped: u32,
    pub(crate) regime: Regime,
    regime_since: Time,
    /// Nanoseconds in regime `Up` before `regime_since`.
    up_before: u64,
}

impl Queue {
    pub(crate) fn new(now: Time) -> Self {
        Self { fifo: List::default(), urgent: 0, skipped: 0, regime: Regime::Up, regime_since: now, up_before: 0 }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> u32 {
        self.fifo.len
    }

    /// The up clock: nanoseconds during which the server was up and the pool not paused.
    pub(crate) fn up(&self, now: Time) -> u64 {
        match self.regime {
            Regime::Up => self.up_before + (now.as_nanos() - self.regime_since.as_nanos()),
            Regime::Paused | Regime::Down => self.up_before,
        }
    }

    /// Another regime begins.
    pub(crate) fn change(&mut self, regime: Regime, now: Time) {
        if regime != self.regime {
            self.up_before = self.up(now);
            (self.regime, self.regime_since) = (regime, now);
        }
    }

    /// When the pool's own patience with this ticket ends, where one of its class may wait for `max_wait`. Never later for an older
    /// ticket than for a younger one of the class, so that looking at the first of each class is enough.
    pub(crate) fn patience(&self, entry: &Entry, rules: &DatabaseSettings, max_wait: Duration) -> Time {
        match self.regime {
            Regime::Up => {
                let waited = Duration::from_nanos(self.up_before.saturating_sub(entry.mark));
                self.regime_since.max(entry.since) + max_wait.saturating_sub(waited)
            }
            Regime::Paused => self.regime_since.max(entry.since) + rules.pause_wait,
            Regime::Down => self.regime_since.max(entry.since) + rules.down_wait,
        }
    }

    /// Whether more than half of the pool's patience with this ticket is used up.
    fn past_half(&self, entry: &Entry, rules: &DatabaseSettings, max_wait: Duration, now: Time) -> bool {
        let allowance = match self.regime {
            Regime::Up => max_wait,
            Regime::Paused => rules.pause_wait,
            Regime::Down => rules.down_wait,
        };
        self.patience(entry, rules, max_wait).since(now) < allowance / 2
    }
}

impl Pool {
    /// Brings the integrals of waiting up to date; to be called before the queue or what binds it changes.
    pub(crate) fn note_waits(&mut self, now: Time) {
        let limit = self.spell.map(|spell| spell.binding.limit);
        self.account.waited_until(now, self.queue.len(), limit);
    }
}
