//! One run: the core's actions carried out in the model, the model's ends told to the core, in order of time.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_config::Config;
use poolwarden_switch::pool::{
    Action, Checkin, ClassId, ConnId, ConnectFailure, EndCause, Event, Failure, Fitness, Handled, Host, HostSettings,
    Input, Limit, LoopId, Opened, Phases, PoolId, PoolKey, Refusal, Request, Ticket, Time,
};

use super::Played;
use super::backend::{Backends, Connect};
use crate::agenda::Agenda;
use crate::load::{Outcome, Step, Traffic};
use crate::random::Random;
use crate::scenario::{FaultKind, Group, HoldKind, Scenario};

/// The database every scenario's clients ask for.
const DATABASE: &str = "app";
/// The role of clients whose group names none.
const USER: &str = "app";
/// From a goodbye to the end of the session, and for a reset: a local round trip.
const FAREWELL: Duration = Duration::from_micros(100);
/// After the last phase everybody who waits is given this long: past every default bound on waiting.
const GRACE: Duration = Duration::from_secs(90);
/// A client that comes again this soon after its refusal has come back at once.
const AGAIN: Duration = Duration::from_secs(2);
/// A core that has not done what was due after so many calls never will: a bug, said instead of hung.
const MOST_TIMEOUTS: u32 = 1_000_000;

/// What is to come besides arrivals, ends of holds and the core's own times.
#[derive(Debug)]
enum Thing {
    Connected(ConnId),
    Gone(ConnId),
    WasReset(ConnId),
    Fault(usize),
    SlotsBack(u32),
}

/// A client connection as the pooler sees it.
#[derive(Clone, Copy, Debug)]
struct Client {
    pool: PoolId,
    class: ClassId,
    tenant: u64,
    refused: Option<Time>,
    /// Refusals in a row, each within [`AGAIN`] of the one before.
    in_a_row: u8,
    hold: (HoldKind, Duration),
}

#[derive(Debug)]
pub(super) struct Run<'a> {
    scenario: &'a Scenario,
    host: Host,
    traffic: Traffic<'a>,
    backends: Backends,
    agenda: Agenda<Thing>,
    clients: Vec<Client>,
    tickets: BTreeMap<Ticket, u32>,
    leases: BTreeMap<ConnId, u32>,
    random: Random,
    now: Time,
    saturated: Option<Time>,
}

impl<'a> Run<'a> {
    pub(super) fn new(scenario: &'a Scenario, config: &Config) -> Result<Self, String> {
        let settings = config.host_settings(0);
        let mut random = Random::new(scenario.seed ^ 0x5eed);
        let mut host = Host::new(settings.clone(), random.bits());
        let traffic = Traffic::new(scenario, false);
        let mut clients = Vec::new();
        for group in &scenario.groups {
            let class = class(group, config, &settings)?;
            let role = config.pool(DATABASE).and_then(|pool| pool.user.as_deref()); // as the proxy has it
            for _ in 0..group.clients {
                let user = role.or(group.user.as_deref()).unwrap_or(USER);
                let key = PoolKey { database: DATABASE.into(), user: user.into() };
                let Handled::Entered(pool) = host.handle(Time::ZERO, Input::Enter(key)) else {
                    return Err(format!(
                        "load \"{}\": the pooler does not let its clients in: look at its pool and limits",
                        group.name
                    ));
                };
                let tenant = hash(&group.application);
                clients.push(Client {
                    pool,
                    class,
                    tenant,
                    refused: None,
                    in_a_row: 0,
                    hold: (HoldKind::Sleep, Duration::ZERO),
                });
            }
        }
        let mut agenda = Agenda::default();
        for (n, fault) in scenario.faults.iter().enumerate() {
            agenda.put(Time::ZERO + fault.at, Thing::Fault(n));
        }
        Ok(Self {
            scenario,
            host,
            traffic,
            backends: Backends::new(scenario.postgres),
            agenda,
            clients,
            tickets: BTreeMap::new(),
            leases: BTreeMap::new(),
            random,
            now: Time::ZERO,
            saturated: None,
        })
    }

    pub(super) fn play(mut self) -> Result<Played, String> {
        let end = Time::ZERO + self.scenario.lasts() + GRACE;
        self.settle()?;
        while !self.traffic.is_over() && self.now <= end {
            let hold = self.backends.next().map(|(at, _)| at);
            let due = self.host.poll_timeout().map(|(at, _)| at);
            let all = [self.traffic.next_at(), self.agenda.first(), hold, due];
            let Some(next) = all.into_iter().flatten().min() else { break };
            self.now = self.now.max(next);
            self.happen(next, hold)?;
            self.settle()?;
        }
        let pools = self.host.snapshot(self.now).pools;
        Ok(Played { record: self.traffic.finish(self.now), pools, saturated: self.saturated, ended: self.now })
    }

    /// One thing whose time is `next`; the core's own times come of themselves with every call.
    fn happen(&mut self, next: Time, hold: Option<Time>) -> Result<(), String> {
        if hold == Some(next) {
            if let Some((_, conn)) = self.backends.next() {
                self.done(conn);
            }
        } else if self.agenda.first() == Some(next) {
            if let Some((_, thing)) = self.agenda.next() {
                self.come(thing);
            }
        } else if self.traffic.next_at() == Some(next) {
            self.traffic.advance(self.now);
        } else {
            self.host.handle(self.now, Input::Timeout);
        }
        self.steps()
    }

    /// Carries out everything the core wants, and lets it do what is due.
    fn settle(&mut self) -> Result<(), String> {
        for _ in 0..MOST_TIMEOUTS {
            while let Some(action) = self.host.poll_action() {
                self.act(action);
            }
            while let Some(event) = self.host.poll_event() {
                if matches!(event, Event::Waiting { .. }) && self.saturated.is_none() {
                    self.saturated = Some(self.now);
                }
            }
            self.steps()?;
            let due = self.host.poll_timeout().is_some_and(|(at, _)| at <= self.now);
            if !due {
                return Ok(());
            }
            self.host.handle(self.now, Input::Timeout);
        }
        Err(format!(
            "the core was still busy after {MOST_TIMEOUTS} calls at {:?}: please report this scenario",
            self.now
        ))
    }

    fn steps(&mut self) -> Result<(), String> {
        while let Some(step) = self.traffic.poll() {
            match step {
                Step::Send { client, hold, kind, gives_up, .. } => self.ask(client, (kind, hold), gives_up),
                Step::Reconnect { client } => self.reconnect(client)?,
            }
        }
        Ok(())
    }

    fn ask(&mut self, client: u32, hold: (HoldKind, Duration), gives_up: Option<Time>) {
        let group = &self.scenario.groups[self.traffic.group(client)];
        let deadline = gives_up.filter(|_| group.tells_deadline).unwrap_or(Time::NEVER);
        let now = self.now;
        let asks = &mut self.clients[client as usize];
        asks.hold = hold;
        if asks.refused.is_none_or(|at| now.since(at) > AGAIN) {
            asks.in_a_row = 0;
        }
        let Client { pool, class, tenant, in_a_row: attempt, .. } = *asks;
        let request = Request { pool, class, tenant, attempt, deadline, home: LoopId(0), flavor: 0 };
        match self.host.handle(now, Input::Checkout(request)) {
            Handled::Queued(ticket) => {
                self.tickets.insert(ticket, client);
            }
            Handled::Refused(refusal) => self.refused(client, &refusal),
            Handled::Done | Handled::Entered(_) | Handled::Cancelled | Handled::AlreadyGranted(_) | Handled::Stale => {
                self.traffic.ended(now, client, Outcome::Failed("the pool is gone".to_owned()), true);
            }
        }
    }

    fn refused(&mut self, client: u32, refusal: &Refusal) {
        let of = &mut self.clients[client as usize];
        of.refused = Some(self.now);
        of.in_a_row = of.in_a_row.saturating_add(1);
        self.traffic.ended(
            self.now,
            client,
            Outcome::Refused(format!("{}/{}", refusal.reason.name(), refusal.limit.name())),
            true,
        );
    }

    /// A client vanishes, with whatever it waits for or holds, and is there again at once: logins are not modelled.
    fn reconnect(&mut self, client: u32) -> Result<(), String> {
        let waiting = self.tickets.iter().find(|(_, of)| **of == client).map(|(ticket, _)| *ticket);
        if let Some(ticket) = waiting {
            self.tickets.remove(&ticket);
            self.host.handle(self.now, Input::Cancel(ticket));
        }
        let held = self.leases.iter().find(|(_, of)| **of == client).map(|(conn, _)| *conn);
        if let Some(conn) = held {
            self.leases.remove(&conn);
            self.backends.end(self.now, conn);
            self.check_in(conn, Fitness::Broken);
        }
        let of = self.clients[client as usize];
        let key = self.host.pool_key(of.pool).cloned().ok_or("a pool went away under its clients")?;
        self.host.handle(self.now, Input::Leave(of.pool));
        let Handled::Entered(pool) = self.host.handle(self.now, Input::Enter(key)) else {
            return Err("a client that comes back is not let in: look at the limits".to_owned());
        };
        self.clients[client as usize] = Client { pool, refused: None, in_a_row: 0, ..of };
        self.traffic.back(self.now, client);
        Ok(())
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Open { conn, .. } => {
                self.agenda.put(self.now + self.scenario.postgres.connect, Thing::Connected(conn))
            }
            Action::Close { conn, .. } => self.agenda.put(self.now + FAREWELL, Thing::Gone(conn)),
            Action::Forget { conn, .. } => {
                self.backends.close(self.now, conn);
            }
            Action::Reset { conn, .. } => self.agenda.put(self.now + FAREWELL, Thing::WasReset(conn)),
            Action::Grant { ticket, conn, .. } => match self.tickets.remove(&ticket) {
                Some(client) => self.lend(conn, client),
                None => self.check_in(conn, Fitness::Clean), // its client has vanished
            },
            Action::Refuse { ticket, refusal, .. } => {
                if let Some(client) = self.tickets.remove(&ticket) {
                    self.refused(client, &refusal);
                }
            }
        }
    }

    fn lend(&mut self, conn: ConnId, client: u32) {
        self.leases.insert(conn, client);
        let of = &mut self.clients[client as usize];
        (of.refused, of.in_a_row) = (None, 0);
        let (kind, hold) = of.hold;
        let hold = hold + self.scenario.postgres.overhead;
        self.backends.begin(self.now, conn, kind, hold);
    }

    fn check_in(&mut self, conn: ConnId, fitness: Fitness) {
        let checkin = Checkin { fitness, flavor: 0, home: LoopId(0), phases: Phases::default() };
        self.host.handle(self.now, Input::Checkin(conn, checkin));
    }

    fn done(&mut self, conn: ConnId) {
        self.backends.end(self.now, conn);
        self.check_in(conn, Fitness::Clean);
        if let Some(client) = self.leases.remove(&conn) {
            self.traffic.ended(self.now, client, Outcome::Served, true);
        }
    }

    fn come(&mut self, thing: Thing) {
        match thing {
            Thing::Connected(conn) => self.connected(conn),
            Thing::Gone(conn) => self.gone(conn),
            Thing::WasReset(conn) => {
                self.host.handle(self.now, Input::ResetDone(conn));
            }
            Thing::Fault(n) => self.fault(self.scenario.faults[n].kind),
            Thing::SlotsBack(slots) => self.backends.foreign(slots, false),
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
        if let Some(client) = self.leases.remove(&conn) {
            self.traffic.ended(self.now, client, Outcome::Failed("08006".to_owned()), false);
            self.traffic.back(self.now, client);
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
            FaultKind::ForeignSlots(slots, lasts) => {
                self.backends.foreign(slots, true);
                self.agenda.put(self.now + lasts, Thing::SlotsBack(slots));
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

/// The class of a group's requests: its own, else its user's, else the first.
fn class(group: &Group, config: &Config, settings: &HostSettings) -> Result<ClassId, String> {
    let user = group.user.as_deref().unwrap_or(USER);
    let of_user = config.users.get(user).and_then(|user| user.class.as_deref());
    let Some(name) = group.class.as_deref().or(of_user) else { return Ok(ClassId(0)) };
    let place = settings.classes.iter().position(|class| class.name == name).and_then(|place| u8::try_from(place).ok());
    let known = || settings.classes.iter().map(|class| class.name.as_str()).collect::<Vec<_>>().join(", ");
    place.map(ClassId).ok_or_else(|| {
        format!("load \"{}\": there is no class \"{name}\": write [classes.{name}], or one of {}", group.name, known())
    })
}

/// FNV-1a (Fowler, Noll and Vo 1991): any hash will do that is the same everywhere.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
