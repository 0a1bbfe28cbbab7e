//! What all loops share: the hosts' cores, each behind one short lock, and the mailboxes.
//!
//! Whoever gives a host an input drains its actions in the same critical section, into the mailboxes of those who must act.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use poolwarden_pool::{
    Action, Event, Handled, Host, HostId, HostSettings, HostSnapshot, Input, LoopId, PoolId, PoolKey, Ticket, Time,
    Verb,
};
use poolwarden_relay::{Defaults, Keep, Settings};

use crate::ended::Tenants;
use crate::hosts::Hosts;
use crate::idle::{Idler, Idlers};
use crate::io::Target;
use crate::keys::Keys;
use crate::mail::{Asker, Errand, Mail};
use crate::passage::{Passage, Passages};
use crate::patience::rounds;
use crate::proof::Proofs;
use crate::secret::Secret;
use crate::terms::{PoolTerms, TermsBook};

/// Events kept until somebody takes them; older ones are dropped and counted (10,000 changes of state take a minute of trouble).
const MAX_EVENTS: usize = 10_000;

/// What all loops know of one pool.
#[derive(Debug)]
pub struct PoolShare {
    /// Its host.
    pub host: HostId,
    /// Its id there.
    pub id: PoolId,
    /// Its name.
    pub key: PoolKey,
    /// A small number, unique in the process, for the loops' own tables.
    pub number: usize,
    waiting: AtomicU32,
    terms: Mutex<Arc<PoolTerms>>,
    /// What the one client of a pool of its own wants its connection started with.
    alone: Mutex<Option<Vec<(String, String)>>>,
    welcome: Mutex<Option<Arc<Defaults>>>,
    proofs: Mutex<Proofs>,
}

impl PoolShare {
    /// Whether a request waits in this pool now (a moment ago, seen from another loop).
    #[must_use]
    pub fn others_wait(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Its rules now.
    #[must_use]
    pub fn terms(&self) -> Arc<PoolTerms> {
        held(&self.terms).clone()
    }

    /// Whether it serves one client, whose connection nobody else gets.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        held(&self.alone).is_some()
    }

    /// New rules, from the next lease on.
    fn retune(&self, mut terms: PoolTerms) {
        if let Some(own) = &*held(&self.alone) {
            terms.keep = Keep::Tunnel;
            terms.startup.retain(|(name, _)| own.iter().all(|(other, _)| !other.eq_ignore_ascii_case(name)));
            terms.startup.extend(own.iter().cloned());
        }
        *held(&self.terms) = Arc::new(terms);
    }

    /// What a new client is told of the server, once known.
    #[must_use]
    pub fn welcome(&self) -> Option<Arc<Defaults>> {
        held(&self.welcome).clone()
    }

    /// A new connection reported these; equal ones are shared.
    pub fn learn(&self, reported: Defaults) -> Arc<Defaults> {
        let mut welcome = held(&self.welcome);
        match welcome.as_ref() {
            Some(known) if **known == reported => known.clone(),
            Some(_) | None => {
                self.doubt();
                welcome.insert(Arc::new(reported)).clone()
            }
        }
    }

    /// What a client that asks for these settings is told without a server being asked: the defaults, and how it differs from them.
    pub(crate) fn known(&self, asked: &Settings) -> Option<(Arc<Defaults>, Settings)> {
        let defaults = self.welcome()?;
        let settings = held(&self.proofs).known(asked, &defaults)?;
        Some((defaults, settings))
    }

    /// A server with these defaults has taken the settings `asked` and has now `made` of them.
    pub(crate) fn prove(&self, asked: &Settings, made: &Settings, defaults: &Defaults) {
        held(&self.proofs).note(asked, made, defaults);
    }

    /// The servers have changed, or one has refused what another took: nothing is known of settings any more.
    pub(crate) fn doubt(&self) {
        *held(&self.proofs) = Proofs::default();
    }
}

/// What came out of a core, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tapped {
    /// Something to be done.
    Action(Action),
    /// Something that became true.
    Event(Event),
}

/// The hosts and the mailboxes.
pub struct Shared<L> {
    pub(crate) hosts: Hosts,
    loops: Vec<Mutex<Vec<Mail<L>>>>,
    lane: Mutex<Vec<Errand>>,
    book: Mutex<Arc<TermsBook>>,
    /// How often there was a new book, from 1.
    book_number: AtomicU32,
    /// Nanoseconds between the loops' rounds that hold clients to their time limits; 0: there are none.
    rounds: AtomicU64,
    numbers: AtomicU32,
    serials: AtomicU64,
    keys: Mutex<Keys>,
    pub(crate) passages: Passages,
    pub(crate) idlers: Idlers,
    pub(crate) tenants: Tenants,
}

/// What one caller carries from input to input: actions for itself, and whom it has to wake.
#[derive(Debug, Default)]
pub struct Desk {
    /// The loop this is, if it is one.
    pub me: Option<LoopId>,
    /// Actions for this loop, in order.
    pub actions: VecDeque<(HostId, Action)>,
    /// Whom to wake.
    pub wakes: Vec<Target>,
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A lock of ours is never poisoned by a panic that matters: the release build aborts on panic, tests end.
pub(crate) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<L> Shared<L> {
    /// Hosts that obey `settings` and `seed`, and mailboxes for `loops` loops.
    #[must_use]
    pub fn new(settings: Vec<HostSettings>, seed: u64, loops: u16, book: TermsBook) -> Self {
        Self {
            hosts: Hosts::new(settings, seed),
            loops: (0..loops).map(|_| Mutex::new(Vec::new())).collect(),
            lane: Mutex::new(Vec::new()),
            rounds: AtomicU64::new(nanos(rounds(book.shortest()))),
            book: Mutex::new(Arc::new(book)),
            book_number: AtomicU32::new(1),
            numbers: AtomicU32::new(0),
            serials: AtomicU64::new(1),
            passages: Passages::default(),
            idlers: Idlers::default(),
            tenants: Tenants::default(),
            keys: Mutex::default(),
        }
    }

    /// Whether somebody listens to who comes, goes and is refused.
    pub fn listen(&self, listening: bool) {
        self.passages.listen(listening);
    }

    /// Who came, went and was refused since the last look, oldest first, and how many more.
    pub fn passages(&self) -> (VecDeque<Passage>, u64) {
        self.passages.take()
    }

    /// Whose transactions were found idle since the last look, oldest first.
    pub fn idlers(&self) -> Vec<Idler> {
        self.idlers.take()
    }

    /// How many loops there are.
    #[must_use]
    pub fn loops(&self) -> usize {
        self.loops.len()
    }

    /// Every host there is or was.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> {
        self.hosts.all().map(|(host, _)| host)
    }

    /// A host more, unless there is one of this id already; whether there was none. Ids reach up to [`HostId::MOST`].
    pub fn add(&self, host: HostId, settings: HostSettings) -> bool {
        self.hosts.add(host, settings)
    }

    /// A number never given before.
    pub fn serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    /// Gives `input` to a host. Its actions go to `desk` where they are the desk's own, to mailboxes where they are others';
    /// the desk also learns whom to wake.
    pub fn drive(&self, now: Time, host: HostId, input: Input, desk: &mut Desk) -> Handled {
        self.drive_for(now, host, None, input, desk)
    }

    /// Like `drive`, for an input that concerns one pool: publishes whether anybody waits there now.
    pub fn drive_pool(&self, now: Time, pool: &PoolShare, input: Input, desk: &mut Desk) -> Handled {
        self.drive_for(now, pool.host, Some(pool), input, desk)
    }

    fn drive_for(&self, now: Time, host: HostId, pool: Option<&PoolShare>, input: Input, desk: &mut Desk) -> Handled {
        let Some(cell) = self.hosts.find(host) else { return Handled::Stale };
        let mut cell = held(cell);
        let cell = &mut *cell;
        cell.last = cell.last.max(now);
        if let Input::Admin(Verb::Reconnect | Verb::Kill, database) = &input {
            let meant = |pool: &&Arc<PoolShare>| database.as_ref().is_none_or(|name| *name == pool.key.database);
            cell.pools.values().filter(meant).for_each(|pool| pool.doubt());
        }
        let handled = cell.host.handle(cell.last, input);
        while let Some(action) = cell.host.poll_action() {
            if let Some(tap) = &mut cell.tap {
                tap.push(Tapped::Action(action.clone()));
            }
            self.route(host, action, desk);
        }
        while let Some(event) = cell.host.poll_event() {
            if let Some(tap) = &mut cell.tap {
                tap.push(Tapped::Event(event.clone()));
            }
            if cell.events.len() == MAX_EVENTS {
                cell.events.pop_front();
                cell.dropped += 1;
            }
            cell.events.push_back(event);
        }
        if let Some(pool) = pool {
            pool.waiting.store(cell.host.waiting(pool.id), Ordering::Relaxed);
        }
        let next = cell.host.poll_timeout().map_or(Time::NEVER, |(at, _)| at);
        if next < cell.wake_at {
            cell.wake_at = next;
            desk.wake(Target::Clock);
        }
        handled
    }

    fn route(&self, host: HostId, action: Action, desk: &mut Desk) {
        let target = match &action {
            Action::Open { conn, pool, near } => {
                let errand = Errand::Open { host, conn: *conn, pool: *pool, near: *near };
                return self.errand(errand, desk);
            }
            Action::Grant { from, .. } => *from,
            Action::Refuse { to, .. } => *to,
            Action::Close { home, .. } | Action::Forget { home, .. } | Action::Reset { home, .. } => *home,
        };
        if desk.me == Some(target) {
            desk.actions.push_back((host, action));
        } else {
            self.post(target, Mail::Act(host, action), desk);
        }
    }

    /// Puts a message into a loop's mailbox.
    pub fn post(&self, to: LoopId, mail: Mail<L>, desk: &mut Desk) {
        if let Some(mailbox) = self.loops.get(usize::from(to.0)) {
            held(mailbox).push(mail);
            desk.wake(Target::Loop(to));
        }
    }

    /// A cancel request with this key came in: the loop of the client that may be meant gets it, and knows whether the key is right.
    pub fn cancel(&self, pid: u32, secret: Secret, asker: Option<Box<Asker<L>>>, desk: &mut Desk) {
        let told = held(&self.keys).find(pid, &secret);
        let (to, place) = told.unwrap_or_else(|| crate::cancel::place_of(pid));
        self.post(to, Mail::Cancel { place, secret, asker }, desk);
    }

    /// A client was told its server connection's own number.
    pub(crate) fn add_key(&self, pid: u32, secret: Secret, at: (LoopId, u32)) -> bool {
        held(&self.keys).add(pid, secret, at)
    }

    /// That client is gone.
    pub(crate) fn remove_key(&self, pid: u32, secret: &Secret) {
        held(&self.keys).remove(pid, secret);
    }

    /// Puts work before the lane.
    pub fn errand(&self, errand: Errand, desk: &mut Desk) {
        held(&self.lane).push(errand);
        desk.wake(Target::Lane);
    }

    /// All messages for a loop, oldest first.
    pub fn mail(&self, of: LoopId) -> Vec<Mail<L>> {
        self.loops.get(usize::from(of.0)).map(|mailbox| std::mem::take(&mut *held(mailbox))).unwrap_or_default()
    }

    /// All work for the lane, oldest first.
    pub fn errands(&self) -> Vec<Errand> {
        std::mem::take(&mut *held(&self.lane))
    }

    /// The earliest moment at which `clock` must be called.
    pub fn next_timeout(&self) -> Time {
        self.hosts.all().map(|(_, cell)| held(cell).wake_at).min().unwrap_or(Time::NEVER)
    }

    /// Gives their time-outs to the hosts whose moment has come; returns the next moment.
    pub fn clock(&self, now: Time, desk: &mut Desk) -> Time {
        for (host, cell) in self.hosts.all() {
            let due = held(cell).wake_at <= now;
            if due {
                held(cell).wake_at = Time::NEVER;
                self.drive(now, host, Input::Timeout, desk);
            }
        }
        self.next_timeout()
    }

    /// The pool of this id, as all loops know it.
    pub fn pool(&self, host: HostId, id: PoolId) -> Option<Arc<PoolShare>> {
        let mut cell = held(self.hosts.find(host)?);
        if let Some(pool) = cell.pools.get(&id) {
            return Some(pool.clone());
        }
        let key = cell.host.pool_key(id)?.clone();
        let terms = held(&self.book).terms(&key);
        let pool = Arc::new(PoolShare {
            host,
            id,
            key,
            number: self.numbers.fetch_add(1, Ordering::Relaxed) as usize,
            waiting: AtomicU32::new(0),
            terms: Mutex::new(Arc::new(terms)),
            alone: Mutex::default(),
            welcome: Mutex::new(None),
            proofs: Mutex::default(),
        });
        cell.pools.insert(id, pool.clone());
        Some(pool)
    }

    /// The terms of every pool now.
    pub(crate) fn book(&self) -> Arc<TermsBook> {
        held(&self.book).clone()
    }

    /// Another number whenever the rules are others.
    #[inline]
    pub(crate) fn rules_number(&self) -> u32 {
        self.book_number.load(Ordering::Acquire)
    }

    /// How long clients of a pool of this name keep a connection.
    pub(crate) fn keep(&self, key: &PoolKey) -> Keep {
        held(&self.book).terms(key).keep
    }

    /// The pool of a client that wants a connection for itself alone, started with these parameters.
    pub(crate) fn alone(&self, host: HostId, id: PoolId, startup: Vec<(String, String)>) -> Option<Arc<PoolShare>> {
        let pool = self.pool(host, id)?;
        *held(&pool.alone) = Some(startup);
        let book = held(&self.book).clone();
        pool.retune(book.terms(&pool.key));
        Some(pool)
    }

    /// New terms for every pool, from its next lease on.
    pub fn retune(&self, book: TermsBook) {
        self.rounds.store(nanos(rounds(book.shortest())), Ordering::Relaxed);
        let book = Arc::new(book);
        *held(&self.book) = book.clone();
        for (_, cell) in self.hosts.all() {
            for pool in held(cell).pools.values() {
                pool.retune(book.terms(&pool.key));
            }
        }
        self.book_number.fetch_add(1, Ordering::Release); // who sees it finds the rest done
    }

    /// Time between two rounds that hold clients to their limits; zero while there are none.
    pub(crate) fn rounds(&self) -> Duration {
        Duration::from_nanos(self.rounds.load(Ordering::Relaxed))
    }

    /// Whether this ticket still waits or has its lease.
    pub(crate) fn leases(&self, host: HostId, ticket: Ticket) -> bool {
        self.hosts.find(host).is_some_and(|cell| held(cell).host.class(ticket).is_some())
    }

    /// What a host knows now.
    pub fn snapshot(&self, now: Time, host: HostId) -> Option<HostSnapshot> {
        let cell = held(self.hosts.find(host)?);
        Some(cell.host.snapshot(cell.last.max(now)))
    }

    /// What a host would know now under other settings, see [`Host::rehearse`]. The copy is made under the lock and used outside.
    pub fn rehearse(&self, now: Time, host: HostId, settings: HostSettings) -> Option<HostSnapshot> {
        let (copy, last) = {
            let cell = held(self.hosts.find(host)?);
            (cell.host.clone(), cell.last)
        };
        Some(copy.rehearse(last.max(now), settings))
    }

    /// How many requests wait on a host. Cheap enough to be asked several times a second.
    pub fn waiting(&self, host: HostId) -> u32 {
        let Some(cell) = self.hosts.find(host) else { return 0 };
        let cell = held(cell);
        cell.pools.keys().map(|id| cell.host.waiting(*id)).sum()
    }

    /// Whether a draining host has nothing left.
    pub fn is_drained(&self) -> bool {
        self.hosts.all().all(|(_, cell)| held(cell).host.drained())
    }

    /// Takes the events of a host, oldest first, and how many were dropped for want of room.
    pub fn events(&self, host: HostId) -> (VecDeque<Event>, u64) {
        let Some(cell) = self.hosts.find(host) else { return Default::default() };
        let mut cell = held(cell);
        (std::mem::take(&mut cell.events), std::mem::take(&mut cell.dropped))
    }

    /// Keeps everything that comes out of a host's core from now on, without bound: for tests and the simulation, which compare it with a replay.
    pub fn tap(&self, host: HostId) {
        if let Some(cell) = self.hosts.find(host) {
            held(cell).tap = Some(Vec::new());
        }
    }

    /// What was kept since `tap`.
    pub fn tapped(&self, host: HostId) -> Vec<Tapped> {
        self.hosts.find(host).and_then(|cell| held(cell).tap.clone()).unwrap_or_default()
    }

    /// Runs `look` on a host's core under its lock (tests and the simulation check its invariants).
    pub fn inspect<R>(&self, host: HostId, look: impl FnOnce(&mut Host) -> R) -> Option<R> {
        Some(look(&mut held(self.hosts.find(host)?).host))
    }
}

impl Desk {
    /// A desk of loop `me`, or of somebody beside the loops.
    #[must_use]
    pub fn new(me: Option<LoopId>) -> Self {
        Self { me, ..Self::default() }
    }

    fn wake(&mut self, target: Target) {
        if !self.wakes.contains(&target) {
            self.wakes.push(target);
        }
    }
}
