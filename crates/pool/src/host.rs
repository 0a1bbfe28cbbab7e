//! The host: all pools of one PostgreSQL server. This file holds what it is made of and hands each input to its place.
//!
//! Every call goes the same way: what is due by now, then the input, then what follows from both (`settle`).
//! It must not know: sockets, PostgreSQL's protocol, clocks, who watches it.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::Words;
use crate::checkout::Records;
use crate::pace::Pace;
use crate::pool::Pools;
use crate::queue::Tickets;
use crate::random::Random;
use crate::slot::Slots;
use crate::timer::Alarms;
use crate::turn::Turn;
use crate::{
    Action, ClassId, ConnectFailure, Event, Handled, HostSettings, HostSnapshot, Input, InputLog, PoolId, PoolKey,
    ServerFacts, Ticket, Time, Wake,
};

/// All pools of one PostgreSQL server.
///
/// Drain [`Host::poll_action`] and [`Host::poll_event`] after every call; both queues are reused.
#[derive(Clone, Debug)]
pub struct Host {
    pub(crate) settings: HostSettings,
    pub(crate) random: Random,
    /// The jitter of hints, apart, so that refusals change nothing else.
    pub(crate) hints: Random,
    pub(crate) turn: Turn,
    pub(crate) pools: Pools,
    pub(crate) by_key: BTreeMap<PoolKey, PoolId>,
    pub(crate) slots: Slots,
    pub(crate) tickets: Tickets,
    pub(crate) pace: Pace,
    /// What the pools' clocks and the events last said of the server.
    pub(crate) was_down: bool,
    /// The newest connect that got no answer.
    pub(crate) failure: Option<ConnectFailure>,
    pub(crate) slot_alarms: Alarms,
    pub(crate) ticket_alarms: Alarms,
    pub(crate) pool_alarms: Alarms,
    /// Pools in which somebody waits or that want a connection, in no order.
    pub(crate) needy: Vec<PoolId>,
    /// Pools in which something changed during this call.
    pub(crate) touched: Vec<PoolId>,
    /// Pools with work left over: waiters to refuse, connections to close, idle connections to lend.
    pub(crate) chores: BTreeSet<PoolId>,
    /// Something shared changed: look at every needy pool again.
    pub(crate) recount: bool,
    /// A shared limit was made smaller: close idle connections beyond it.
    pub(crate) trim: bool,
    /// The newest facts have not been compared with all ghosts yet; whether they tell of a restart.
    pub(crate) sweep: Option<bool>,
    /// Needy pools by age, a scratch list.
    pub(crate) order: Vec<(Time, u64, PoolId)>,
    pub(crate) words: Words,
    /// Classes that an operator sheds, and until when.
    pub(crate) shed: BTreeMap<ClassId, Time>,
    pub(crate) facts: Option<ServerFacts>,
    pub(crate) facts_seen: u64,
    pub(crate) moved: u64,
    pub(crate) evicted: u64,
    pub(crate) retired: (u64, u64, u64),
    pub(crate) log: Option<InputLog>,
    /// What became of requests, for who records them.
    pub(crate) records: Records,
}

impl Host {
    /// A host that obeys `settings`; `seed` feeds jitter and back-off and nothing else.
    #[must_use]
    pub fn new(settings: HostSettings, seed: u64) -> Self {
        let mut host = Self {
            pace: Pace::new(&settings),
            settings,
            random: Random::new(seed),
            hints: Random::new(!seed),
            turn: Turn::default(),
            pools: Pools::default(),
            by_key: BTreeMap::new(),
            slots: Slots::default(),
            tickets: Tickets::default(),
            was_down: false,
            failure: None,
            slot_alarms: Alarms::default(),
            ticket_alarms: Alarms::default(),
            pool_alarms: Alarms::default(),
            needy: Vec::new(),
            touched: Vec::new(),
            chores: BTreeSet::new(),
            recount: false,
            trim: false,
            sweep: None,
            order: Vec::new(),
            words: Words::default(),
            shed: BTreeMap::new(),
            facts: None,
            facts_seen: 0,
            moved: 0,
            evicted: 0,
            retired: (0, 0, 0),
            log: None,
            records: Records::default(),
        };
        host.size_scopes();
        host
    }

    /// Something happened at `now`. A `now` before the last one is taken for the last one.
    ///
    /// Makes at most 256 transitions; when more are due, `poll_timeout` answers at once.
    pub fn handle(&mut self, now: Time, input: Input) -> Handled {
        self.turn.begin(now);
        if let Some(log) = &mut self.log {
            log.note(self.turn.now, &input);
        }
        self.ring();
        let handled = match input {
            Input::Enter(key) => self.enter(key),
            Input::EnterAlone(key) => self.enter_alone(key),
            Input::Leave(pool) => self.leave(pool),
            Input::Checkout(request) => self.checkout(&request),
            Input::Checkin(conn, checkin) => self.checkin(conn, &checkin),
            Input::Cancel(ticket) => self.cancel(ticket),
            Input::Withdraw(ticket) => self.withdraw(ticket).0,
            Input::Opened(conn, Ok(opened)) => self.opened(conn, &opened),
            Input::Opened(conn, Err(failure)) => self.connect_failed(conn, failure),
            Input::Closed(conn, cause) => self.closed(conn, cause),
            Input::ResetDone(conn) => self.reset_done(conn),
            Input::Fence(conn) => self.fence(conn),
            Input::Unfence(conn) => self.unfence(conn),
            Input::Facts(facts) => self.learn(facts),
            Input::Apply(settings) => self.apply(*settings),
            Input::Admin(verb, name) => self.obey(verb, name),
            Input::Renew(user) => self.renew(&user),
            Input::Shed(class, until) => self.shed(class, until),
            Input::Timeout => Handled::Done,
        };
        self.settle();
        handled
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.turn.actions.pop_front()
    }

    /// The next thing that became true.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.turn.events.pop_front()
    }

    /// When to call `handle(now, Input::Timeout)`, and why. It may turn out that nothing was to be done yet:
    /// alarms are not moved for each transaction, they are looked at again when they ring.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, Wake)> {
        if self.unfinished() {
            return Some((self.turn.now, Wake::Upkeep));
        }
        let alarms = [&self.slot_alarms, &self.ticket_alarms, &self.pool_alarms];
        alarms.into_iter().filter_map(Alarms::first).min_by_key(|&(at, _)| at)
    }

    /// What it knows, brought up to `now`.
    #[must_use]
    pub fn snapshot(&self, now: Time) -> HostSnapshot {
        self.view(now.max(self.turn.now))
    }

    /// What it would know at `now` under other settings: a copy obeys them, and nothing changes here. What takes time has not
    /// happened in the copy: connects that would be begun are under way, connections that would be closed are there.
    #[must_use]
    pub fn rehearse(&self, now: Time, settings: HostSettings) -> HostSnapshot {
        let mut copy = self.clone();
        copy.log = None;
        copy.handle(now, Input::Apply(Box::new(settings)));
        copy.snapshot(now)
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &HostSettings {
        &self.settings
    }

    /// The name of a pool, unless it was retired.
    #[must_use]
    pub fn pool_key(&self, pool: PoolId) -> Option<&PoolKey> {
        self.pools.find(pool).map(|pool| &pool.key)
    }

    /// How many requests wait in a pool; none in a retired one.
    #[must_use]
    pub fn waiting(&self, pool: PoolId) -> u32 {
        self.pools.find(pool).map_or(0, |pool| pool.queue.len())
    }

    /// The class of a request, while it waits or its lease lasts.
    #[must_use]
    pub fn class(&self, ticket: Ticket) -> Option<ClassId> {
        self.tickets.find(ticket).map(|index| self.tickets.table[index as usize].class)
    }

    /// Whether no connection is counted and nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.scopes.host.used == 0 && self.pools.iter().all(|pool| pool.queue.len() == 0)
    }

    /// Whether a drain of the whole host has ended: nothing is opening, idle, lent, resetting, fenced or ending,
    /// and nobody waits. Ghosts are not waited for.
    #[must_use]
    pub fn drained(&self) -> bool {
        let host = &self.slots.scopes.host;
        self.words.all.draining
            && host.living == 0
            && host.ending == 0
            && self.pools.iter().all(|pool| pool.queue.len() == 0)
    }

    /// Notes every input from now on, `capacity` of them at most; with the same settings and seed they give the
    /// same actions and events. Off by default. To be called before the first input.
    pub fn record(&mut self, capacity: usize) {
        self.log = Some(InputLog::new(capacity));
    }

    /// What was recorded.
    #[must_use]
    pub fn log(&self) -> Option<&InputLog> {
        self.log.as_ref()
    }
}
