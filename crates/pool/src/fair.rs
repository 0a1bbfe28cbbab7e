//! Who is served next in a pool: classes share server time by weight, tenants of a class evenly, retries come behind first arrivals.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996) in server-nanoseconds, while somebody waits: a grant is charged what such leases
//! usually take, and what it took more or less at its end. When nobody waits any more all is forgotten.
//! It must not know: slots, tickets' tables beyond their links, limits, time but as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::gate::{Gate, Smooth, Tempo, nanos};
use crate::list::List;
use crate::{ClassId, ClassSettings, ClassSnapshot, Reason, Time};

/// Tenants that have nothing are remembered, for what they usually hold, up to so many in a pool.
const MOST_QUIET: usize = 64;
/// A tenant's usual number of connections is a mean over about this long.
const LOAD_MEMORY: u64 = 10_000_000_000;
/// Its unit: so many thousandths of a connection.
pub(crate) const LOAD_UNIT: u64 = 1024;

/// How many connections somebody usually has or waits for: a mean over time, in 1024ths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    mean: u64,
    count: u32,
    at: Time,
}

impl Load {
    /// The mean at `now`.
    pub(crate) fn at(&self, now: Time) -> u64 {
        let span = nanos(now.since(self.at)).min(LOAD_MEMORY);
        let goal = u64::from(self.count) * LOAD_UNIT;
        let part = |off: u64| (u128::from(off) * u128::from(span) / u128::from(LOAD_MEMORY)) as u64;
        if goal >= self.mean { self.mean + part(goal - self.mean) } else { self.mean - part(self.mean - goal) }
    }

    fn count(&mut self, now: Time, count: u32) {
        (self.mean, self.at, self.count) = (self.at(now), now, count);
    }
}

/// First arrivals, and who comes again at once after a refusal.
pub(crate) const TURNS: usize = 2;

/// One tenant of a class in a pool.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Place of its class in `kinds`.
    pub(crate) kind: usize,
    /// Its waiting tickets by turn, the oldest first.
    pub(crate) queues: [List; TURNS],
    pub(crate) lent: u32,
    /// Sum of the moments at which its leases began.
    began: u128,
    /// Its leases' time.
    pub(crate) hold: Smooth,
    load: Load,
    /// Its virtual time, and in which spell of waiting it was that.
    start: u64,
    spell: u64,
}

impl Seat {
    fn waiting(&self) -> u32 {
        self.queues[0].len + self.queues[1].len
    }

    fn idle(&self) -> bool {
        self.lent == 0 && self.waiting() == 0
    }

    /// How long its leases take: those that have ended, or those that have not, whichever is longer.
    pub(crate) fn holds(&self, now: Time) -> u64 {
        if self.lent == 0 {
            return self.hold.mean;
        }
        let age =
            (u128::from(now.as_nanos()) * u128::from(self.lent)).saturating_sub(self.began) / u128::from(self.lent);
        self.hold.mean.max(age as u64)
    }

    /// Its usual connections at `now`, in 1024ths.
    pub(crate) fn load(&self, now: Time) -> u64 {
        self.load.at(now)
    }
}

/// What a class did in a pool.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Books {
    pub(crate) granted: u64,
    pub(crate) refused: [u64; Reason::ALL.len()],
    pub(crate) would_refuse: [u64; Reason::ALL.len()],
    pub(crate) reattempts: u64,
    pub(crate) server_nanos: u64,
}

/// One class in a pool.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) class: ClassId,
    pub(crate) weight: u64,
    /// No other class here weighs more, and some weigh less.
    pub(crate) heaviest: bool,
    /// Places kept for it.
    pub(crate) reserve: u32,
    /// Longest wait; `None`: the pool's.
    pub(crate) max_wait: Option<Duration>,
    /// All that wait, the oldest first.
    pub(crate) all: List,
    /// Tenants with waiting tickets by turn: virtual time and seat.
    turns: [BTreeSet<(u64, u32)>; TURNS],
    /// The virtual time of the tenant served last.
    clock: u64,
    /// The class's own virtual time.
    finish: u64,
    pub(crate) lent: u32,
    pub(crate) hold: Smooth,
    pub(crate) gate: Gate,
    pub(crate) tempo: Tempo,
    pub(crate) books: Books,
}

/// Classes and tenants of a pool.
#[derive(Debug, Default)]
pub(crate) struct Fair {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) seats: Vec<Seat>,
    places: BTreeMap<(ClassId, u64), u32>,
    free: Vec<u32>,
    /// The last one asked for.
    last: Option<(ClassId, u64, u32)>,
    /// The virtual time of the class served last.
    clock: u64,
    /// Spells of waiting so far.
    spell: u64,
    /// Seats that have or want something.
    pub(crate) active: u32,
    /// Places kept for classes, all together.
    pub(crate) reserved: u32,
}

impl Fair {
    /// The seat of a tenant, made if need be.
    pub(crate) fn seat(&mut self, class: ClassId, name: u64, classes: &[ClassSettings], kept: &[ClassId]) -> u32 {
        if let Some((last_class, last_name, seat)) = self.last
            && (last_class, last_name) == (class, name)
        {
            return seat;
        }
        let seat = match self.places.get(&(class, name)) {
            Some(&seat) => seat,
            None => self.make_seat(class, name, classes, kept),
        };
        self.last = Some((class, name, seat));
        seat
    }

    fn make_seat(&mut self, class: ClassId, name: u64, classes: &[ClassSettings], kept: &[ClassId]) -> u32 {
        let kind = self.kind(class, classes, kept);
        if self.places.len() - self.active as usize >= MOST_QUIET {
            self.forget_quiet();
        }
        let seat = Seat {
            kind,
            queues: Default::default(),
            lent: 0,
            began: 0,
            hold: self.kinds[kind].hold,
            load: Load::default(),
            start: 0,
            spell: 0,
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.seats[place as usize] = seat;
                place
            }
            None => {
                self.seats.push(seat);
                self.seats.len() as u32 - 1
            }
        };
        self.places.insert((class, name), place);
        place
    }

    /// The class's place, made if need be.
    pub(crate) fn kind(&mut self, class: ClassId, classes: &[ClassSettings], kept: &[ClassId]) -> usize {
        if let Some(place) = self.kinds.iter().position(|kind| kind.class == class) {
            return place;
        }
        self.kinds.push(Kind {
            class,
            weight: 1,
            heaviest: false,
            reserve: 0,
            max_wait: None,
            all: List::default(),
            turns: Default::default(),
            clock: 0,
            finish: 0,
            lent: 0,
            hold: Smooth::default(),
            gate: Gate::default(),
            tempo: Tempo::default(),
            books: Books::default(),
        });
        self.weigh(classes, kept);
        self.kinds.len() - 1
    }

    /// Weights and reserves as the settings say: only classes that some rule assigns here have a reserve.
    pub(crate) fn weigh(&mut self, classes: &[ClassSettings], kept: &[ClassId]) {
        let of = |class: ClassId| classes.get(usize::from(class.0));
        let weight = |class: ClassId| of(class).map_or(1, |settings| u64::from(settings.weight.max(1)));
        let most = classes.iter().map(|settings| settings.weight).max().unwrap_or(1);
        let even = classes.iter().all(|settings| settings.weight == most);
        for kind in &mut self.kinds {
            kind.weight = weight(kind.class);
            kind.heaviest = !even && kind.weight >= u64::from(most);
            kind.max_wait = of(kind.class).and_then(|settings| settings.max_wait);
            kind.reserve = of(kind.class).filter(|_| kept.contains(&kind.class)).map_or(0, |settings| settings.reserve);
        }
        let reserve = |class: &ClassId| of(*class).map_or(0, |settings| settings.reserve);
        self.reserved = kept.iter().map(reserve).fold(0, u32::saturating_add);
    }

    /// Tenants that have nothing and want nothing make room.
    fn forget_quiet(&mut self) {
        let (seats, free) = (&self.seats, &mut self.free);
        self.places.retain(|_, &mut place| {
            let stays = !seats[place as usize].idle();
            if !stays {
                free.push(place);
            }
            stays
        });
        self.last = None;
    }

    /// Whether so many of `capacity` places are lent that what is left is kept for other classes. They never keep the last one.
    pub(crate) fn kept_for_others(&self, kind: usize, capacity: u32) -> bool {
        let own = &self.kinds[kind];
        if self.reserved == 0 || own.lent < own.reserve.min(capacity) {
            return false;
        }
        let filled: u32 = self.kinds.iter().map(|other| other.lent.min(other.reserve)).sum();
        let unfilled = self.reserved.saturating_sub(filled).saturating_sub(own.reserve.saturating_sub(own.lent));
        let lent: u32 = self.kinds.iter().map(|kind| kind.lent).sum();
        lent >= capacity.saturating_sub(unfilled).max(1)
    }

    /// Whether the tenant must leave the rest to others: its leases are so much longer than theirs that what it takes comes back too
    /// late for them. It keeps its even share, and whatever others do not usually need: their load and twice its square root
    /// (the square-root reserve of a queue with little waiting: Halfin, Whitt 1981).
    pub(crate) fn crowds(&self, seat: u32, capacity: u32, now: Time) -> bool {
        /// Holds so many times longer than others' are long.
        const LONG: u64 = 4;
        /// Nobody needs less than that, in 1024ths of a connection.
        const LEAST: u64 = LOAD_UNIT / 50;
        let own = &self.seats[seat as usize];
        if self.places.len() < 2 || own.lent == 0 {
            return false;
        }
        let holds = own.holds(now);
        let mut needed = 0;
        for (at, other) in self.seats.iter().enumerate() {
            // One of a stranger comes back every holds / capacity: a quarter of one's own time is no long wait.
            let short = other.hold.mean > 0
                && holds > other.hold.mean.saturating_mul(LONG)
                && holds / u64::from(capacity.max(1)) > other.hold.mean / LONG;
            if at != seat as usize && short {
                needed += other.load(now);
            }
        }
        if needed < LEAST {
            return false;
        }
        let needed = (needed + 2 * (needed * LOAD_UNIT).isqrt()).div_ceil(LOAD_UNIT) as u32;
        own.lent >= capacity.saturating_sub(needed).max(capacity / self.active.max(1)).max(1)
    }

    /// A ticket of this seat came to wait at the end of its queue, which `was_empty`.
    pub(crate) fn joined(&mut self, seat: u32, turn: usize, now: Time) {
        let spell = self.spell;
        let own = &mut self.seats[seat as usize];
        let kind = &mut self.kinds[own.kind];
        if kind.all.len == 1 {
            kind.tempo.begins(now);
            kind.finish = kind.finish.max(self.clock);
        }
        if own.queues[turn].len == 1 {
            let start = if own.spell == spell { own.start } else { 0 }.max(kind.clock);
            if own.queues[1 - turn].len == 0 {
                (own.start, own.spell) = (start, spell);
            }
            kind.turns[turn].insert((own.start, seat));
        }
        self.count(seat, now);
    }

    /// A ticket has left this seat's queue; nobody may be left in it, or in the pool.
    pub(crate) fn parted(&mut self, seat: u32, turn: usize, waiting: u32, now: Time) {
        let own = &self.seats[seat as usize];
        if own.queues[turn].len == 0 {
            self.kinds[own.kind].turns[turn].remove(&(own.start, seat));
        }
        if waiting == 0 {
            self.spell += 1;
            self.clock = 0;
            self.kinds.iter_mut().for_each(|kind| (kind.clock, kind.finish) = (0, 0));
        }
        self.count(seat, now);
    }

    /// A lease of this seat begins; what it is charged while others wait.
    pub(crate) fn granted(&mut self, seat: u32, contended: bool, now: Time) -> u64 {
        let own = &mut self.seats[seat as usize];
        own.lent += 1;
        own.began += u128::from(now.as_nanos());
        let kind = &mut self.kinds[own.kind];
        kind.lent += 1;
        kind.books.granted += 1;
        let charged = if contended { own.hold.mean.max(1) } else { 0 };
        if contended {
            kind.finish = kind.finish.max(self.clock);
            self.clock = kind.finish;
            if own.spell == self.spell {
                kind.clock = kind.clock.max(own.start);
            }
            self.charge(seat, i128::from(charged));
        }
        self.count(seat, now);
        charged
    }

    /// A lease of this seat has ended; `charged` was taken for it in this spell of waiting, if anybody waits.
    pub(crate) fn ended(&mut self, seat: u32, began: Time, charged: Option<u64>, now: Time) {
        let held = nanos(now.since(began));
        let own = &mut self.seats[seat as usize];
        own.lent -= 1;
        own.began -= u128::from(began.as_nanos());
        own.hold.note(held);
        let kind = &mut self.kinds[own.kind];
        kind.lent -= 1;
        kind.hold.note(held);
        kind.books.server_nanos = kind.books.server_nanos.saturating_add(held);
        if let Some(charged) = charged {
            self.charge(seat, i128::from(held) - i128::from(charged));
        }
        self.count(seat, now);
    }

    /// So much server time more, or less, for the seat and its class.
    fn charge(&mut self, seat: u32, time: i128) {
        let own = &mut self.seats[seat as usize];
        let kind = &mut self.kinds[own.kind];
        let moved = |from: u64, by: i128| (i128::from(from) + by).clamp(0, i128::from(u64::MAX)) as u64;
        kind.finish = moved(kind.finish, time / i128::from(kind.weight));
        let before = own.start;
        own.start = if own.spell == self.spell { moved(before, time) } else { moved(kind.clock, time) };
        own.spell = self.spell;
        for (turn, waiting) in own.queues.iter().enumerate() {
            if waiting.len > 0 {
                kind.turns[turn].remove(&(before, seat));
                kind.turns[turn].insert((own.start, seat));
            }
        }
    }

    /// Spells of waiting so far: a charge of an earlier one is forgotten.
    pub(crate) fn spell(&self) -> u64 {
        self.spell
    }

    /// Brings a seat's load up to date.
    fn count(&mut self, seat: u32, now: Time) {
        let own = &mut self.seats[seat as usize];
        let (before, count) = (own.load.count, own.lent + own.waiting());
        own.load.count(now, count);
        self.active = self.active + u32::from(count > 0) - u32::from(before > 0);
    }

    /// The classes in which somebody waits, the one to be served first in front.
    pub(crate) fn order(&self) -> impl Iterator<Item = usize> + '_ {
        let mut last = None;
        std::iter::from_fn(move || {
            let waiting = self.kinds.iter().enumerate().filter(|(_, kind)| kind.all.len > 0);
            let keys = waiting.map(|(at, kind)| (kind.finish.max(self.clock), std::cmp::Reverse(kind.weight), at));
            last = keys.filter(|key| last.is_none_or(|last| *key > last)).min();
            last.map(|(_, _, at)| at)
        })
    }

    /// The seats of a class that wait in this turn, the one to be served first in front.
    pub(crate) fn seats_of(&self, kind: usize, turn: usize) -> impl Iterator<Item = u32> + '_ {
        self.kinds[kind].turns[turn].iter().map(|&(_, seat)| seat)
    }

    /// What the classes have and did, by id.
    pub(crate) fn view(&self) -> Vec<ClassSnapshot> {
        let view = |kind: &Kind| ClassSnapshot {
            class: kind.class,
            lent: kind.lent,
            waiting: kind.all.len,
            granted: kind.books.granted,
            refused: kind.books.refused,
            would_refuse: kind.books.would_refuse,
            reattempts: kind.books.reattempts,
            server_nanos: kind.books.server_nanos,
            overloaded: kind.gate.overloaded(),
        };
        let mut classes: Vec<ClassSnapshot> = self.kinds.iter().map(view).collect();
        classes.sort_unstable_by_key(|class| class.class);
        classes
    }

    /// Whether all that wait are of one seat.
    pub(crate) fn is_plain(&self) -> bool {
        let mut kinds = self.kinds.iter().filter(|kind| kind.all.len > 0);
        match (kinds.next(), kinds.next()) {
            (Some(kind), None) => kind.turns[0].len() + kind.turns[1].len() == 1 && !kind.gate.overloaded(),
            _ => false,
        }
    }
}
