//! A random world around the core and the model: clients, connects, failures, ghosts, facts, settings, operators.
//!
//! Both get the same inputs; what they do must be the same at every step.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_pool::{
    Action, Checkin, ClassId, ConnId, ConnectFailure, DatabaseSettings, EndCause, Event, Failure, Fitness, Handled,
    Host, HostSettings, Input, Limit, LoopId, Opened, Phases, PoolId, PoolKey, Refusal, Request, ServerFacts, Ticket,
    Time, UserSettings, Verb,
};

use crate::model::{Model, NEVER, No, Out, S, Told};

/// Steps in one life of a host; a drain ends it well, the next one begins with other settings.
const LIFE: u64 = 20_000;

/// Plays `steps` steps from `seed`; panics where core and model differ.
pub(crate) fn compare(steps: u64, seed: u64) {
    let mut dice = Dice(seed);
    let mut done = 0;
    while done < steps {
        let life = LIFE.min(steps - done);
        let born = dice.next();
        World::new(born).live(life, &format!("seed {seed}, life {born}"));
        done += life;
    }
}

/// Plays `steps` steps from `seed`, then the recorded inputs once more on a new host: it must do the same.
pub(crate) fn replay(steps: u64, seed: u64) {
    let mut world = World::new(seed);
    world.core.record(usize::MAX);
    world.live(steps, &format!("seed {seed}"));
    let (settings, inner) = world.born;
    let mut again = Host::new(settings, inner);
    let log = world.core.log().expect("it records");
    assert!(!log.full() && log.entries().len() as u64 == world.step, "every input is in the log");
    for ((now, input), before) in log.entries().iter().zip(&world.told) {
        let handled = again.handle(*now, input.clone());
        assert_eq!((handled, drain(&mut again)), *before, "at {now:?}, {input:?}");
    }
}

/// All actions and events, in their order.
fn drain(host: &mut Host) -> (Vec<Action>, Vec<Event>) {
    let actions = std::iter::from_fn(|| host.poll_action()).collect();
    (actions, std::iter::from_fn(|| host.poll_event()).collect())
}

/// xorshift64*, apart from the core's own generator.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, most: u64) -> u64 {
        (self.next() >> 11) % most
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        if items.is_empty() { None } else { Some(items[self.below(items.len() as u64) as usize]) }
    }
}

struct World {
    dice: Dice,
    core: Host,
    model: Model,
    /// Settings and seed of both.
    born: (HostSettings, u64),
    /// What the core told and did, call by call, where it records.
    told: Vec<(Handled, (Vec<Action>, Vec<Event>))>,
    now: u64,
    step: u64,
    /// Connections by the core's name, as the model numbers them; names of gone ones stay in `past`.
    conns: BTreeMap<ConnId, usize>,
    names: BTreeMap<usize, ConnId>,
    past: Vec<ConnId>,
    tickets: BTreeMap<Ticket, u64>,
    ticket_names: BTreeMap<u64, Ticket>,
    next_pid: u32,
    start_time: u64,
    /// How bad connects go now, in percent.
    bad: u64,
    history: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let settings = settings(&mut dice);
        let inner = dice.next();
        Self {
            core: Host::new(settings.clone(), inner),
            model: Model::new(settings.clone(), inner),
            born: (settings, inner),
            told: vec![],
            dice,
            now: 0,
            step: 0,
            conns: BTreeMap::new(),
            names: BTreeMap::new(),
            past: vec![],
            tickets: BTreeMap::new(),
            ticket_names: BTreeMap::new(),
            next_pid: 1,
            start_time: 1,
            bad: 0,
            history: vec![],
        }
    }

    fn live(&mut self, steps: u64, name: &str) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while self.step < steps {
                self.stride();
            }
        }));
        if let Err(panic) = outcome {
            let last = self.history.len().saturating_sub(25);
            eprintln!("{name}, step {}:\n{}", self.step, self.history[last..].join("\n"));
            std::panic::resume_unwind(panic);
        }
    }

    /// Time passes, with every timeout at its own moment; then something happens.
    fn stride(&mut self) {
        let ms = 1_000_000;
        let span = match self.dice.below(100) {
            0..70 => self.dice.below(3 * ms),
            70..96 => self.dice.below(60 * ms),
            96..99 => self.dice.below(1500 * ms),
            _ => self.dice.below(8000 * ms),
        };
        let until = self.now + 1 + span;
        while let Some((due, _)) = self.core.poll_timeout()
            && due.as_nanos() <= until
        {
            self.now = self.now.max(due.as_nanos());
            self.play(Input::Timeout);
        }
        self.now = until;
        let input = self.invent();
        self.play(input);
    }

    fn play(&mut self, input: Input) {
        self.step += 1;
        if self.history.len() > 200 {
            self.history.drain(..150);
        }
        self.history.push(format!("{} {input:?}", self.now));
        let queued = matches!(input, Input::Checkout(_));
        let told = self.tell_model(&input);
        let handled = self.core.handle(Time::from_nanos(self.now), input);
        if let (Handled::Queued(ticket), Told::Queued(number), true) = (&handled, &told, queued) {
            self.tickets.insert(*ticket, *number);
            self.ticket_names.insert(*number, *ticket);
        }
        let mut want = self.model.take();
        self.history.push(format!("    {told:?} {want:?}"));
        let (actions, events) = drain(&mut self.core);
        if self.core.log().is_some() {
            self.told.push((handled.clone(), (actions.clone(), events.clone())));
        }
        let mut got = self.outputs(&want, &actions, &events);
        assert_eq!(self.read(&handled), told, "what is told at once");
        got.sort();
        want.sort();
        assert_eq!(got, want, "actions and events");
        self.forget();
        self.core.check_invariants();
        if self.step % 16 == 0 {
            self.compare_books();
        }
    }

    /// The core's actions and events, in the model's words; connections are opened in the same order by both.
    fn outputs(&mut self, want: &[Out], actions: &[Action], events: &[Event]) -> Vec<Out> {
        let mut opened = want.iter().filter_map(|out| if let Out::Open(at, ..) = out { Some(*at) } else { None });
        let (mut out, mut born) = (vec![], vec![]);
        for action in actions {
            if let Action::Open { pool, near, conn } = action {
                let at = opened.next().expect("the core opens a connection that the model does not");
                born.push((*conn, at));
                out.push(Out::Open(at, pool.0 as usize, near.0));
            } else {
                // What is told of a connection that went in this very step is told under its old name.
                out.push(self.action(action));
            }
        }
        out.extend(events.iter().map(|event| self.event(event)));
        for (conn, at) in born {
            if let Some(old) = self.names.insert(at, conn) {
                self.conns.remove(&old);
                self.past.push(old);
            }
            self.conns.insert(conn, at);
        }
        out
    }

    fn at(&self, conn: ConnId) -> usize {
        *self.conns.get(&conn).expect("the core names connections that it opened")
    }

    fn action(&self, action: &Action) -> Out {
        match action {
            Action::Open { .. } => unreachable!("opens are read apart"),
            Action::Close { conn, home, reason } => Out::Close(self.at(*conn), home.0, *reason),
            Action::Forget { conn, home } => Out::Forget(self.at(*conn), home.0),
            Action::Reset { conn, home } => Out::Reset(self.at(*conn), home.0),
            Action::Grant { ticket, conn, from, to, waited } => {
                Out::Grant(self.tickets[ticket], self.at(*conn), from.0, to.0, waited.as_nanos() as u64)
            }
            Action::Refuse { ticket, refusal, .. } => Out::Refuse(self.tickets[ticket], no(refusal)),
        }
    }

    fn event(&self, event: &Event) -> Out {
        let pool = |id: &PoolId| id.0 as usize;
        match event {
            Event::PoolMade(id, _) => Out::Made(pool(id)),
            Event::PoolRetired(id) => Out::Retired(pool(id)),
            Event::Waiting { pool: id, limit, size, used } => Out::Waiting(pool(id), *limit, *size, *used),
            Event::Binding { pool: id, limit, size, used } => Out::Binding(pool(id), *limit, *size, *used),
            Event::Cleared { pool: id, lasted, granted, refused } => {
                Out::Cleared(pool(id), lasted.as_nanos() as u64, *granted, *refused)
            }
            Event::Connected(id, conn) => Out::Connected(pool(id), self.at(*conn)),
            Event::ConnectFailed(id, _) => Out::ConnectFailed(pool(id)),
            Event::ServerDown => Out::Down,
            Event::ServerUp => Out::Up,
            Event::Gone(id, conn, reason) => Out::Gone(pool(id), self.at(*conn), *reason),
            Event::Ghost(id, conn) => Out::Ghost(pool(id), self.at(*conn)),
            Event::Applied => Out::Applied,
            Event::Paused(id, paused) => Out::Paused(pool(id), *paused),
        }
    }

    fn read(&self, handled: &Handled) -> Told {
        match handled {
            Handled::Done => Told::Done,
            Handled::Entered(id) => Told::Entered(id.0 as usize),
            Handled::Queued(ticket) => Told::Queued(self.tickets[ticket]),
            Handled::Refused(refusal) => Told::Refused(no(refusal)),
            Handled::Cancelled => Told::Cancelled,
            Handled::AlreadyGranted(conn) => Told::AlreadyGranted(self.at(*conn)),
            Handled::Stale => Told::Stale,
        }
    }

    /// Keeps the maps small: old tickets are forgotten but for a few, to be stale with.
    fn forget(&mut self) {
        if self.ticket_names.len() > 2000 {
            let keep: Vec<u64> = self.ticket_names.keys().rev().take(1000).copied().collect();
            let oldest = keep.last().copied().unwrap_or(0);
            self.ticket_names.retain(|&number, _| number >= oldest);
            self.tickets.retain(|_, number| *number >= oldest);
        }
        if self.past.len() > 100 {
            self.past.drain(..50);
        }
    }

    /// The same input, to the model.
    fn tell_model(&mut self, input: &Input) -> Told {
        let model = &mut self.model;
        model.due(self.now);
        let at = |conn: &ConnId| self.conns.get(conn).copied();
        let told = match input {
            Input::Enter(key) => model.enter(key.clone()),
            Input::Leave(id) => model.leave(id.0 as usize),
            Input::Checkout(request) => model.checkout(request.pool.0 as usize, request),
            Input::Checkin(conn, checkin) => at(conn).map_or(Told::Stale, |at| model.checkin(at, checkin)),
            Input::Cancel(ticket) => self.tickets.get(ticket).map_or(Told::Stale, |&number| model.cancel(number)),
            Input::Opened(conn, Ok(opened)) => at(conn).map_or(Told::Stale, |at| model.opened(at, opened)),
            Input::Opened(conn, Err(failure)) => {
                at(conn).map_or(Told::Stale, |at| model.connect_failed(at, failure.kind))
            }
            Input::Closed(conn, cause) => at(conn).map_or(Told::Stale, |at| model.closed(at, *cause)),
            Input::ResetDone(conn) => at(conn).map_or(Told::Stale, |at| model.reset_done(at)),
            Input::Fence(conn) => at(conn).map_or(Told::Stale, |at| model.fence(at)),
            Input::Unfence(conn) => at(conn).map_or(Told::Stale, |at| model.unfence(at)),
            Input::Facts(facts) => model.learn(facts.clone()),
            Input::Apply(settings) => model.apply((**settings).clone()),
            Input::Admin(verb, name) => model.admin(*verb, name.clone()),
            Input::Timeout => Told::Done,
        };
        model.settle();
        told
    }

    /// What happens next.
    fn invent(&mut self) -> Input {
        let roll = self.dice.below(1000);
        match roll {
            0..330 => self.checkout(),
            330..560 => self.checkin(),
            560..740 => self.connect_ends(),
            740..800 => self.end_seen(),
            800..840 => self.cancel(),
            840..870 => self.client(),
            870..900 => self.reset(),
            900..930 => self.fence(),
            930..960 => self.socket_ends(),
            960..975 => self.facts(),
            975..983 => {
                self.bad = [0, 0, 10, 90][self.dice.below(4) as usize];
                Input::Timeout
            }
            983..990 => Input::Apply(Box::new(settings(&mut self.dice))),
            990..999 => self.operator(),
            _ => self.stale(),
        }
    }

    fn pool(&mut self) -> Option<usize> {
        let pools: Vec<usize> = (0..self.model.pools.len()).filter(|&at| !self.model.pools[at].retired).collect();
        self.dice.of(&pools)
    }

    fn client(&mut self) -> Input {
        let pool = self.pool();
        if let Some(pool) = pool.filter(|_| self.dice.chance(50)) {
            return Input::Leave(PoolId(pool as u32));
        }
        let names: &[&str] = if self.dice.chance(15) { &["x1", "x2", "x3"] } else { &["a", "b", "c"] };
        let (database, user) = (self.dice.of(names), self.dice.of(&["u", "v"]));
        Input::Enter(PoolKey { database: database.expect("names").to_owned(), user: user.expect("names").to_owned() })
    }

    fn checkout(&mut self) -> Input {
        let Some(pool) = self.pool() else { return self.client() };
        if self.model.pools[pool].queue.len() > 12 {
            return self.checkin();
        }
        let deadline = match self.dice.below(10) {
            0 => self.now + self.dice.below(100_000_000),
            1 => self.now + self.dice.below(2_000_000_000),
            _ => NEVER,
        };
        Input::Checkout(Request {
            pool: PoolId(pool as u32),
            class: ClassId(0),
            deadline: Time::from_nanos(deadline),
            home: LoopId(self.dice.below(3) as u16),
            flavor: self.dice.below(3),
        })
    }

    fn conn(&mut self, fits: impl Fn(S) -> bool) -> Option<ConnId> {
        let fitting: Vec<usize> = (0..self.model.conns.len()).filter(|&at| fits(self.model.conns[at].state)).collect();
        self.dice.of(&fitting).map(|at| self.names[&at])
    }

    fn checkin(&mut self) -> Input {
        let Some(conn) = self.conn(|state| matches!(state, S::Lent(_))) else { return self.connect_ends() };
        let fitness = match self.dice.below(20) {
            0 => Fitness::Broken,
            1..4 => Fitness::NeedsReset,
            _ => Fitness::Clean,
        };
        let home = LoopId(self.model.conns[self.conns[&conn]].home);
        let flavor = self.dice.below(3);
        Input::Checkin(conn, Checkin { fitness, flavor, home, phases: Phases::default() })
    }

    fn connect_ends(&mut self) -> Input {
        let Some(conn) = self.conn(|state| matches!(state, S::Opening { .. })) else { return self.checkout_or_wait() };
        if !self.dice.chance(self.bad.max(3)) {
            self.next_pid += 1;
            let pid = self.dice.chance(90).then_some(self.next_pid);
            let home = LoopId(self.dice.below(3) as u16);
            return Input::Opened(conn, Ok(Opened { home, flavor: self.dice.below(3), pid }));
        }
        let kind = match self.dice.below(20) {
            0 => Failure::Capacity(Limit::PgRole),
            1 => Failure::Capacity(Limit::PgDatabase),
            2 => Failure::Capacity(Limit::PgSlots),
            3 => Failure::Password { configured: self.dice.chance(30) },
            4 => Failure::Database,
            _ => Failure::Down,
        };
        Input::Opened(conn, Err(ConnectFailure { kind, sqlstate: *b"08006", message: "no".into() }))
    }

    fn checkout_or_wait(&mut self) -> Input {
        if self.dice.chance(50) { self.checkout_once() } else { Input::Timeout }
    }

    fn checkout_once(&mut self) -> Input {
        match self.pool() {
            Some(pool) if self.model.pools[pool].queue.len() <= 12 => Input::Checkout(Request {
                pool: PoolId(pool as u32),
                class: ClassId(0),
                deadline: Time::NEVER,
                home: LoopId(0),
                flavor: 0,
            }),
            Some(_) | None => Input::Timeout,
        }
    }

    fn end_seen(&mut self) -> Input {
        let Some(conn) = self.conn(|state| matches!(state, S::Ending(_) | S::Ghost(..))) else {
            return self.checkin();
        };
        let cause = if self.dice.chance(10) { EndCause::Failed } else { EndCause::Eof };
        Input::Closed(conn, cause)
    }

    fn cancel(&mut self) -> Input {
        let waiting: Vec<u64> = self.model.pools.iter().flat_map(|p| p.queue.iter().map(|wait| wait.number)).collect();
        let known: Vec<u64> = self.ticket_names.keys().copied().collect();
        let number = if self.dice.chance(70) { self.dice.of(&waiting) } else { self.dice.of(&known) };
        match number.and_then(|number| self.ticket_names.get(&number)) {
            Some(&ticket) => Input::Cancel(ticket),
            None => Input::Timeout,
        }
    }

    fn reset(&mut self) -> Input {
        let Some(conn) = self.conn(|state| state == S::Resetting) else { return self.checkin() };
        if self.dice.chance(80) {
            return Input::ResetDone(conn);
        }
        let checkin = Checkin { fitness: Fitness::Broken, flavor: 0, home: LoopId(0), phases: Phases::default() };
        Input::Checkin(conn, checkin)
    }

    fn fence(&mut self) -> Input {
        let fenced: Vec<usize> = (0..self.model.conns.len())
            .filter(|&at| self.model.conns[at].fences > 0 && self.model.conns[at].state != S::Gone)
            .collect();
        match self.dice.of(&fenced) {
            Some(at) if self.dice.chance(75) => Input::Unfence(self.names[&at]),
            Some(_) | None => match self.conn(|state| state != S::Gone) {
                Some(conn) => Input::Fence(conn),
                None => Input::Timeout,
            },
        }
    }

    fn socket_ends(&mut self) -> Input {
        if self.dice.chance(60) {
            return self.checkin();
        }
        let cause = if self.dice.chance(40) { EndCause::Failed } else { EndCause::Eof };
        match self.conn(|state| state != S::Gone) {
            Some(conn) => Input::Closed(conn, cause),
            None => Input::Timeout,
        }
    }

    fn facts(&mut self) -> Input {
        self.start_time += u64::from(self.dice.chance(5));
        let alive = |at: &usize| self.model.conns[*at].state != S::Gone;
        let mut pids: Vec<u32> =
            (0..self.model.conns.len()).filter(alive).filter_map(|at| self.model.conns[at].pid).collect();
        pids.retain(|_| self.dice.chance(70));
        pids.sort_unstable();
        let roles = if self.dice.chance(40) { vec![("u".to_owned(), 3, self.dice.below(4) as u32)] } else { vec![] };
        let databases =
            if self.dice.chance(40) { vec![("b".to_owned(), 4, self.dice.below(4) as u32)] } else { vec![] };
        Input::Facts(ServerFacts {
            start_time: self.start_time,
            pids,
            max_connections: [0, 8, 14, 40][self.dice.below(4) as usize],
            reserved: 3,
            roles,
            databases,
            others: self.dice.below(4) as u32,
        })
    }

    fn operator(&mut self) -> Input {
        let name = self.dice.of(&["a", "b", "c", "x1", "nowhere"]).map(str::to_owned).filter(|_| self.dice.chance(60));
        let near_the_end = self.step > LIFE - 100;
        let verb = match self.dice.below(20) {
            0..3 => Verb::Pause,
            3..9 => Verb::Resume,
            9..12 => Verb::Reconnect,
            12..14 => Verb::Disable,
            14..18 => Verb::Enable,
            18 => Verb::Kill,
            _ if near_the_end || name.as_deref() == Some("x1") => Verb::Drain,
            _ => Verb::Resume,
        };
        Input::Admin(verb, name)
    }

    fn stale(&mut self) -> Input {
        match self.dice.of(&self.past.clone()) {
            Some(conn) => Input::Closed(conn, EndCause::Eof),
            None => Input::Cancel(Ticket { index: 0, generation: 77_777 }),
        }
    }

    fn compare_books(&self) {
        let snapshot = self.core.snapshot(Time::from_nanos(self.now));
        assert_eq!((snapshot.evicted, snapshot.moved), (self.model.evicted, self.model.moved), "evicted and moved");
        assert_eq!(snapshot.connects, (self.model.in_flight(), self.model.allowed), "pacing");
        assert_eq!(snapshot.down, self.model.down, "down");
        let known = self.model.pools.iter().filter(|pool| !pool.retired).count();
        assert_eq!(snapshot.pools.len(), known, "pools");
        for pool in &snapshot.pools {
            let (at, theirs) = (pool.id.0 as usize, &self.model.pools[pool.id.0 as usize]);
            let books = &theirs.books;
            let count = |is: fn(S) -> bool| self.model.count(at, |c| is(c.state));
            assert_eq!(pool.slots.idle, count(|s| s == S::Idle), "idle");
            assert_eq!(pool.slots.lent, count(|s| matches!(s, S::Lent(_))), "lent");
            assert_eq!(pool.slots.ghosts, count(|s| matches!(s, S::Ghost(..))), "ghosts");
            assert_eq!(pool.slots.counted(), count(|_| true), "counted");
            assert_eq!(pool.wait_nanos, books.wait_nanos, "wait time by limit");
            assert_eq!(pool.lent_nanos, books.lent_nanos, "lent time");
            assert_eq!(pool.refused, books.refused, "refused");
            let theirs = (theirs.clients, books.granted, books.granted_after_wait, books.abandoned, books.leases);
            let ours = (pool.clients, pool.granted, pool.granted_after_wait, pool.abandoned, pool.leases);
            assert_eq!(ours, theirs, "counters");
            let ours = (pool.connects, pool.connects_failed, pool.closed);
            assert_eq!(ours, (books.connects, books.connects_failed, books.closed), "connects and ends");
            let (granted, failed) = (pool.wait_granted.iter().sum::<u64>(), pool.wait_failed.iter().sum::<u64>());
            assert_eq!((granted, failed), (books.waits_granted, books.waits_failed), "waits");
            assert_eq!(pool.hold.iter().sum::<u64>(), pool.leases, "holds");
        }
    }
}

fn no(refusal: &Refusal) -> No {
    No {
        limit: refusal.limit,
        binding: refusal.binding,
        lent: refusal.lent,
        waiting: refusal.waiting,
        waited: refusal.waited.as_nanos() as u64,
        longest_held: refusal.longest_held.as_nanos() as u64,
        failure: refusal.failure.is_some(),
        no_such: refusal.no_such_database,
        stopping: refusal.stopping,
    }
}

/// Settings small enough that every limit binds now and then.
fn settings(dice: &mut Dice) -> HostSettings {
    let mut databases = BTreeMap::new();
    for name in ["a", "b", "c"] {
        if dice.chance(95) {
            databases.insert(name.to_owned(), database(dice));
        }
    }
    let mut users = BTreeMap::new();
    if dice.chance(60) {
        let max_connections = dice.chance(70).then(|| 1 + dice.below(6) as u32);
        let size = dice.chance(30).then(|| 1 + dice.below(5) as u32);
        users.insert("u".to_owned(), UserSettings { max_connections, size, mode: None });
    }
    let millis = |dice: &mut Dice, most: u64| Duration::from_millis(1 + dice.below(most));
    HostSettings {
        databases,
        any: dice.chance(80).then(|| database(dice)),
        max_any_pools: dice.below(4) as u32,
        any_idle: Duration::from_secs(20 + dice.below(100)),
        users,
        max_connections: dice.chance(70).then(|| 2 + dice.below(14) as u32),
        unknown_budget: 6,
        instances: 1 + dice.below(2) as u32,
        connects_start: 1 + dice.below(3) as u32,
        connects_max: 1 + dice.below(6) as u32,
        connect_timeout: millis(dice, 400),
        backoff: (millis(dice, 20), millis(dice, 300)),
        ending_timeout: millis(dice, 600),
        ghost_timeout: millis(dice, 3000),
        affinity_skips: dice.below(4) as u32,
    }
}

fn database(dice: &mut Dice) -> DatabaseSettings {
    let millis = |dice: &mut Dice, most: u64| Duration::from_millis(1 + dice.below(most));
    let size = 1 + dice.below(6) as u32;
    DatabaseSettings {
        size,
        min_size: if dice.chance(50) { 0 } else { dice.below(4) as u32 },
        reserve: if dice.chance(60) { 0 } else { 1 + dice.below(2) as u32 },
        reserve_after: millis(dice, 40),
        max_connections: dice.chance(40).then(|| 2 + dice.below(6) as u32),
        max_wait: millis(dice, 300),
        pause_wait: millis(dice, 2000),
        down_wait: millis(dice, 1000),
        max_queue: [2, 6, 100][dice.below(3) as usize],
        lifetime: if dice.chance(40) { Duration::ZERO } else { millis(dice, 20_000) },
        idle_timeout: if dice.chance(50) { Duration::ZERO } else { millis(dice, 9000) },
        disabled: dice.chance(3),
        ..DatabaseSettings::default()
    }
}
