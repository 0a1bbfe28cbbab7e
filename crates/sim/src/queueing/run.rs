//! One run: the core's actions carried out in the model, the model's ends told to the core, in order of time.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_switch::pool::{
    Action, Checkin, ClassId, ConnId, ConnectFailure, EndCause, Event, Failure, Fitness, Handled, Host, HostSettings,
    Input, Limit, LoopId, Opened, Phases, PoolId, PoolKey, PoolSnapshot, Refusal, Request, ServerFacts, Ticket, Time,
};

use super::backend::{Backends, Connect, Machine, Work};
use super::course::Course;
use super::demand::{Demand, Ended, Seat, Wish};
use poolwarden_watch::{Activity, View};

use crate::agenda::Agenda;
use crate::random::Random;
use crate::scenario::{Fault, FaultKind, HoldKind};

/// From a goodbye to the end of the session, and for a reset: a local round trip.
const FAREWELL: Duration = Duration::from_micros(100);
/// A client that comes again this soon after its refusal has come back at once.
const AGAIN: Duration = Duration::from_secs(2);
/// How often the watcher looks.
pub(super) const LOOKS: Duration = Duration::from_secs(1);
/// A core that has not done what was due after so many calls never will: a bug, said instead of hung.
const MOST_TIMEOUTS: u32 = 1_000_000;

/// The world around the core.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// PostgreSQL.
    pub machine: Machine,
    /// What connects take, one after the other, and from the beginning again: connects made together are slow together. Never empty.
    pub connects: Vec<Duration>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What chance begins with.
    pub seed: u64,
}

/// Every seat; which of them each client has; and whether each client enters its pool, or only the first of each seat.
pub(crate) type Clients<'a> = (&'a [Seat], &'a [u32], bool);

/// What is to come besides requests, ends of holds and the core's own times.
#[derive(Debug)]
enum Thing {
    Connected(ConnId),
    Gone(ConnId),
    WasReset(ConnId),
    Leaves(Ticket),
    Fault(usize),
    SlotsBack(u32, String),
}

/// A client connection as the pooler sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) pool: PoolId,
    class: ClassId,
    tenant: u64,
    refused: Option<Time>,
    /// Refusals in a row, each within [`AGAIN`] of the one before.
    in_a_row: u8,
    pub(super) work: Work,
    pub(super) asked: Time,
    pub(super) granted: Time,
    pub(super) place: Place,
    pub(super) seat: u32,
}

/// Where the request of a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    Waiting(Ticket),
    Holding(ConnId),
}

/// Clients by ids that are places with generations. Places are used again before everything about their last use was heard: what
/// stands there still is put aside.
#[derive(Debug, Default)]
pub(super) struct ByPlace {
    places: Vec<Option<(u32, u32)>>,
    aside: BTreeMap<(u32, u32), u32>,
}

impl ByPlace {
    fn put(&mut self, place: u32, generation: u32, client: u32) {
        let index = place as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, None);
        }
        if let Some((old, client)) = self.places[index].replace((generation, client)) {
            self.aside.insert((place, old), client);
        }
    }

    /// Everybody there, by place.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> {
        self.places.iter().flatten().map(|(_, client)| *client)
    }

    fn take(&mut self, place: u32, generation: u32) -> Option<u32> {
        let there = self.places.get_mut(place as usize)?;
        match *there {
            Some((of, client)) if of == generation => {
                *there = None;
                Some(client)
            }
            Some(_) | None => self.aside.remove(&(place, generation)),
        }
    }
}

/// When somebody looks next, and what was told of PostgreSQL last.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) next: Time,
    pub(super) looks: u64,
    pub(super) facts: Option<ServerFacts>,
    pub(super) activity: Option<Activity>,
}

impl Default for Watched {
    fn default() -> Self {
        Self { next: Time::NEVER, looks: 0, facts: None, activity: None }
    }
}

#[derive(Debug)]
pub(crate) struct Run<D> {
    model: Model,
    pub(super) host: Host,
    pub(crate) demand: D,
    pub(super) backends: Backends,
    agenda: Agenda<Thing>,
    pub(super) clients: Vec<Client>,
    /// Who waits, by the place of its ticket.
    tickets: ByPlace,
    /// Who holds, by the place of its connection.
    pub(super) leases: ByPlace,
    random: Random,
    /// Of each seat, leases that ended, and how long they were together.
    pub(super) used: Vec<(u64, Duration)>,
    /// Connects begun since the course begins.
    connects: usize,
    pub(super) now: Time,
    pub(super) seats: Vec<Seat>,
    pub(super) watched: Watched,
    lent: u32,
    /// The most server connections lent at once.
    pub(crate) most_lent: u32,
    pub(crate) saturated: Option<Time>,
    pub(crate) course: Course,
}

impl<D: Demand> Run<D> {
    /// `course`: from when it counts, in steps of which length.
    pub(crate) fn new(
        settings: HostSettings,
        model: Model,
        ((seats, members, each_enters), demand): (Clients<'_>, D),
        course: (Time, Duration),
    ) -> Result<Self, String> {
        let mut random = Random::new(model.seed ^ 0x5eed);
        let mut host = Host::new(settings, random.bits());
        let mut course = Course::new(course.0, course.1);
        let mut clients = Vec::with_capacity(members.len());
        let mut entered = vec![None; seats.len()];
        for member in members {
            let (seat, entered) = (&seats[*member as usize], &mut entered[*member as usize]);
            let pool = match *entered {
                Some(pool) if !each_enters => pool,
                Some(_) | None => {
                    let Handled::Entered(pool) = host.handle(Time::ZERO, Input::Enter(seat.key.clone())) else {
                        let name = &seat.name;
                        return Err(format!(
                            "{name}: the pooler does not let its clients in: look at its pool and limits"
                        ));
                    };
                    course.enter(pool, &seat.key);
                    *entered = Some(pool);
                    pool
                }
            };
            let work = Work { kind: HoldKind::Sleep, alone: Duration::ZERO, idle: Duration::ZERO };
            clients.push(Client {
                pool,
                class: seat.class,
                tenant: seat.tenant,
                refused: None,
                in_a_row: 0,
                work,
                asked: Time::ZERO,
                granted: Time::ZERO,
                place: Place::Nowhere,
                seat: *member,
            });
        }
        let mut agenda = Agenda::default();
        for (n, fault) in model.faults.iter().enumerate() {
            agenda.put(Time::ZERO + fault.at, Thing::Fault(n));
        }
        Ok(Self {
            backends: Backends::new(model.machine),
            model,
            host,
            demand,
            agenda,
            clients,
            tickets: ByPlace::default(),
            leases: ByPlace::default(),
            random,
            used: vec![(0, Duration::ZERO); seats.len()],
            seats: seats.to_vec(),
            watched: Watched::default(),
            connects: 0,
            now: Time::ZERO,
            lent: 0,
            most_lent: 0,
            saturated: None,
            course,
        })
    }

    /// Until the demand is over, or `end`. `told` hears how far it is, now and then.
    pub(crate) fn play(&mut self, end: Time, told: &mut dyn FnMut(Time)) -> Result<Vec<PoolSnapshot>, String> {
        self.play_on(end, told, &mut |_| ())
    }

    /// The same, with `watch` shown a picture every second, as the pooler's own watcher is, and the core told what PostgreSQL tells.
    pub(crate) fn play_watched(
        &mut self,
        end: Time,
        told: &mut dyn FnMut(Time),
        watch: &mut dyn FnMut(&View),
    ) -> Result<Vec<PoolSnapshot>, String> {
        self.watched.next = Time::ZERO + LOOKS;
        self.play_on(end, told, watch)
    }

    fn play_on(
        &mut self,
        end: Time,
        told: &mut dyn FnMut(Time),
        watch: &mut dyn FnMut(&View),
    ) -> Result<Vec<PoolSnapshot>, String> {
        self.settle()?;
        while !self.demand.is_over() && self.now <= end {
            let holds = self.backends.next_at();
            let due = self.host.poll_timeout().map(|(at, _)| at);
            let all = [self.demand.next_at(), self.agenda.first(), holds, due];
            let Some(next) = all.into_iter().flatten().min() else { break };
            while self.course.edge() <= next {
                let edge = self.course.edge();
                self.course.turn(edge, &self.host.snapshot(edge));
                told(edge);
            }
            if self.watched.next <= next {
                self.now = self.now.max(self.watched.next);
                self.look(watch)?;
                continue;
            }
            self.now = self.now.max(next);
            self.happen(next, holds)?;
            self.settle()?;
        }
        let last = self.host.snapshot(self.now);
        self.course.finish(self.now, &last);
        Ok(last.pools)
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// One thing whose time is `next`; the core's own times come of themselves with every call.
    fn happen(&mut self, next: Time, holds: Option<Time>) -> Result<(), String> {
        if holds == Some(next) {
            if let Some(conn) = self.backends.advance(self.now) {
                self.done(conn);
            }
        } else if self.agenda.first() == Some(next) {
            if let Some((_, thing)) = self.agenda.next() {
                self.come(thing);
            }
        } else if self.demand.next_at() == Some(next) {
            self.demand.advance(self.now);
        } else {
            self.host.handle(self.now, Input::Timeout);
        }
        self.wishes()
    }

    /// Carries out everything the core wants, and lets it do what is due.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..MOST_TIMEOUTS {
            while let Some(action) = self.host.poll_action() {
                self.act(action);
            }
            while let Some(event) = self.host.poll_event() {
                if matches!(event, Event::Waiting { .. }) && self.saturated.is_none() {
                    self.saturated = Some(self.now);
                }
            }
            self.wishes()?;
            let due = self.host.poll_timeout().is_some_and(|(at, _)| at <= self.now);
            if !due {
                return Ok(());
            }
            self.host.handle(self.now, Input::Timeout);
        }
        Err(format!("the core was still busy after {MOST_TIMEOUTS} calls at {:?}: please report this run", self.now))
    }

    fn wishes(&mut self) -> Result<(), String> {
        while let Some(wish) = self.demand.poll() {
            match wish {
                Wish::Ask { client, work, deadline, leaves } => self.ask(client, work, deadline, leaves),
                Wish::Reconnect { client } => self.reconnect(client)?,
            }
        }
        Ok(())
    }

    fn ask(&mut self, client: u32, work: Work, deadline: Time, leaves: Time) {
        let now = self.now;
        let asks = &mut self.clients[client as usize];
        (asks.work, asks.asked) = (work, now);
        if asks.refused.is_none_or(|at| now.since(at) > AGAIN) {
            asks.in_a_row = 0;
        }
        let Client { pool, class, tenant, in_a_row: attempt, .. } = *asks;
        self.course.asked(pool);
        let request = Request { pool, class, tenant, attempt, deadline, home: LoopId(0), flavor: 0, client };
        match self.host.handle(now, Input::Checkout(request)) {
            Handled::Queued(ticket) => {
                self.tickets.put(ticket.index, ticket.generation, client);
                self.clients[client as usize].place = Place::Waiting(ticket);
                self.course.waiting(now, pool, self.host.waiting(pool));
                if leaves != Time::NEVER {
                    self.agenda.put(leaves, Thing::Leaves(ticket));
                }
            }
            Handled::Refused(refusal) => self.refused(client, &refusal),
            Handled::Done | Handled::Entered(_) | Handled::Cancelled | Handled::AlreadyGranted(_) | Handled::Stale => {
                self.demand.ended(now, client, Ended::Lost); // its pool is gone
            }
        }
    }

    fn refused(&mut self, client: u32, refusal: &Refusal) {
        let of = &mut self.clients[client as usize];
        of.refused = Some(self.now);
        of.in_a_row = of.in_a_row.saturating_add(1);
        of.place = Place::Nowhere;
        let pool = of.pool;
        self.course.refused(pool, refusal);
        self.course.waiting(self.now, pool, self.host.waiting(pool));
        self.demand.ended(self.now, client, Ended::Refused(refusal));
    }

    /// A client vanishes, with whatever it waits for or holds, and is there again at once: logins are not modelled.
    fn reconnect(&mut self, client: u32) -> Result<(), String> {
        let of = self.clients[client as usize];
        match of.place {
            Place::Nowhere => {}
            Place::Waiting(ticket) => {
                self.tickets.take(ticket.index, ticket.generation);
                self.host.handle(self.now, Input::Cancel(ticket));
                self.course.waiting(self.now, of.pool, self.host.waiting(of.pool));
            }
            Place::Holding(conn) => {
                self.unlend(conn);
                self.backends.end(self.now, conn);
                self.check_in(conn, Fitness::Broken);
            }
        }
        let key: PoolKey = self.host.pool_key(of.pool).cloned().ok_or("a pool went away under its clients")?;
        self.host.handle(self.now, Input::Leave(of.pool));
        let Handled::Entered(pool) = self.host.handle(self.now, Input::Enter(key.clone())) else {
            return Err("a client that comes back is not let in: look at the limits".to_owned());
        };
        self.course.enter(pool, &key);
        self.clients[client as usize] = Client { pool, refused: None, in_a_row: 0, place: Place::Nowhere, ..of };
        self.demand.back(self.now, client);
        Ok(())
    }

    /// A client that waits still goes away.
    fn leaves(&mut self, ticket: Ticket) {
        let Some(client) = self.tickets.take(ticket.index, ticket.generation) else { return };
        let of = &mut self.clients[client as usize];
        of.place = Place::Nowhere;
        let pool = of.pool;
        if let Handled::AlreadyGranted(conn) = self.host.handle(self.now, Input::Cancel(ticket)) {
            self.check_in(conn, Fitness::Clean);
        }
        self.course.left(pool);
        self.course.waiting(self.now, pool, self.host.waiting(pool));
        self.demand.ended(self.now, client, Ended::Left);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Open { conn, .. } => {
                let takes = self.model.connects[self.connects % self.model.connects.len()];
                self.connects += usize::from(self.now >= self.course.begins);
                self.agenda.put(self.now + takes, Thing::Connected(conn));
            }
            Action::Close { conn, .. } => self.agenda.put(self.now + FAREWELL, Thing::Gone(conn)),
            Action::Forget { conn, .. } => {
                self.backends.close(self.now, conn);
            }
            Action::Reset { conn, .. } => self.agenda.put(self.now + FAREWELL, Thing::WasReset(conn)),
            Action::Grant { ticket, conn, waited, .. } => match self.tickets.take(ticket.index, ticket.generation) {
                Some(client) => self.lend(conn, client, waited),
                None => self.check_in(conn, Fitness::Clean), // its client has vanished
            },
            Action::Refuse { ticket, refusal, .. } => {
                if let Some(client) = self.tickets.take(ticket.index, ticket.generation) {
                    self.refused(client, &refusal);
                }
            }
        }
    }

    fn lend(&mut self, conn: ConnId, client: u32, waited: Duration) {
        self.leases.put(conn.index, conn.generation, client);
        let of = &mut self.clients[client as usize];
        (of.refused, of.in_a_row, of.place, of.granted) = (None, 0, Place::Holding(conn), self.now);
        let (pool, work) = (of.pool, of.work);
        self.course.granted(pool, waited);
        self.course.waiting(self.now, pool, self.host.waiting(pool));
        self.lent += 1;
        self.most_lent = self.most_lent.max(self.lent);
        self.backends.begin(self.now, conn, work);
        self.demand.granted(self.now, client);
    }

    /// Who held it, and holds it no more.
    fn unlend(&mut self, conn: ConnId) -> Option<u32> {
        let client = self.leases.take(conn.index, conn.generation)?;
        self.lent -= 1;
        Some(client)
    }

    fn check_in(&mut self, conn: ConnId, fitness: Fitness) {
        let checkin = Checkin { fitness, flavor: 0, home: LoopId(0), phases: Phases::default() };
        self.host.handle(self.now, Input::Checkin(conn, checkin));
    }

    fn done(&mut self, conn: ConnId) {
        self.check_in(conn, Fitness::Clean);
        if let Some(client) = self.unlend(conn) {
            let of = &self.clients[client as usize];
            let (used, now) = (&mut self.used[of.seat as usize], self.now);
            *used = (used.0 + 1, used.1 + now.since(of.granted));
            self.clients[client as usize].place = Place::Nowhere;
            self.demand.ended(self.now, client, Ended::Served);
        }
    }

    fn come(&mut self, thing: Thing) {
        match thing {
            Thing::Connected(conn) => self.connected(conn),
            Thing::Gone(conn) => self.gone(conn),
            Thing::WasReset(conn) => {
                self.host.handle(self.now, Input::ResetDone(conn));
            }
            Thing::Leaves(ticket) => self.leaves(ticket),
            Thing::Fault(n) => self.fault(self.model.faults[n].kind.clone()),
            Thing::SlotsBack(slots, application) => self.backends.foreign(&application, slots, false),
        }
    }

    fn connected(&mut self, conn: ConnId) {
        let failed = |kind, sqlstate: &[u8; 5], message: &str| {
            Err(ConnectFailure { kind, sqlstate: *sqlstate, message: message.into() })
        };
        let outcome = match self.backends.connect(self.now, conn) {
            Connect::Later(then) => return self.agenda.put(then, Thing::Connected(conn)),
            Connect::Done => Ok(Opened { home: LoopId(0), flavor: 0, pid: Some(conn.index) }),
            Connect::Down => failed(Failure::Down, b"57P03", "the database system is starting up"),
            Connect::Full => failed(Failure::Capacity(Limit::PgSlots), b"53300", "sorry, too many clients already"),
        };
        self.host.handle(self.now, Input::Opened(conn, outcome));
    }

    /// A session ends; its client, if it was lent, hears of it.
    fn gone(&mut self, conn: ConnId) {
        self.backends.close(self.now, conn);
        self.host.handle(self.now, Input::Closed(conn, EndCause::Eof));
        if let Some(client) = self.unlend(conn) {
            self.clients[client as usize].place = Place::Nowhere;
            self.demand.ended(self.now, client, Ended::Lost);
        }
    }

    fn fault(&mut self, kind: FaultKind) {
        match kind {
            FaultKind::Stall(lasts) => self.backends.stall(self.now, lasts),
            FaultKind::Restart(lasts) => {
                for conn in self.backends.restart(self.now, lasts) {
                    self.gone(conn);
                }
            }
            FaultKind::ForeignSlots(slots, lasts, application) => {
                self.backends.foreign(&application, slots, true);
                self.agenda.put(self.now + lasts, Thing::SlotsBack(slots, application));
            }
            FaultKind::BackendKill(share) => {
                for conn in self.backends.sessions() {
                    if self.random.share() < share {
                        self.gone(conn);
                    }
                }
            }
        }
    }
}
