//! Who is served next in a pool: classes share server time by weight, tenants of a class evenly, retries come behind first arrivals.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng 1996) in server-nanoseconds, while somebody waits: a grant is charged what such leases
//! usually take, and what it took more or less at its end. When nobody waits any more all is forgotten.
//! It must not know: slots, tickets' tables beyond their links, limits, time but as an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::gate::{Gate, Smooth, Tempo, nanos};
use crate::list::List;
use crate::{ClassId, ClassSettings, ClassSnapshot, Reason, Time};

/// Tenants that have nothing are remembered, for what they usually hold, up to so many in a pool.
const MOST_QUIET: usize = 64;
/// What a tenant usually needs is a mean over about this long: 2^32 ns, 4.3 s.
const LOAD_MEMORY: u32 = 32;
/// One connection, in the unit of loads.
const LOAD_UNIT: u64 = 1 << 16;

/// How many connections somebody's requests would keep busy if none of them waited: their rate times how long they hold one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Server-nanoseconds asked for, older ones counting less and less.
    work: u64,
    at: u64,
}

impl Load {
    /// The work at `now`. Both are cut to microseconds, so that they multiply within 64 bits.
    fn left(&self, now: Time) -> u64 {
        let span = now.as_nanos().saturating_sub(self.at).min(1 << LOAD_MEMORY);
        self.work.saturating_sub(((self.work >> 10).saturating_mul(span >> 10)) >> (LOAD_MEMORY - 20))
    }

    fn came(&mut self, now: Time, hold: u64) {
        if now.as_nanos().saturating_sub(self.at) >> 10 > 0 {
            (self.work, self.at) = (self.left(now), now.as_nanos());
        }
        self.work = self.work.saturating_add(hold);
    }

    /// In `LOAD_UNIT`s, at `now`.
    fn connections(&self, now: Time) -> u64 {
        self.left(now) >> (LOAD_MEMORY - LOAD_UNIT.trailing_zeros())
    }
}

/// First arrivals, and who comes again at once after a refusal.
pub(crate) const TURNS: usize = 2;

/// One tenant of a class in a pool.
#[derive(Clone, Debug)]
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

/// Tenants in the order in which they are served, the first one last: a list, because there are few, and it keeps its memory.
#[derive(Clone, Debug, Default)]
struct Turns(Vec<(u64, u32)>);

impl Turns {
    fn insert(&mut self, key: (u64, u32)) {
        let place = self.0.partition_point(|other| *other > key);
        self.0.insert(place, key);
    }

    fn remove(&mut self, key: (u64, u32)) {
        let place = self.0.partition_point(|other| *other > key);
        if self.0.get(place) == Some(&key) {
            self.0.remove(place);
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn iter(&self) -> impl Iterator<Item = &(u64, u32)> {
        self.0.iter().rev()
    }
}

/// One class in a pool.
#[derive(Clone, Debug)]
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
    turns: [Turns; TURNS],
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
#[derive(Clone, Debug, Default)]
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
            hold: Smooth { count: 0, ..self.kinds[kind].hold }, // until its own first lease has ended
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

    /// Connections that all requests together would keep busy if none of them waited, rounded.
    pub(crate) fn load(&self, now: Time) -> u64 {
        let all: u64 = self.places.values().map(|&place| self.seats[place as usize].load.connections(now)).sum();
        (all + LOAD_UNIT / 2) / LOAD_UNIT
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
        const LONG: u64 = 2;
        /// One comes back every holds / capacity: so small a part of one's own time is no wait.
        const SHORT: u64 = 16;
        /// Less than this is nobody's need.
        const LEAST: u64 = LOAD_UNIT / 50;
        let own = &self.seats[seat as usize];
        if self.places.len() < 2 || own.lent == 0 {
            return false;
        }
        let (holds, capacity) = (own.holds(now), u64::from(capacity.max(1)));
        let others = || self.seats.iter().enumerate().filter(|(at, _)| *at != seat as usize).map(|(_, other)| other);
        let tenants = 1 + others().filter(|other| other.load.connections(now) >= LEAST || !other.idle()).count();
        let even = capacity / tenants as u64;
        // Who wants more than its even share is no quiet neighbour: they share by turns.
        let quiet = |load: &u64| *load <= even.max(1) * LOAD_UNIT;
        let short = |other: &&Seat| {
            let usual = other.hold.mean;
            usual > 0 && holds > usual.saturating_mul(LONG) && holds / capacity > usual / SHORT
        };
        let needed: u64 = others().filter(short).map(|other| other.load.connections(now)).filter(quiet).sum();
        if needed < LEAST {
            return false;
        }
        let needed = (needed + 2 * (needed * LOAD_UNIT).isqrt()).div_ceil(LOAD_UNIT);
        u64::from(own.lent) >= capacity.saturating_sub(needed).max(even).max(1)
    }

    /// A ticket of this seat has come to wait at the end of its queue.
    pub(crate) fn joined(&mut self, seat: u32, turn: usize, now: Time) {
        let spell = self.spell;
        let own = &mut self.seats[seat as usize];
        self.active += u32::from(own.lent == 0 && own.waiting() == 1);
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
    }

    /// A ticket has left this seat's queue; nobody may be left in it, or in the pool.
    pub(crate) fn parted(&mut self, seat: u32, turn: usize, waiting: u32) {
        let own = &self.seats[seat as usize];
        self.active -= u32::from(own.idle());
        if own.queues[turn].len == 0 {
            self.kinds[own.kind].turns[turn].remove((own.start, seat));
        }
        if waiting == 0 {
            self.spell += 1;
            self.clock = 0;
            self.kinds.iter_mut().for_each(|kind| (kind.clock, kind.finish) = (0, 0));
        }
    }

    /// A lease of this seat begins; what it is charged while others wait.
    pub(crate) fn granted(&mut self, seat: u32, contended: bool, now: Time) -> u64 {
        let own = &mut self.seats[seat as usize];
        self.active += u32::from(own.idle());
        own.lent += 1;
        own.began += u128::from(now.as_nanos());
        let kind = &mut self.kinds[own.kind];
        kind.lent += 1;
        kind.books.granted += 1;
        let charged = if contended { own.hold.mean.max(1) } else { 0 };
        if contended {
            self.clock = self.clock.max(kind.finish);
            if own.spell == self.spell {
                kind.clock = kind.clock.max(own.start);
            }
            self.charge(seat, i128::from(charged));
        }
        charged
    }

    /// A lease of this seat has ended; `charged` was taken for it in this spell of waiting, if anybody waits.
    pub(crate) fn ended(&mut self, seat: u32, began: Time, charged: Option<u64>, now: Time) {
        let held = nanos(now.since(began));
        let own = &mut self.seats[seat as usize];
        own.lent -= 1;
        self.active -= u32::from(own.idle());
        own.began -= u128::from(began.as_nanos());
        own.hold.note(held);
        let kind = &mut self.kinds[own.kind];
        kind.lent -= 1;
        kind.hold.note(held);
        kind.books.server_nanos = kind.books.server_nanos.saturating_add(held);
        if let Some(charged) = charged {
            self.charge(seat, i128::from(held) - i128::from(charged));
        }
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
                kind.turns[turn].remove((before, seat));
                kind.turns[turn].insert((own.start, seat));
            }
        }
    }

    /// Whether there is anybody to share with.
    pub(crate) fn is_shared(&self) -> bool {
        self.places.len() > 1
    }

    /// Spells of waiting so far: a charge of an earlier one is forgotten.
    pub(crate) fn spell(&self) -> u64 {
        self.spell
    }

    /// A request of this seat comes, for the first time.
    pub(crate) fn came(&mut self, seat: u32, now: Time) {
        let own = &mut self.seats[seat as usize];
        own.load.came(now, own.hold.mean);
    }

    /// How long one of this seat that comes now waits at least, where that can be told: as long as all of its class before it, or as
    /// its own tenant's requests take on its even share of `servers` connections, whichever is shorter.
    pub(crate) fn wait(&self, seat: u32, attempt: u8, servers: u32) -> Option<Duration> {
        let own = &self.seats[seat as usize];
        let kind = &self.kinds[own.kind];
        let behind_all = kind.tempo.wait(kind.all.len)?;
        if attempt > 0 {
            return Some(behind_all);
        }
        let classes: u64 = self.kinds.iter().filter(|other| other.all.len > 0).map(|other| other.weight).sum();
        let tenants = kind.turns[0].len() as u64 + u64::from(own.queues[0].len == 0);
        let work =
            u128::from(own.queues[0].len) * u128::from(own.hold.mean) * u128::from(tenants) * u128::from(classes);
        let work = work / u128::from(kind.weight) / u128::from(servers.max(1));
        Some(behind_all.min(Duration::from_nanos(u64::try_from(work).unwrap_or(u64::MAX))))
    }

    /// The classes in which somebody waits, the one to be served first in front.
    pub(crate) fn order(&self) -> impl Iterator<Item = usize> + '_ {
        let mut last = None;
        std::iter::from_fn(move || {
            let waiting = self.kinds.iter().enumerate().filter(|(_, kind)| kind.all.len > 0);
            let keys = waiting.map(|(at, kind)| (kind.finish, std::cmp::Reverse(kind.weight), at));
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

    /// Panics with a sentence if what must hold between two calls does not.
    pub(crate) fn check(&self, lent: u32, waiting: u32) {
        let sum = |count: fn(&Kind) -> u32| self.kinds.iter().map(count).sum::<u32>();
        assert_eq!(
            (sum(|kind| kind.lent), sum(|kind| kind.all.len)),
            (lent, waiting),
            "classes have all that is lent and waits"
        );
        let busy = self.places.values().filter(|&&place| !self.seats[place as usize].idle()).count();
        assert_eq!(busy, self.active as usize, "tenants with anything are counted");
        for (place, kind) in self.kinds.iter().enumerate() {
            let own = || self.seats.iter().filter(|seat| seat.kind == place);
            assert_eq!(own().map(|seat| seat.lent).sum::<u32>(), kind.lent, "a class is lent what its tenants are");
            assert_eq!(own().map(Seat::waiting).sum::<u32>(), kind.all.len, "who waits in a class waits for a tenant");
            for turn in 0..TURNS {
                let queued = |seat: &&Seat| seat.queues[turn].len > 0;
                assert_eq!(
                    kind.turns[turn].len(),
                    own().filter(queued).count(),
                    "tenants with waiting requests have a turn"
                );
                let known = |&(start, seat): &(u64, u32)| self.seats[seat as usize].start == start;
                assert!(kind.turns[turn].iter().all(known), "a tenant stands at its virtual time");
            }
        }
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
