//! Admission: who may wait, who is next, and who is refused so that the rest is served.
//!
//! All of it is off where the guard only observes: then the oldest is served first, nobody is held back, and what would have been
//! refused is counted.

use std::time::Duration;

use crate::door::Why;
use crate::gate::{Turned, slough};
use crate::host::Host;
use crate::list::NONE;
use crate::pool::Pool;
use crate::queue::Regime;
use crate::{ClassId, Event, Guard, Handled, LoopId, Mode, PoolId, Reason, Refusal, Request, Time};

/// A hint to come again later is never shorter nor longer than this.
const LEAST_HINT: Duration = Duration::from_millis(100);
const LONGEST_HINT: Duration = Duration::from_secs(30);
/// Without a tempo to go by, a hint begins with this.
const USUAL_HINT: Duration = Duration::from_millis(500);
/// A hint doubles with each refusal in a row, so often.
const DOUBLINGS: u8 = 6;
/// How many tenants that are held back are passed over in one choice: others come with the next one.
const LOOKS: usize = 16;
/// While connections are idle and somebody is held back, that is looked at again after this.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How many starving pools are looked at when a connection comes back.
const STARVING: usize = 8;

impl Host {
    /// Whether admission acts.
    pub(crate) fn guards(&self) -> bool {
        self.settings.guard == Guard::Enforce
    }

    /// The class as the settings know it.
    pub(crate) fn class_of(&self, request: &Request) -> ClassId {
        self.known_class(request.class)
    }

    /// The same of one that was asked with.
    pub(crate) fn known_class(&self, class: ClassId) -> ClassId {
        if usize::from(class.0) < self.settings.classes.len() { class } else { ClassId::default() }
    }

    /// An operator sheds a class, or takes that back.
    pub(crate) fn shed(&mut self, class: ClassId, until: Time) -> Handled {
        self.shed.retain(|_, end| *end > self.turn.now);
        if until > self.turn.now {
            self.shed.insert(class, until);
        } else {
            self.shed.remove(&class);
        }
        Handled::Done
    }

    /// Whether an operator sheds this class now.
    fn is_shed(&self, class: ClassId) -> bool {
        !self.shed.is_empty() && self.shed.get(&class).is_some_and(|until| *until > self.turn.now)
    }

    /// Why a request that would have to wait may not; what it would have waited, where that is why.
    pub(crate) fn bars(&mut self, request: &Request, class: ClassId, seat: u32) -> Option<(Why, Duration)> {
        let now = self.turn.now;
        if self.is_shed(class) {
            return Some((Why::Shed, Duration::ZERO));
        }
        let pool = &self.pools[request.pool];
        if request.deadline <= now {
            return Some((Why::Time, Duration::ZERO));
        }
        if pool.queue.len() >= pool.rules.max_queue {
            return Some((Why::Queue, Duration::ZERO));
        }
        let wait = self.hopeless(pool, request, seat)?;
        if self.guards() {
            return Some((Why::Hopeless, wait));
        }
        self.would_refuse(request.pool, seat, Reason::Hopeless);
        None
    }

    /// How long the request would wait, where that is longer than it can. While its class is overloaded the newest is served first,
    /// and nobody can tell. A queue no longer than the pool has connections is never too long for the pool's patience.
    fn hopeless(&self, pool: &Pool, request: &Request, seat: u32) -> Option<Duration> {
        let kind = &pool.fair.kinds[pool.fair.seats[seat as usize].kind];
        let ahead = kind.all.len;
        if ahead == 0 || pool.queue.regime != Regime::Up || !pool.lends() || kind.gate.overloaded() {
            return None;
        }
        let wait = pool.fair.wait(seat, request.attempt, pool.living())?;
        let own = request.deadline.since(self.turn.now);
        let longest =
            if ahead < pool.living() { own } else { own.min(pool.max_wait(pool.fair.seats[seat as usize].kind)) };
        (wait > longest).then_some(wait)
    }

    fn would_refuse(&mut self, id: PoolId, seat: u32, reason: Reason) {
        let fair = &mut self.pools[id].fair;
        let kind = fair.seats[seat as usize].kind;
        fair.kinds[kind].books.would_refuse[reason as usize] += 1;
    }

    /// Whether this tenant may not be lent one of the pool's connections now: the rest is kept for other classes, or other tenants
    /// need it and would get it back too late.
    pub(crate) fn held_back(&self, pool: &Pool, seat: u32) -> bool {
        if !self.guards() || pool.alone {
            return false;
        }
        let fair = &pool.fair;
        let kept = fair.reserved > 0 && {
            let capacity = pool.living().saturating_add(self.room(pool).left).min(pool.rules.size.max(pool.living()));
            fair.kept_for_others(fair.seats[seat as usize].kind, capacity)
        };
        kept || (pool.rules.mode != Mode::Session && fair.crowds(seat, pool.living(), self.turn.now))
    }

    /// Who gets a connection that is free on loop `home`; nobody, where nobody waits or all who do are held back.
    pub(crate) fn next(&mut self, id: PoolId, home: LoopId) -> Option<u32> {
        let pool = &self.pools[id];
        if pool.queue.len() == 0 {
            return None;
        }
        if !self.guards() || pool.fair.is_plain() {
            let seat = self.tickets.table[pool.queue.fifo.head as usize].seat;
            if self.held_back(pool, seat) {
                return None;
            }
            let (skips, now) = (self.settings.affinity_skips, self.turn.now);
            return self.tickets.choose(&mut self.pools[id], home, skips, now);
        }
        let pool = &self.pools[id];
        pool.fair.order().find_map(|kind| {
            let turns = [0, 1].into_iter();
            let seats = turns.flat_map(|turn| pool.fair.seats_of(kind, turn).take(LOOKS).map(move |seat| (turn, seat)));
            let (turn, seat) = seats.into_iter().find(|&(_, seat)| !self.held_back(pool, seat))?;
            let queue = &pool.fair.seats[seat as usize].queues[turn];
            Some(if pool.fair.kinds[kind].gate.overloaded() { queue.tail } else { queue.head })
        })
    }

    /// A request that waited was granted: what its class learns of that.
    pub(crate) fn note_grant(&mut self, id: PoolId, seat: u32, waited: Duration) {
        let now = self.turn.now;
        let pool = &mut self.pools[id];
        let place = pool.fair.seats[seat as usize].kind;
        let max_wait = pool.max_wait(place);
        let kind = &mut pool.fair.kinds[place];
        kind.tempo.granted(now);
        kind.gate.granted(waited);
        if self.settings.guard == Guard::Observe
            && kind.gate.overloaded()
            && waited > slough(&kind.hold, kind.heaviest, max_wait)
        {
            kind.books.would_refuse[Reason::Overload as usize] += 1;
        }
        self.look_at_gate(id, place);
    }

    /// The class may have become overloaded, or be so no more.
    pub(crate) fn look_at_gate(&mut self, id: PoolId, place: usize) {
        let pool = &mut self.pools[id];
        if pool.queue.regime != Regime::Up {
            return;
        }
        let (servers, grows) = (pool.living(), pool.counts.opening > 0);
        let kind = &mut pool.fair.kinds[place];
        if grows && kind.all.len > 0 && !kind.gate.overloaded() {
            return; // more connections are coming
        }
        let class = kind.class;
        match kind.gate.look(self.turn.now, kind.all.len, servers, &kind.hold) {
            None => {}
            Some(Turned::Overloaded) => self.turn.events.push_back(Event::Overloaded { pool: id, class }),
            Some(Turned::Relaxed { lasted, shed }) => {
                self.turn.events.push_back(Event::Relaxed { pool: id, class, lasted, shed });
            }
        }
    }

    /// The first waiting request whose time is up, and why it is refused.
    pub(crate) fn overdue(&self, id: PoolId) -> Option<(u32, Why)> {
        let pool = &self.pools[id];
        (0..pool.fair.kinds.len()).find_map(|kind| {
            let (at, why) = self.patience(pool, kind)?;
            (at <= self.turn.now).then_some((pool.fair.kinds[kind].all.head, why))
        })
    }

    /// When the patience with the oldest of a class ends, and why then.
    fn patience(&self, pool: &Pool, kind: usize) -> Option<(Time, Why)> {
        let own = &pool.fair.kinds[kind];
        if own.all.head == NONE {
            return None;
        }
        let entry = &self.tickets.table[own.all.head as usize];
        let max_wait = pool.max_wait(kind);
        let end = pool.queue.patience(entry, &pool.rules, max_wait);
        if self.guards() && own.gate.overloaded() && pool.queue.regime == Regime::Up {
            let soon = entry.since + slough(&own.hold, own.heaviest, max_wait);
            if soon < end {
                return Some((soon, Why::Overload));
            }
        }
        Some((end, Why::Time))
    }

    /// When the first waiting request's time is up; `NEVER` while nobody waits.
    pub(crate) fn first_patience(&self, pool: &Pool) -> Time {
        let ends = (0..pool.fair.kinds.len()).filter_map(|kind| self.patience(pool, kind));
        ends.map(|(at, _)| at).min().unwrap_or(Time::NEVER)
    }

    /// When it is worth coming again: when those who wait now will have been served, and later each time; with jitter, so that those
    /// who are refused together do not come together.
    pub(crate) fn hint(&mut self, id: PoolId, class: ClassId, attempt: u8, why: Why) -> Duration {
        let until = match why {
            Why::Shut(_) | Why::Failed => return Duration::ZERO,
            Why::Shed => self.shed.get(&class).map(|until| until.since(self.turn.now)),
            Why::Time | Why::Queue | Why::Hopeless | Why::Overload => None,
        };
        let pool = &self.pools[id];
        let kind = pool.fair.kinds.iter().find(|kind| kind.class == class);
        let served = kind.and_then(|kind| kind.tempo.wait(kind.all.len));
        let base = until.or(served).unwrap_or(USUAL_HINT).clamp(LEAST_HINT, LONGEST_HINT);
        let base = base.saturating_mul(1 << attempt.min(DOUBLINGS)).min(LONGEST_HINT);
        let millis = base.as_millis() as u64;
        Duration::from_millis(millis / 2 + self.hints.up_to(millis))
    }

    /// Books a refusal to its class.
    pub(crate) fn note_refusal(&mut self, id: PoolId, refusal: &Refusal) {
        let pool = &mut self.pools[id];
        let kind = pool.fair.kind(refusal.class, &self.settings.classes, &pool.rules.classes);
        let kind = &mut pool.fair.kinds[kind];
        kind.books.refused[refusal.reason as usize] += 1;
        if matches!(refusal.reason, Reason::Overload) {
            kind.gate.shed += 1;
        }
    }

    /// Whether a connection of this pool that comes back is given up for another pool, which cannot have one under a limit that both
    /// share: then the other has fewer for what its waiting classes weigh, even with one more.
    pub(crate) fn yields(&self, id: PoolId) -> bool {
        let now = self.turn.now;
        if !self.guards() || self.needy.len() <= usize::from(self.pools[id].needy != NONE) {
            return false;
        }
        let own = &self.pools[id];
        let (mine, own_weight) = (u64::from(own.living()), own.weight());
        self.needy.iter().rev().take(STARVING).any(|&other_id| {
            let other = &self.pools[other_id];
            if other_id == id || other.want() == 0 || other.retry_at > now {
                return false;
            }
            let room = self.room(other);
            let Some(of) = room.shared(other).filter(|_| room.left == 0) else { return false };
            let scope = self.slots.scopes.of(of);
            let ours = scope.pools.contains(&id);
            let coming = scope.ending >= other.want();
            let less = mine * other.weight() > (u64::from(other.living()) + 1) * own_weight;
            ours && !coming && less && self.starves(other) && self.pace.open(now, self.slots.evicting)
        })
    }
}

impl Host {
    /// Whether a pool that waits under a shared limit cannot help itself soon: it has less than it needs, or its oldest request has
    /// waited for longer than two usual holds.
    fn starves(&self, pool: &Pool) -> bool {
        let now = self.turn.now;
        let Some(head) = self.tickets.uncovered(pool, 0) else { return false };
        let kind = pool.fair.seats[head.seat as usize].kind;
        let grace = Duration::from_nanos(pool.fair.kinds[kind].hold.mean.saturating_mul(2));
        pool.living() < pool.need(now) || now.since(head.since) > grace.min(pool.max_wait(kind) / 4)
    }
}

impl Pool {
    /// Connections it has use for while others starve: its load, and one more.
    pub(crate) fn need(&self, now: Time) -> u32 {
        u32::try_from(self.fair.load(now)).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Longest wait of a class here.
    pub(crate) fn max_wait(&self, kind: usize) -> Duration {
        self.fair.kinds[kind].max_wait.unwrap_or(self.rules.max_wait)
    }

    /// What the heaviest class weighs that has or wants something here.
    pub(crate) fn weight(&self) -> u64 {
        let used = self.fair.kinds.iter().filter(|kind| kind.all.len > 0 || kind.lent > 0);
        used.map(|kind| kind.weight).max().unwrap_or(1)
    }
}
