//! The invariants, checked by looking at everything. For tests and simulation: it walks every table.

use crate::host::Host;
use crate::limits::{Of, Scope};
use crate::list::{List, NONE};
use crate::pool::Pool;
use crate::queue::Stand;
use crate::slot::State;
use crate::{PoolId, Slots};

impl Host {
    /// Panics with a sentence if anything that must hold between two calls does not. Costs a walk over every
    /// connection and ticket: for tests and simulation.
    pub fn check_invariants(&self) {
        for pool in self.pools.iter() {
            self.check_counts(pool);
            self.check_lists(pool);
            self.check_queue(pool);
            pool.fair.check(pool.counts.lent, pool.queue.len());
            self.check_need(pool);
        }
        self.check_scopes();
        self.check_tickets();
        self.check_pace();
    }

    fn slots_of(&self, pool: PoolId) -> impl Iterator<Item = (u32, &crate::slot::Slot)> {
        let counted = self.slots.table.iter().enumerate().filter(|(_, slot)| slot.state.counted());
        counted.filter(move |(_, slot)| slot.pool == pool).map(|(index, slot)| (index as u32, slot))
    }

    fn check_counts(&self, pool: &Pool) {
        let mut counts = Slots::default();
        for (_, slot) in self.slots_of(pool.id) {
            *counts.of(slot.state).expect("counted states have a count") += 1;
        }
        assert_eq!(counts, pool.counts, "counts of {:?} equal its connections by state", pool.key);
    }

    /// The members of a list, which must be well linked.
    fn members(&self, list: &List) -> Vec<u32> {
        let (mut at, mut last, mut members) = (list.head, NONE, Vec::new());
        while at != NONE {
            let links = self.slots.table[at as usize].links;
            assert_eq!(links.prev, last, "a list's links agree in both directions");
            members.push(at);
            (last, at) = (at, links.next);
        }
        assert_eq!((list.tail, list.len), (last, members.len() as u32), "a list knows its tail and length");
        members
    }

    fn check_lists(&self, pool: &Pool) {
        let mut listed = 0;
        for lane in &pool.lanes {
            let mut newest = crate::Time::NEVER;
            for index in self.members(&lane.idle) {
                let slot = &self.slots.table[index as usize];
                assert!(
                    slot.state == State::Idle && slot.home == lane.home,
                    "idle connections stand in their own lane"
                );
                assert!(slot.since <= newest, "the last used connection stands first");
                (newest, listed) = (slot.since, listed + 1);
            }
        }
        assert_eq!(listed, pool.counts.idle, "every idle connection stands in one lane");
        let lent = self.members(&pool.lent);
        let is_lent = |&index: &u32| matches!(self.slots.table[index as usize].state, State::Lent { .. });
        assert!(lent.iter().all(is_lent) && lent.len() as u32 == pool.counts.lent, "lent connections are listed");
        let aside = self.members(&pool.aside);
        let is_aside =
            |&index: &u32| matches!(self.slots.table[index as usize].state, State::Resetting | State::Fenced { .. });
        let away = pool.counts.resetting + pool.counts.fenced;
        assert!(aside.iter().all(is_aside) && aside.len() as u32 == away, "reset and fenced connections are listed");
    }

    fn check_queue(&self, pool: &Pool) {
        let (mut at, mut number, mut urgent, mut waiting) = (pool.queue.fifo.head, 0, 0, 0);
        while at != NONE {
            let entry = &self.tickets.table[at as usize];
            assert!(entry.pool == pool.id && entry.number > number, "a queue is in order of request");
            let Stand::Waiting { urgent: pressed } = entry.stand else { panic!("only waiting tickets are queued") };
            urgent += u32::from(pressed);
            waiting += 1;
            (number, at) = (entry.number, entry.fifo.next);
        }
        assert_eq!((waiting, urgent), (pool.queue.len(), pool.queue.urgent), "a queue knows its length");
        let lanes: u32 = pool.lanes.iter().map(|lane| lane.waiters.len).sum();
        assert_eq!(lanes, waiting, "every waiter stands in one lane");
        if pool.lends() && waiting > 0 && !pool.chore {
            assert!(
                pool.counts.idle == 0 || self.guards(),
                "nobody waits while a connection is idle, but who is held back"
            );
        }
        assert!(!pool.empty() || self.tickets.uncovered(pool, 0).is_none(), "an empty pool has no waiter");
    }

    fn check_need(&self, pool: &Pool) {
        let needs = pool.queue.len() > 0 || pool.want() > 0;
        assert_eq!(needs, pool.needy != NONE, "pools that wait or want are listed");
        assert!(!needs || self.needy[pool.needy as usize] == pool.id, "the list of needy pools is well linked");
        assert_eq!(pool.spell.is_some(), pool.queue.len() > 0, "a limit binds exactly while somebody waits");
        if self.unfinished() {
            return;
        }
        if let Some(spell) = pool.spell {
            let room = self.verdict(pool);
            assert_eq!(spell.binding.limit, room.limit, "the binding limit is the argument of the minimum");
        }
        let able = pool.want() > 0 && pool.retry_at <= self.turn.now && self.room(pool).left > 0;
        assert!(!able || !self.pace.open(self.turn.now, 0), "a connect that is wanted and allowed is begun");
        let alarm = self.pool_alarms.at(pool.id.0);
        let due = self.first_patience(pool).min(pool.look);
        assert!(due == crate::Time::NEVER || alarm.is_some_and(|at| at <= due), "what is due has an alarm");
    }

    fn check_scope(&self, scope: &Scope, name: &str) {
        let pools = scope.pools.iter().map(|&id| &self.pools[id]);
        let sum = |count: fn(&Pool) -> u32| pools.clone().map(count).sum::<u32>();
        assert_eq!(scope.used, sum(|pool| pool.counts.counted()), "used connections of {name} are those of its pools");
        assert_eq!(scope.living, sum(Pool::living), "living connections of {name} are those of its pools");
        assert_eq!(scope.opening, sum(|pool| pool.counts.opening), "connects of {name} are those of its pools");
        assert_eq!(scope.ending, sum(|pool| pool.counts.ending), "ending connections of {name} are those of its pools");
    }

    fn check_scopes(&self) {
        self.check_scope(&self.slots.scopes.host, "the host");
        for (name, &index) in &self.slots.scopes.users.by_name {
            self.check_scope(self.slots.scopes.of(Of::User(index)), name);
        }
        for (name, &index) in &self.slots.scopes.databases.by_name {
            self.check_scope(self.slots.scopes.of(Of::Database(index)), name);
        }
        assert_eq!(self.slots.scopes.host.pools.len(), self.pools.iter().count(), "the host knows every pool");
    }

    fn check_tickets(&self) {
        let (mut granted, mut waiting) = (0, 0);
        for (index, entry) in self.tickets.table.iter().enumerate() {
            match entry.stand {
                Stand::Vacant => {}
                Stand::Waiting { .. } => waiting += 1,
                Stand::Granted(slot) => {
                    let state = self.slots.table[slot as usize].state;
                    assert_eq!(state, State::Lent { ticket: index as u32 }, "ticket and lease name each other");
                    granted += 1;
                }
            }
        }
        let lent: u32 = self.pools.iter().map(|pool| pool.counts.lent).sum();
        let queued: u32 = self.pools.iter().map(|pool| pool.queue.len()).sum();
        assert_eq!((granted, waiting), (lent, queued), "every ticket waits or is lent a connection");
        let tickets = (granted + waiting) as usize + self.tickets.free();
        assert_eq!(tickets, self.tickets.table.len(), "every other place is free for the next ticket");
        let slots = self.slots.scopes.host.used as usize + self.slots.free();
        assert_eq!(slots, self.slots.table.len(), "every place without a connection is free for the next one");
    }

    fn check_pace(&self) {
        let states = || self.slots.table.iter().map(|slot| slot.state);
        let in_flight = states().filter(|&state| state == State::Opening { stuck: false }).count();
        assert_eq!(self.pace.in_flight as usize, in_flight, "connects in flight are counted");
        let most = self.settings.connects_max.max(self.settings.connects_start).max(1);
        assert!(self.pace.allowed <= most, "pacing stays within its bounds");
        let evicting = states().filter(|state| matches!(state, State::Ending { reason: crate::CloseReason::Evicted }));
        assert_eq!(self.slots.evicting as usize, evicting.count(), "evictions under way are counted");
    }
}
