//! The door: clients enter and leave, requests are granted at once, queued, cancelled or refused.

use std::time::Duration;

use crate::checkout::{CheckoutOutcome, refused};
use crate::host::Host;
use crate::limits::Room;
use crate::list::NONE;
use crate::pool::{Pool, Shut, Spell};
use crate::queue::{Regime, Stand};
use crate::{
    Action, ClassId, ConnectFailure, DatabaseSettings, Event, Handled, Limit, PoolId, PoolKey, Reason, Refusal,
    Request, Ticket, Time, Wake,
};

impl Host {
    /// The rules that a pool of this name obeys, and whether `*` gives them.
    pub(crate) fn rules(&self, key: &PoolKey) -> Option<(DatabaseSettings, bool)> {
        let (mut rules, any) = match self.settings.databases.get(&key.database) {
            Some(rules) => (rules.clone(), false),
            None => (self.settings.any.clone()?, true),
        };
        if let Some(user) = self.settings.users.get(&key.user) {
            rules.size = user.size.unwrap_or(rules.size);
            rules.mode = user.mode.unwrap_or(rules.mode);
            rules.classes.extend(user.class);
        }
        rules.min_size = rules.min_size.min(rules.size);
        Some((rules, any))
    }

    /// A client enters.
    pub(crate) fn enter(&mut self, key: PoolKey) -> Handled {
        let Some((rules, any)) = self.rules(&key) else {
            return Handled::Refused(Box::new(meaningless(true, false)));
        };
        if rules.disabled || self.words.of(&key.database).disabled || self.words.of(&key.database).draining {
            return Handled::Refused(Box::new(meaningless(false, true)));
        }
        let id = match self.by_key.get(&key).copied() {
            Some(id) => id,
            None if any && !self.any_has_room() => {
                return Handled::Refused(Box::new(meaningless(true, false)));
            }
            None => self.make(key, rules, any),
        };
        self.entered(id)
    }

    /// A client enters that wants one connection for itself alone: a pool that an earlier one left is used again.
    pub(crate) fn enter_alone(&mut self, key: PoolKey) -> Handled {
        let Some((rules, any)) = self.rules(&key) else {
            return Handled::Refused(Box::new(meaningless(true, false)));
        };
        let word = self.words.of(&key.database);
        if rules.disabled || word.disabled || word.draining {
            return Handled::Refused(Box::new(meaningless(false, true)));
        }
        let left = self.pools.iter().find(|pool| pool.alone && pool.empty() && pool.key == key && !pool.dropped);
        let id = match left.map(|pool| pool.id) {
            Some(id) => id,
            None if any && !self.any_has_room() => {
                return Handled::Refused(Box::new(meaningless(true, false)));
            }
            None => self.make_alone(key, rules.alone(), any),
        };
        let pool = &mut self.pools[id];
        (pool.failure, pool.failures, pool.retry_at, pool.locked) = (None, 0, Time::ZERO, false); // the last client's own troubles
        self.entered(id)
    }

    fn entered(&mut self, id: PoolId) -> Handled {
        let pool = &mut self.pools[id];
        pool.clients += 1;
        pool.entered = true;
        pool.empty_since = Time::NEVER;
        self.touch(id);
        Handled::Entered(id)
    }

    /// Whether `*` may have another pool; the one that has been empty longest gives its place.
    fn any_has_room(&mut self) -> bool {
        let served = self.pools.iter().filter(|pool| pool.any).count();
        if served < self.settings.max_any_pools as usize {
            return true;
        }
        let empty = self.pools.iter().filter(|pool| pool.any && pool.empty());
        match empty.min_by_key(|pool| (pool.empty_since, pool.id)).map(|pool| pool.id) {
            Some(id) => {
                self.retire(id);
                true
            }
            None => false,
        }
    }

    fn make(&mut self, key: PoolKey, rules: DatabaseSettings, any: bool) -> PoolId {
        let id = self.add(Pool { any, ..Pool::new(self.pools.next_id(), key.clone(), rules, self.turn.now) });
        self.by_key.insert(key, id);
        id
    }

    fn make_alone(&mut self, key: PoolKey, rules: DatabaseSettings, any: bool) -> PoolId {
        self.add(Pool { any, alone: true, ..Pool::new(self.pools.next_id(), key, rules, self.turn.now) })
    }

    fn add(&mut self, mut pool: Pool) -> PoolId {
        let (now, id, key) = (self.turn.now, pool.id, pool.key.clone());
        pool.user = self.slots.scopes.users.enter(&key.user, id);
        pool.database = self.slots.scopes.databases.enter(&key.database, id);
        self.slots.scopes.host.pools.push(id);
        pool.word = self.words.of(&key.database);
        pool.queue.change(Regime::of(pool.word.paused, self.pace.down), now);
        self.pools.add(pool);
        self.size_scopes();
        self.share_for(id);
        self.turn.events.push_back(Event::PoolMade(id, key));
        id
    }

    /// A pool that is empty goes for good; its counters stay in the host's totals.
    pub(crate) fn retire(&mut self, id: PoolId) {
        let Some(pool) = self.pools.remove(id) else { return };
        assert!(pool.empty(), "a pool is retired only when nobody and nothing is there");
        if pool.needy != NONE {
            self.forget_need(pool.needy);
        }
        if let Some(Spell { since, granted, refused, .. }) = pool.spell {
            let lasted = self.turn.now.since(since);
            self.turn.events.push_back(Event::Cleared { pool: id, lasted, granted, refused });
        }
        if !pool.alone {
            self.by_key.remove(&pool.key);
        }
        self.slots.scopes.users.leave(&pool.key.user, id);
        self.slots.scopes.databases.leave(&pool.key.database, id);
        self.slots.scopes.host.pools.retain(|&other| other != id);
        self.pool_alarms.clear(id.0);
        self.chores.remove(&id);
        self.retired.0 = self.retired.0.saturating_add(pool.account.lent_nanos);
        self.retired.1 += pool.account.granted;
        self.retired.2 += pool.account.refused.iter().sum::<u64>();
        self.turn.events.push_back(Event::PoolRetired(id));
    }

    /// A client leaves.
    pub(crate) fn leave(&mut self, id: PoolId) -> Handled {
        if self.pools.find(id).is_none_or(|pool| pool.clients == 0) {
            return Handled::Stale;
        }
        self.pools[id].clients -= 1;
        self.touch(id);
        Handled::Done
    }

    /// A client needs a connection.
    pub(crate) fn checkout(&mut self, request: &Request) -> Handled {
        let now = self.turn.now;
        let Some(pool) = self.pools.find(request.pool) else {
            let refusal = meaningless(true, false);
            self.record_refused(request, &refusal);
            return Handled::Refused(Box::new(refusal));
        };
        if let Some(shut) = pool.shut() {
            return self.refuse_at_once(request, self.class_of(request), Why::Shut(shut), Duration::ZERO);
        }
        let class = self.class_of(request);
        let pool = &mut self.pools[request.pool];
        pool.account.came(pool.counts.lent, pool.rules.size);
        let seat = pool.fair.seat(class, request.tenant, &self.settings.classes, &pool.rules.classes);
        if request.attempt == 0 {
            pool.fair.came(seat, now);
        }
        let pool = &self.pools[request.pool];
        if pool.lends()
            && pool.queue.len() == 0
            && !pool.chore
            && self.shed.is_empty()
            && let Some(slot) = self.slots.pick(pool, request.home, request.flavor)
            && !self.held_back(pool, seat)
        {
            let ticket = self.tickets.draw(request, seat, now);
            self.grant(slot, ticket, None);
            return Handled::Queued(self.tickets.id(ticket));
        }
        if let Some((why, would_wait)) = self.bars(request, class, seat) {
            return self.refuse_at_once(request, class, why, would_wait);
        }
        let ticket = self.tickets.draw(request, seat, now);
        self.tickets.enqueue(&mut self.pools[request.pool], ticket, now);
        let kind = self.pools[request.pool].fair.seats[seat as usize].kind;
        self.pools[request.pool].fair.kinds[kind].books.reattempts += u64::from(request.attempt > 0);
        self.look_at_gate(request.pool, kind);
        if self.pools[request.pool].counts.idle > 0 {
            self.add_chore(request.pool); // others are held back, or it is
        }
        if request.deadline != Time::NEVER {
            self.ticket_alarms.advance(ticket, self.tickets.table[ticket as usize].half(), Wake::Deadline);
        }
        self.touch(request.pool);
        Handled::Queued(self.tickets.id(ticket))
    }

    /// A client does not want any more.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> Handled {
        let (handled, gone) = self.withdraw(ticket);
        if let Some((pool, waited)) = gone {
            self.pools[pool].account.abandoned(waited);
            self.record_ticket(ticket.index, self.turn.now, CheckoutOutcome::Abandoned);
        }
        handled
    }

    /// A waiting request has become needless; also tells from which pool's queue it went, and how long it had waited.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> (Handled, Option<(PoolId, Duration)>) {
        let Some(index) = self.tickets.find(ticket) else { return (Handled::Stale, None) };
        match self.tickets.table[index as usize].stand {
            Stand::Vacant => (Handled::Stale, None),
            Stand::Granted(slot) => (Handled::AlreadyGranted(self.slots.id(slot)), None),
            Stand::Waiting { .. } => {
                let waited = self.unqueue(index);
                let (id, seat) = (self.tickets.table[index as usize].pool, self.tickets.table[index as usize].seat);
                self.look_at_gate(id, self.pools[id].fair.seats[seat as usize].kind);
                self.tickets.discard(index);
                (Handled::Cancelled, Some((id, waited)))
            }
        }
    }

    /// Takes a ticket out of its queue; what becomes of it is the caller's to say.
    pub(crate) fn unqueue(&mut self, index: u32) -> Duration {
        let id = self.tickets.table[index as usize].pool;
        self.ticket_alarms.clear(index);
        self.touch(id);
        self.tickets.dequeue(&mut self.pools[id], index, self.turn.now)
    }

    /// A waiting ticket is refused.
    pub(crate) fn refuse(&mut self, index: u32, why: Why) {
        self.turn.spend();
        let entry = &self.tickets.table[index as usize];
        let (id, to, waited) = (entry.pool, entry.home, self.turn.now.since(entry.since));
        let refusal = self.refusal(id, (entry.class, entry.attempt), why, waited);
        self.note_refusal(id, &refusal);
        self.unqueue(index);
        let seat = self.tickets.table[index as usize].seat;
        self.look_at_gate(id, self.pools[id].fair.seats[seat as usize].kind);
        let pool = &mut self.pools[id];
        pool.account.refused(refusal.binding, waited);
        if let Some(spell) = &mut pool.spell {
            spell.refused += 1;
        }
        self.record_ticket(index, self.turn.now, refused(&refusal, false));
        let ticket = self.tickets.id(index);
        self.tickets.discard(index);
        self.turn.actions.push_back(Action::Refuse { ticket, to, refusal: Box::new(refusal) });
    }

    fn refuse_at_once(&mut self, request: &Request, class: ClassId, why: Why, would_wait: Duration) -> Handled {
        let id = request.pool;
        let mut refusal = self.refusal(id, (class, request.attempt), why, Duration::ZERO);
        refusal.would_wait = would_wait;
        self.note_refusal(id, &refusal);
        let pool = &mut self.pools[id];
        pool.account.refused(refusal.binding, Duration::ZERO);
        if let Some(spell) = &mut pool.spell {
            spell.refused += 1;
        }
        self.record_refused(request, &refusal);
        Handled::Refused(Box::new(refusal))
    }

    /// The refusal in numbers.
    fn refusal(&mut self, id: PoolId, (class, attempt): (ClassId, u8), why: Why, waited: Duration) -> Refusal {
        let retry_after = self.hint(id, class, attempt, why);
        let pool = &self.pools[id];
        let binding = pool.spell.map_or_else(|| self.verdict(pool), |spell| spell.binding);
        let (limit, binding) = match why {
            Why::Shut(Shut::Dropped | Shut::Stopping) => (Limit::WaitTime, Room { limit: Limit::WaitTime, ..binding }),
            Why::Shut(Shut::Password) | Why::Failed => (Limit::Breaker, BREAKER),
            Why::Time if binding.limit == Limit::Breaker => (Limit::Breaker, binding),
            Why::Time => (Limit::WaitTime, binding),
            Why::Hopeless | Why::Overload => (Limit::WaitTime, binding),
            Why::Queue => (Limit::QueueLength, binding),
            Why::Shed => (Limit::ClassShare, Room { limit: Limit::ClassShare, ..binding }),
        };
        let longest = (pool.lent.head != NONE).then(|| &self.slots.table[pool.lent.head as usize]);
        Refusal {
            reason: why.reason(),
            class,
            would_wait: Duration::ZERO,
            retry_after,
            limit,
            binding: binding.limit,
            size: binding.size,
            used: binding.used,
            lent: pool.counts.lent,
            waiting: pool.queue.len(),
            waited,
            longest_held: longest.map_or(Duration::ZERO, |slot| self.turn.now.since(slot.since)),
            longest_pid: longest.and_then(|slot| slot.pid),
            failure: self.reason(pool, binding.limit).map(|failure| Box::new(failure.clone())),
            no_such_database: why == Why::Shut(Shut::Dropped),
            stopping: why == Why::Shut(Shut::Stopping),
        }
    }

    /// The server's last word on connecting, where that is why requests are refused.
    fn reason<'a>(&'a self, pool: &'a Pool, binding: Limit) -> Option<&'a ConnectFailure> {
        if binding == Limit::Breaker || self.pace.down { pool.failure.as_ref().or(self.failure.as_ref()) } else { None }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nobody is served.
    Shut(Shut),
    /// The connect that it waited for failed for a reason of its own pool.
    Failed,
    /// Its time is up.
    Time,
    /// Too many wait already.
    Queue,
    /// It would wait longer than it may.
    Hopeless,
    /// It has waited longer than one of its class may while that is overloaded.
    Overload,
    /// An operator sheds its class.
    Shed,
}

impl Why {
    fn reason(self) -> Reason {
        match self {
            Self::Shut(_) | Self::Failed => Reason::Server,
            Self::Time => Reason::Time,
            Self::Queue => Reason::Queue,
            Self::Hopeless => Reason::Hopeless,
            Self::Overload => Reason::Overload,
            Self::Shed => Reason::Shed,
        }
    }
}

/// The server cannot be reached or refuses logins: no size, no use.
pub(crate) const BREAKER: Room = Room { left: 0, limit: Limit::Breaker, size: 0, used: 0 };

/// A refusal whose limits mean nothing.
fn meaningless(no_such_database: bool, stopping: bool) -> Refusal {
    Refusal {
        reason: Reason::Server,
        class: ClassId::default(),
        limit: Limit::WaitTime,
        binding: Limit::WaitTime,
        size: 0,
        used: 0,
        lent: 0,
        waiting: 0,
        waited: Duration::ZERO,
        would_wait: Duration::ZERO,
        retry_after: Duration::ZERO,
        longest_held: Duration::ZERO,
        longest_pid: None,
        failure: None,
        no_such_database,
        stopping,
    }
}
