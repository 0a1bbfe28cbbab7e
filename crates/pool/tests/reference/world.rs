//! A random world around the core and the model: clients, connects, failures, ghosts, facts, settings, operators.
//!
//! Both get the same inputs; what they do must be the same at every step.

use std::collections::BTreeMap;

use poolwarden_pool::{Action, ConnId, Event, Handled, Host, HostSettings, Input, PoolId, Refusal, Ticket, Time};

use super::dice::{Dice, settings};
use super::model::{Model, No, Out, S, Told};
use super::records::{MOST_RECORDS, Recorded};

/// Steps in one life of a host; a drain ends it well, the next one begins with other settings.
pub(super) const LIFE: u64 = 20_000;

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
/// Gives back what was told, as text, for who wants to know what the world is like.
pub(crate) fn replay(steps: u64, seed: u64) -> String {
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
    format!("{:?}", world.told)
}

/// What a call puts out, in its order.
type Outputs = (Vec<Action>, Vec<Event>);

/// All actions and events.
fn drain(host: &mut Host) -> Outputs {
    let actions = std::iter::from_fn(|| host.poll_action()).collect();
    (actions, std::iter::from_fn(|| host.poll_event()).collect())
}

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) core: Host,
    pub(super) model: Model,
    /// Settings and seed of both.
    pub(super) born: (HostSettings, u64),
    /// What the core told and did, call by call, where it records.
    pub(super) told: Vec<(Handled, Outputs)>,
    pub(super) now: u64,
    pub(super) step: u64,
    /// Connections by the core's name, as the model numbers them; names of gone ones stay in `past`.
    pub(super) conns: BTreeMap<ConnId, usize>,
    pub(super) names: BTreeMap<usize, ConnId>,
    pub(super) past: Vec<ConnId>,
    pub(super) tickets: BTreeMap<Ticket, u64>,
    pub(super) ticket_names: BTreeMap<u64, Ticket>,
    pub(super) next_pid: u32,
    pub(super) start_time: u64,
    /// How bad connects go now, in percent.
    pub(super) bad: u64,
    pub(super) history: Vec<String>,
    /// What the core told of requests that ended.
    recorded: Recorded,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let settings = settings(&mut dice);
        let inner = dice.next();
        let mut core = Host::new(settings.clone(), inner);
        core.keep_records(MOST_RECORDS);
        Self {
            core,
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
            recorded: Recorded::default(),
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
        let asked = self.recorded.asked(&input);
        let told = self.tell_model(&input);
        let handled = self.core.handle(Time::from_nanos(self.now), input);
        if let (Handled::Queued(ticket), Told::Queued(number), true) = (&handled, &told, queued) {
            self.tickets.insert(*ticket, *number);
            self.ticket_names.insert(*number, *ticket);
        }
        self.recorded.end(&asked, &handled, &mut self.core, self.now);
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
        if self.step.is_multiple_of(16) {
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
        let classes = |event: &&Event| matches!(event, Event::Overloaded { .. } | Event::Relaxed { .. });
        out.extend(events.iter().filter(|event| !classes(event)).map(|event| self.event(event)));
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
            Event::Overloaded { .. } | Event::Relaxed { .. } => unreachable!("the obvious pool knows no classes"),
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
            Input::EnterAlone(_) => unreachable!("this world's clients share"),
            Input::Leave(id) => model.leave(id.0 as usize),
            Input::Checkout(request) => model.checkout(request.pool.0 as usize, request),
            Input::Checkin(conn, checkin) => at(conn).map_or(Told::Stale, |at| model.checkin(at, checkin)),
            Input::Cancel(ticket) => self.tickets.get(ticket).map_or(Told::Stale, |&number| model.cancel(number, true)),
            Input::Withdraw(ticket) => {
                self.tickets.get(ticket).map_or(Told::Stale, |&number| model.cancel(number, false))
            }
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
            Input::Renew(user) => model.renew(user),
            Input::Shed(..) => Told::Done,
            Input::Timeout => Told::Done,
        };
        model.settle();
        told
    }

    fn compare_books(&self) {
        let snapshot = self.core.snapshot(Time::from_nanos(self.now));
        self.recorded.compare(&snapshot);
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
