//! The loop: arrivals when their time has come, answers when they are there.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use poolwarden_relay::pgwire::make;
use poolwarden_sim::load::{Outcome, Record, Step, Traffic};
use poolwarden_sim::scenario::{Group, HoldKind, Protocol, Scenario};
use poolwarden_switch::pool::Time;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use super::call;
use super::login::{Keys, Said};
use super::session::{Heard, Session};
use super::socket::{Read, Socket};
use super::sql;
use super::target::Target;

/// Logins under way at once: enough to be quick, below the backlog of any listener.
const LOGINS: usize = 64;
/// After the last phase answers are waited for so long: past every default bound on waiting.
const GRACE: Duration = Duration::from_secs(90);
/// A client that could not log in tries again after this.
const REDIAL: Duration = Duration::from_millis(100);
/// Before the run: without one more login in this time, something is wrong with the target.
const STANDSTILL: Duration = Duration::from_secs(30);
/// Events taken from the kernel before arrivals are looked at again.
const BATCH: usize = 64;
/// The event data of the timer.
const TIMER: u64 = u64::MAX;
/// Descriptors beside the clients'.
const OWN_DESCRIPTORS: u64 = 64;

struct Client {
    socket: Option<Socket>,
    session: Session,
    /// Tells events of this connection from those of the one before.
    generation: u32,
    /// The request it was sent for.
    number: u64,
}

struct Engine<'a> {
    scenario: &'a Scenario,
    target: &'a Target,
    traffic: Traffic<'a>,
    epoll: OwnedFd,
    timer: OwnedFd,
    armed: Option<Time>,
    clients: Vec<Client>,
    to_dial: VecDeque<u32>,
    /// Who tries again, and when; in order of time, since the wait is the same for all.
    later: VecDeque<(Time, u32)>,
    dialing: usize,
    opened: u32,
    refused_logins: Option<String>,
    keys: Keys,
    buffer: Vec<u8>,
    out: Vec<u8>,
    table: String,
    speed: sql::Speed,
    /// Requests that were refused, and not served since.
    unserved: BTreeSet<u64>,
    began: Instant,
    running: bool,
}

/// Runs `scenario` against `target` and gives its record.
pub(crate) fn run(scenario: &Scenario, target: &Target) -> anyhow::Result<Record> {
    let clients: u32 = scenario.groups.iter().map(|group| group.clients).sum();
    room_for(u64::from(clients))?;
    let writes = scenario.groups.iter().any(|group| group.protocol == Protocol::Pipelined);
    let table = format!("poolwarden_drill_{}_{}", std::process::id(), scenario.seed);
    if writes {
        call::ask(target, &format!("create table {table} (request bigint)")).context("the table of the drill")?;
        call::ask(target, &format!("grant insert on {table} to public")).context("the table of the drill")?;
    }
    let mut engine = Engine::new(scenario, target, &table, speed(scenario, target)?)?;
    let played = engine.open().and_then(|()| engine.play());
    let mut record = engine.close();
    if writes {
        record.1.left_behind = left_behind(target, &table, &record.0)?;
    }
    played.map(|()| record.1)
}

/// How fast the server counts, where that is needed: the fastest of a few tries, for others slow it only.
fn speed(scenario: &Scenario, target: &Target) -> anyhow::Result<sql::Speed> {
    const TRIES: usize = 5;
    let counts = |group: &Group| group.parts.iter().any(|part| part.hold.kind == HoldKind::Cpu);
    if !scenario.groups.iter().any(counts) {
        return Ok(sql::Speed { steps_per_second: 0.0 });
    }
    let took = |steps| -> anyhow::Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..TRIES {
            let began = Instant::now();
            call::ask(target, &sql::count(steps)).context("how fast the server counts")?;
            least = least.min(began.elapsed().as_secs_f64());
        }
        Ok(least)
    };
    let seconds = (took(u64::from(sql::COUNTED))? - took(0)?).max(f64::MIN_POSITIVE); // less the session itself
    Ok(sql::Speed { steps_per_second: f64::from(sql::COUNTED) / seconds })
}

/// How many rows requests have left that were refused; the table is dropped.
fn left_behind(target: &Target, table: &str, unserved: &BTreeSet<u64>) -> anyhow::Result<u64> {
    let rows = call::ask(target, &format!("select request from {table}")).context("the table of the drill")?;
    call::ask(target, &format!("drop table {table}")).context("the table of the drill")?;
    Ok(rows.iter().filter_map(|row| row.parse().ok()).filter(|number| unserved.contains(number)).count() as u64)
}

/// Raises the limit of open files as far as it goes.
fn room_for(clients: u64) -> anyhow::Result<()> {
    let wanted = clients + OWN_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|most| most < wanted) {
        bail!("{clients} clients need {wanted} open files: raise the hard limit (ulimit -Hn), or write fewer clients");
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .context("the limit of open files")
}

impl<'a> Engine<'a> {
    fn new(scenario: &'a Scenario, target: &'a Target, table: &str, speed: sql::Speed) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll")?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)
            .context("a timer")?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN | EventFlags::ET).context("epoll")?;
        let traffic = Traffic::new(scenario, true);
        let client = |_| Client {
            socket: None,
            session: Session::start(&[("", ""); 0], &mut Vec::new()),
            generation: 0,
            number: 0,
        };
        Ok(Self {
            scenario,
            target,
            epoll,
            timer,
            armed: None,
            clients: (0..traffic.clients()).map(client).collect(),
            to_dial: (0..traffic.clients()).collect(),
            traffic,
            later: VecDeque::new(),
            dialing: 0,
            opened: 0,
            refused_logins: None,
            keys: Keys::default(),
            buffer: vec![0; 64 << 10],
            out: Vec::new(),
            table: table.to_owned(),
            speed,
            unserved: BTreeSet::new(),
            began: Instant::now(),
            running: false,
        })
    }

    fn now(&self) -> Time {
        Time::ZERO + self.began.elapsed()
    }

    /// Logs every client in.
    fn open(&mut self) -> anyhow::Result<()> {
        let all = self.traffic.clients();
        let (mut seen, mut since) = (0, Instant::now());
        while self.opened < all {
            self.dial()?;
            self.listen(Some(Duration::from_secs(1)))?;
            if let Some(why) = &self.refused_logins {
                bail!("client {} of {all} could not log in: {why}", self.opened + 1);
            }
            if self.opened > seen {
                (seen, since) = (self.opened, Instant::now());
            } else if since.elapsed() > STANDSTILL {
                bail!(
                    "{} of {all} clients could log in, and no more for {STANDSTILL:?}: look at the target's limits",
                    self.opened
                );
            }
        }
        Ok(())
    }

    fn play(&mut self) -> anyhow::Result<()> {
        self.running = true;
        self.began = Instant::now();
        let end = Time::ZERO + self.scenario.lasts() + GRACE;
        while !self.traffic.is_over() && self.now() <= end {
            let now = self.now();
            self.traffic.advance(now);
            while self.later.front().is_some_and(|(at, _)| *at <= now) {
                self.to_dial.extend(self.later.pop_front().map(|(_, client)| client));
            }
            self.steps()?;
            self.dial()?;
            let next = self.traffic.next_at().into_iter().chain(self.later.front().map(|(at, _)| *at)).min();
            let wait = next.unwrap_or(end).min(end).since(self.now());
            self.listen(Some(wait))?;
        }
        Ok(())
    }

    /// Says goodbye to everybody; what the record says, and which requests were refused.
    fn close(mut self) -> (BTreeSet<u64>, Record) {
        let mut goodbye = Vec::new();
        make::terminate(&mut goodbye);
        for client in &mut self.clients {
            // A session that is gone already needs none.
            let _ = client.socket.as_mut().map(|socket| socket.send(&goodbye));
        }
        let now = self.now();
        (self.unserved, self.traffic.finish(now))
    }

    /// Waits for events, at most so long, and handles one batch.
    fn listen(&mut self, most: Option<Duration>) -> anyhow::Result<()> {
        let at = most.map(|most| self.now() + most);
        let poll = most.is_some_and(|most| most.is_zero());
        if !poll && self.armed != at {
            let it_value = Timespec::try_from(most.unwrap_or(STANDSTILL)).context("a wait too long")?;
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).context("the timer")?;
            self.armed = at;
        }
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events = Vec::with_capacity(BATCH);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), poll.then_some(&none)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(why).context("epoll"),
        }
        for event in events {
            let key = event.data.u64();
            if key == TIMER {
                self.armed = None;
                continue;
            }
            let (client, generation) = (key as u32, (key >> 32) as u32); // two halves of the key
            if self.clients[client as usize].generation == generation {
                self.event(client, event.flags)?;
            }
        }
        Ok(())
    }

    fn steps(&mut self) -> anyhow::Result<()> {
        while let Some(step) = self.traffic.poll() {
            match step {
                Step::Send { client, group, hold, kind, number, .. } => {
                    let group = &self.scenario.groups[group];
                    self.out.clear();
                    let hold = (kind, hold, self.speed);
                    let answers = sql::request(&mut self.out, group.protocol, &self.table, number, hold);
                    let of = &mut self.clients[client as usize];
                    of.session.asked(answers);
                    of.number = number;
                    let sent = of.socket.as_mut().map(|socket| socket.send(&self.out));
                    if !matches!(sent, Some(Ok(()))) {
                        self.heard(client, Heard::Over(None))?;
                    }
                }
                Step::Reconnect { client } => self.reconnect(client),
            }
        }
        Ok(())
    }

    /// Ends a session for another; one that has none is about to be dialed anyway.
    fn reconnect(&mut self, client: u32) {
        let of = &self.clients[client as usize];
        if of.socket.is_some() {
            self.dialing -= usize::from(!of.session.is_in());
            self.hang_up(client);
            self.to_dial.push_back(client);
        }
    }

    fn hang_up(&mut self, client: u32) {
        let of = &mut self.clients[client as usize];
        of.socket = None;
        of.generation = of.generation.wrapping_add(1);
    }

    /// Begins logins as far as there is room.
    fn dial(&mut self) -> anyhow::Result<()> {
        while self.dialing < LOGINS {
            let Some(client) = self.to_dial.pop_front() else { break };
            let group = &self.scenario.groups[self.traffic.group(client)];
            let user = group.user.as_deref().unwrap_or(&self.target.user);
            let deadline =
                group.deadline.filter(|_| group.tells_deadline).map(|deadline| deadline.as_millis().to_string());
            let mut params = vec![
                ("user", user),
                ("database", self.target.database.as_str()),
                ("application_name", group.application.as_str()),
            ];
            params.extend(deadline.as_deref().map(|deadline| ("poolwarden.deadline_ms", deadline)));
            let mut first = Vec::new();
            let of = &mut self.clients[client as usize];
            of.session = Session::start(&params, &mut first);
            of.generation = of.generation.wrapping_add(1);
            let key = u64::from(of.generation) << 32 | u64::from(client);
            match Socket::connect(self.target, &self.epoll, key, first) {
                Ok(socket) => {
                    of.socket = Some(socket);
                    self.dialing += 1;
                }
                Err(why) if self.running => {
                    self.refused_logins = Some(why.to_string());
                    self.later.push_back((Time::ZERO + self.began.elapsed() + REDIAL, client));
                }
                Err(why) => return Err(anyhow!(why)).context("cannot connect"),
            }
        }
        Ok(())
    }

    fn event(&mut self, client: u32, flags: EventFlags) -> anyhow::Result<()> {
        let generation = self.clients[client as usize].generation;
        if flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP) {
            let done = self.clients[client as usize].socket.as_mut().map(Socket::writable);
            if let Some(Err(why)) = done {
                let message = format!("cannot connect: {why}");
                let said = Said { fatal: true, sqlstate: "08001".to_owned(), message, detail: String::new() };
                return self.heard(client, Heard::Over(Some(said)));
            }
        }
        while self.clients[client as usize].generation == generation {
            let of = &mut self.clients[client as usize];
            let Some(socket) = of.socket.as_mut() else { break };
            let heard = match socket.read(&mut self.buffer) {
                Read::Nothing => break,
                Read::Closed => Some(of.session.closed()),
                Read::Bytes(length) => {
                    let group = &self.scenario.groups[self.traffic.group(client)];
                    let user = group.user.as_deref().unwrap_or(&self.target.user);
                    self.out.clear();
                    let who = (user, self.target.password.as_ref());
                    let heard = of.session.hear(&self.buffer[..length], who, &mut self.keys, &mut self.out);
                    let gone = !self.out.is_empty() && socket.send(&self.out).is_err();
                    if gone { Some(of.session.closed()) } else { heard }
                }
            };
            if let Some(heard) = heard {
                self.heard(client, heard)?;
            }
        }
        Ok(())
    }

    fn heard(&mut self, client: u32, heard: Heard) -> anyhow::Result<()> {
        let now = self.now();
        match heard {
            Heard::In => {
                self.dialing -= 1;
                if self.running {
                    self.traffic.back(now, client);
                } else {
                    self.opened += 1;
                }
            }
            Heard::Answer(None, false) => {
                self.unserved.remove(&self.clients[client as usize].number);
                self.traffic.ended(now, client, Outcome::Served, true);
            }
            Heard::Answer(None, true) => {
                self.traffic.ended(
                    now,
                    client,
                    Outcome::Failed("answered, and left in a transaction".to_owned()),
                    true,
                );
            }
            Heard::Answer(Some(said), open) => self.refused_or_failed(client, &said, (true, open)),
            Heard::Over(said) => self.over(client, said),
        }
        self.steps()
    }

    fn over(&mut self, client: u32, said: Option<Said>) {
        let of = &self.clients[client as usize];
        let (was_asked, was_in) = (of.session.is_asked(), of.session.is_in());
        self.hang_up(client);
        let silent = || Said {
            fatal: true,
            sqlstate: "08006".to_owned(),
            message: "the connection ended".to_owned(),
            detail: String::new(),
        };
        let said = said.unwrap_or_else(silent);
        if !was_in {
            self.dialing -= 1;
            self.refused_logins = Some(said.to_string());
            self.later.push_back((self.now() + REDIAL, client));
            return;
        }
        if !self.running {
            self.refused_logins = Some(said.to_string());
        } else if was_asked {
            self.refused_or_failed(client, &said, (false, false));
        } else {
            self.traffic.lost(client);
        }
        self.to_dial.push_back(client);
    }

    /// An error came: whether the session lives on, and in a transaction.
    fn refused_or_failed(&mut self, client: u32, said: &Said, (alive, open): (bool, bool)) {
        let now = self.now();
        let outcome = match refusal(said) {
            Some(name) => {
                let group = self.traffic.group(client);
                if let Some(wrong) = wrong(said, self.scenario.groups[group].protocol, (alive, open)) {
                    *self.traffic.record.wrong.entry((group, wrong)).or_default() += 1;
                }
                self.unserved.insert(self.clients[client as usize].number);
                Outcome::Refused(name)
            }
            None => Outcome::Failed(said.to_string()),
        };
        self.traffic.ended(now, client, outcome, alive);
    }
}

/// The name of a refusal; `None` if it is another error. poolwarden names reason and limit in the DETAIL; others say 53300 for a
/// full pool, and PgBouncer has a text of its own.
fn refusal(said: &Said) -> Option<String> {
    let named = |key: &str| said.detail.split(' ').find_map(|word| word.strip_prefix(key));
    match (named("reason="), named("limit=")) {
        (Some(reason), Some(limit)) => Some(format!("{reason}/{limit}")),
        _ if said.message.starts_with("query_wait_timeout") => Some("query_wait_timeout".to_owned()),
        _ => (said.sqlstate == "53300").then(|| "53300".to_owned()),
    }
}

/// What is wrong with a refusal: its SQLSTATE, or that the session did not live on outside any transaction. Only of a pipelined
/// transaction the session must end, because the rest of it may be on its way.
fn wrong(said: &Said, protocol: Protocol, (alive, open): (bool, bool)) -> Option<String> {
    let ends = protocol == Protocol::Pipelined;
    if !["53300", "58000"].contains(&said.sqlstate.as_str()) {
        Some(format!("SQLSTATE {}", said.sqlstate))
    } else if !alive && !ends {
        Some("the session ended".to_owned())
    } else if open {
        Some("the session was left in a transaction".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_errors_and_right_ones_from_wrong_ones() {
        let said = |sqlstate: &str, message: &str, detail: &str| Said {
            fatal: false,
            sqlstate: sqlstate.to_owned(),
            message: message.to_owned(),
            detail: detail.to_owned(),
        };
        let ours = said(
            "53300",
            "pool \"app\": ...",
            "pool=app user=app class=batch reason=hopeless limit=wait_time binding=pool_size",
        );
        assert_eq!(refusal(&ours).as_deref(), Some("hopeless/wait_time"));
        assert_eq!(refusal(&said("42P01", "no such table", "")), None);
        let theirs = said("08P01", "query_wait_timeout", "");
        assert_eq!(refusal(&theirs).as_deref(), Some("query_wait_timeout"));
        assert_eq!(wrong(&ours, Protocol::Simple, (true, false)), None);
        assert!(wrong(&ours, Protocol::Simple, (false, false)).is_some());
        assert!(wrong(&ours, Protocol::Simple, (true, true)).is_some());
        assert_eq!(wrong(&ours, Protocol::Pipelined, (false, false)), None);
        assert!(wrong(&theirs, Protocol::Simple, (true, false)).is_some());
    }
}
