//! The clients of a scenario, without their sockets: who is sent on which connection, who waits for one, who comes again.
//!
//! Both kinds of run drive it: it says what to send, and is told what came of it. It keeps the record.
//!
//! ```text
//!   Idle ─► Busy ─► Idle            answered, or refused for good
//!             └───► Resting ─► Busy   refused, and coming again
//!   any ─► Away ─► Idle             its session ended; back with a new one
//!   Thinking ─► Busy ─► Thinking    a user, as long as the scenario lasts
//! ```

use std::collections::VecDeque;
use std::iter::Peekable;
use std::time::Duration;

use poolwarden_switch::pool::Time;

use super::arrival::{Arrival, Arrivals, drawn};
use super::client::Insistence;
use super::record::{End, Record, Sample};
use crate::agenda::Agenda;
use crate::random::Random;
use crate::scenario::{Hold, HoldKind, Scenario};

/// What a run does with a client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send a request on it.
    Send {
        /// The client connection.
        client: u32,
        /// Of which group it is.
        group: usize,
        /// How long the request holds its server connection.
        hold: Duration,
        /// And by what.
        kind: HoldKind,
        /// How long its transaction is idle afterwards.
        idle: Duration,
        /// When its client goes away.
        gives_up: Option<Time>,
        /// Requests are numbered in the order of their arrival; one that comes again keeps its number.
        number: u64,
    },
    /// End its session without a word and begin another; [`Traffic::back`] when that is done.
    Reconnect {
        /// The client connection.
        client: u32,
    },
}

/// What came of a request that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered.
    Served,
    /// Refused, by this name, with nothing done.
    Refused(String),
    /// Neither, and what was said.
    Failed(String),
}

/// One request under way.
#[derive(Clone, Copy, Debug)]
struct Request {
    arrival: Arrival,
    number: u64,
    insistence: Insistence,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Idle,
    Busy(Request),
    /// Coming again then.
    Resting(Request, Time),
    /// A user who asks then.
    Thinking(Time),
    /// Without a session; the request is sent once there is one again, and not before this.
    Away(Option<(Request, Time)>),
}

#[derive(Clone, Copy, Debug)]
struct Client {
    group: usize,
    state: State,
}

/// One group's connections and those who wait for one.
#[derive(Debug, Default)]
struct Crew {
    /// The longest idle first. A client that was taken out of turn is skipped when it comes up.
    idle: VecDeque<u32>,
    waiting: VecDeque<Request>,
}

/// All clients of a scenario.
#[derive(Debug)]
pub struct Traffic<'a> {
    scenario: &'a Scenario,
    arrivals: Peekable<Arrivals<'a>>,
    numbers: u64,
    clients: Vec<Client>,
    crews: Vec<Crew>,
    again: Agenda<u32>,
    steps: VecDeque<Step>,
    under_way: u64,
    /// Whether lateness is measured: only where time is not made up.
    measures: bool,
    /// Whether every request is kept as it ended.
    keeps: bool,
    /// What users do, each group of them by a chance of its own: how long they think, and how long they hold.
    users: Vec<(Random, Random)>,
    /// What has happened.
    pub record: Record,
}

impl<'a> Traffic<'a> {
    /// Every client with a session, idle. `measures`: the generator's lag goes into the record.
    #[must_use]
    pub fn new(scenario: &'a Scenario, measures: bool) -> Self {
        let mut traffic = Self {
            scenario,
            arrivals: Arrivals::new(scenario).peekable(),
            numbers: 0,
            clients: Vec::new(),
            crews: Vec::new(),
            again: Agenda::default(),
            steps: VecDeque::new(),
            under_way: 0,
            measures,
            keeps: false,
            users: Vec::new(),
            record: Record::default(),
        };
        let mut seeds = Random::new(!scenario.seed);
        for (group, of) in scenario.groups.iter().enumerate() {
            let first = traffic.clients.len() as u32; // groups have a million clients at most
            traffic.clients.extend((0..of.clients).map(|_| Client { group, state: State::Idle }));
            let idle = if of.think.is_some() { 0..0 } else { first..first + of.clients };
            traffic.crews.push(Crew { idle: idle.collect(), waiting: VecDeque::new() });
            traffic.users.push((seeds.fork(), seeds.fork()));
            if of.think.is_some() {
                (first..first + of.clients).for_each(|client| traffic.think(Time::ZERO, client));
            }
        }
        traffic
    }

    /// Every request is kept as it ends, not only counted.
    #[must_use]
    pub fn keeping(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// How many client connections there are; they are numbered from 0, group by group.
    #[must_use]
    pub fn clients(&self) -> u32 {
        self.clients.len() as u32
    }

    /// The group of a client connection.
    #[must_use]
    pub fn group(&self, client: u32) -> usize {
        self.clients[client as usize].group
    }

    /// When [`Traffic::advance`] is due.
    #[must_use]
    pub fn next_at(&mut self) -> Option<Time> {
        let arrival = self.arrivals.peek().map(|arrival| arrival.at);
        let again = self.again.first();
        arrival.into_iter().chain(again).min()
    }

    /// Whether nobody will arrive and nobody is under way.
    #[must_use]
    pub fn is_over(&mut self) -> bool {
        self.arrivals.peek().is_none() && self.under_way == 0 && self.again.first().is_none()
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Lets everybody come whose time it is.
    pub fn advance(&mut self, now: Time) {
        while self.again.first().is_some_and(|at| at <= now) {
            let Some((_, client)) = self.again.next() else { break };
            match self.clients[client as usize].state {
                State::Resting(request, at) if at <= now => self.send(client, request),
                State::Thinking(at) if at <= now => self.ask(at, client),
                State::Idle | State::Busy(_) | State::Resting(..) | State::Thinking(_) | State::Away(_) => {}
            }
        }
        while let Some(arrival) = self.arrivals.next_if(|arrival| arrival.at <= now) {
            if self.measures {
                self.record.lags.push(now.since(arrival.at));
            }
            self.arrive(now, arrival);
        }
    }

    /// A user thinks, if there is time left to ask after it.
    fn think(&mut self, now: Time, client: u32) {
        let group = self.clients[client as usize].group;
        self.clients[client as usize].state = State::Idle;
        let Some(law) = self.scenario.groups[group].think else { return };
        let at = now + drawn(&mut self.users[group].0, law);
        if at < Time::ZERO + self.scenario.lasts() {
            self.clients[client as usize].state = State::Thinking(at);
            self.again.put(at, client);
        }
    }

    /// A user has thought.
    fn ask(&mut self, at: Time, client: u32) {
        let group = self.clients[client as usize].group;
        let since = at.since(Time::ZERO);
        let phase = self.scenario.phases.iter().rposition(|phase| phase.begins <= since).unwrap_or(0);
        let (hold, of) = (self.scenario.groups[group].parts[phase].hold, &self.scenario.phases[phase]);
        let share = (since.as_secs_f64() - of.begins.as_secs_f64()) / of.lasts.as_secs_f64();
        let hold = hold.grown(drawn(&mut self.users[group].1, hold.law), share);
        self.numbers += 1;
        self.under_way += 1;
        let arrival = Arrival { at, group, phase, hold, client: None, reconnects: false };
        self.send(client, Request { arrival, number: self.numbers, insistence: Insistence::default() });
    }

    fn arrive(&mut self, now: Time, arrival: Arrival) {
        self.numbers += 1;
        self.under_way += 1;
        let request = Request { arrival, number: self.numbers, insistence: Insistence::default() };
        let first: u32 = self.scenario.groups[..arrival.group].iter().map(|group| group.clients).sum();
        let own = arrival.client.map(|client| first + client);
        match own {
            Some(client) if arrival.reconnects => self.reconnect(now, client, request),
            Some(client) if matches!(self.clients[client as usize].state, State::Idle) => self.send(client, request),
            Some(_) | None => match self.idle(arrival.group) {
                Some(client) => self.send(client, request),
                None => self.crews[arrival.group].waiting.push_back(request),
            },
        }
    }

    fn idle(&mut self, group: usize) -> Option<u32> {
        let crew = &mut self.crews[group];
        while let Some(client) = crew.idle.pop_front() {
            if matches!(self.clients[client as usize].state, State::Idle) {
                return Some(client);
            }
        }
        None
    }

    fn send(&mut self, client: u32, mut request: Request) {
        request.insistence.came();
        let gives_up = self.gives_up(&request);
        let Arrival { group, phase, hold, .. } = request.arrival;
        let Hold { kind, idle, .. } = self.scenario.groups[group].parts[phase].hold;
        self.clients[client as usize].state = State::Busy(request);
        self.steps.push_back(Step::Send { client, group, hold, kind, idle, gives_up, number: request.number });
    }

    fn reconnect(&mut self, now: Time, client: u32, request: Request) {
        match self.clients[client as usize].state {
            State::Idle | State::Thinking(_) | State::Away(None) => {}
            State::Busy(old) | State::Resting(old, _) | State::Away(Some((old, _))) => self.end(now, &old, End::Failed),
        }
        self.clients[client as usize].state = State::Away(Some((request, now)));
        self.steps.push_back(Step::Reconnect { client });
    }

    /// When the client of a request goes away.
    fn gives_up(&self, request: &Request) -> Option<Time> {
        let deadline = self.scenario.groups[request.arrival.group].deadline?;
        Some(request.arrival.at + deadline)
    }

    /// When a request that still waits for a connection is given up.
    fn is_unsent_at(&self, request: &Request) -> Option<Time> {
        let acquire = self.scenario.groups[request.arrival.group].acquire.map(|acquire| request.arrival.at + acquire);
        acquire.into_iter().chain(self.gives_up(request)).min()
    }

    /// What came of the request that was sent on `client`, and whether its session lives on. If it does not, the caller sees
    /// to a new one and says [`Traffic::back`].
    pub fn ended(&mut self, now: Time, client: u32, outcome: Outcome, alive: bool) {
        let State::Busy(request) = self.clients[client as usize].state else { return };
        let Arrival { group, phase, .. } = request.arrival;
        let mut again = None;
        match outcome {
            Outcome::Served => self.end(now, &request, End::Served),
            Outcome::Failed(said) => {
                *self.record.failed.entry((group, said)).or_default() += 1;
                self.end(now, &request, End::Failed);
            }
            Outcome::Refused(name) => {
                self.record.refused(group, phase, name);
                again = self.comes_again(now, &request);
                if again.is_none() {
                    self.end(now, &request, End::Refused);
                }
            }
        }
        if !alive {
            *self.record.lost.entry(group).or_default() += 1;
            self.clients[client as usize].state = State::Away(again.map(|at| (request, at)));
            return;
        }
        match again {
            Some(at) => self.rest(now, client, request, at),
            None => self.free(now, client),
        }
    }

    fn comes_again(&self, now: Time, request: &Request) -> Option<Time> {
        let wait = request.insistence.comes_again(&self.scenario.groups[request.arrival.group].retry)?;
        let at = now + wait;
        self.gives_up(request).is_none_or(|end| at < end).then_some(at)
    }

    fn rest(&mut self, now: Time, client: u32, request: Request, at: Time) {
        if at <= now {
            self.send(client, request);
        } else {
            self.clients[client as usize].state = State::Resting(request, at);
            self.again.put(at, client);
        }
    }

    fn free(&mut self, now: Time, client: u32) {
        let group = self.clients[client as usize].group;
        if self.scenario.groups[group].think.is_some() {
            return self.think(now, client);
        }
        self.clients[client as usize].state = State::Idle;
        while let Some(request) = self.crews[group].waiting.pop_front() {
            match self.is_unsent_at(&request).filter(|end| *end <= now) {
                Some(end) => self.end(end, &request, End::Unsent),
                None => return self.send(client, request),
            }
        }
        self.crews[group].idle.push_back(client);
    }

    /// A session ended by itself while nothing was asked on it. The caller sees to a new one.
    pub fn lost(&mut self, client: u32) {
        let of = &mut self.clients[client as usize];
        *self.record.lost.entry(of.group).or_default() += 1;
        match of.state {
            State::Idle | State::Thinking(_) => of.state = State::Away(None),
            State::Resting(request, at) => of.state = State::Away(Some((request, at))),
            State::Busy(_) | State::Away(_) => {}
        }
    }

    /// The client has a session again.
    pub fn back(&mut self, now: Time, client: u32) {
        match self.clients[client as usize].state {
            State::Away(Some((request, at))) => self.rest(now, client, request, at),
            State::Away(None) => self.free(now, client),
            State::Idle | State::Busy(_) | State::Resting(..) | State::Thinking(_) => {}
        }
    }

    fn end(&mut self, now: Time, request: &Request, end: End) {
        let Arrival { group, phase, at, hold, .. } = request.arrival;
        let attempts = request.insistence.attempts;
        let sample = Sample { group, phase, intended: at, ended: now, hold, attempts, end };
        self.record.tally.note(self.scenario, &sample);
        if self.keeps {
            self.record.samples.push(sample);
        }
        self.under_way -= 1;
    }

    /// The run is over: whoever waits was never sent, whoever is under way has failed.
    #[must_use]
    pub fn finish(mut self, now: Time) -> Record {
        for group in 0..self.crews.len() {
            while let Some(request) = self.crews[group].waiting.pop_front() {
                let end = self.is_unsent_at(&request).unwrap_or(now).min(now);
                self.end(end, &request, End::Unsent);
            }
        }
        for client in 0..self.clients.len() {
            match self.clients[client].state {
                State::Idle | State::Thinking(_) | State::Away(None) => {}
                State::Busy(request) | State::Resting(request, _) | State::Away(Some((request, _))) => {
                    let said = "no answer by the end of the run".to_owned();
                    *self.record.failed.entry((request.arrival.group, said)).or_default() += 1;
                    self.end(now, &request, End::Failed);
                }
            }
        }
        self.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    /// One client, ten arrivals in the first second, none later.
    fn scenario(more: &str) -> Scenario {
        let text = format!(
            "[scenario]\nname = \"t\"\nseed = 3\nduration = \"1s\"\n[[load]]\nname = \"web\"\nrate = \"10/s\"\nclients = 1\n\
             hold = {{ constant = \"1ms\" }}\n{more}\n"
        );
        scenario::read(&text).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    fn refused() -> Outcome {
        Outcome::Refused("x".to_owned())
    }

    fn sends(traffic: &mut Traffic<'_>) -> Vec<u64> {
        std::iter::from_fn(|| traffic.poll())
            .map(|step| match step {
                Step::Send { number, .. } => number,
                Step::Reconnect { .. } => panic!("nobody reconnects"),
            })
            .collect()
    }

    #[test]
    fn who_finds_every_connection_busy_waits_in_order_and_gives_up_after_acquire() {
        let scenario = scenario("acquire = \"500ms\"");
        let mut traffic = Traffic::new(&scenario, true).keeping();
        traffic.advance(at(1000));
        assert_eq!(sends(&mut traffic), [1]);
        traffic.ended(at(1001), 0, Outcome::Served, true);
        let second = sends(&mut traffic);
        assert!(second.len() == 1 && second[0] > 2, "the oldest have given up: {second:?}");
        let record = traffic.finish(at(1002));
        let unsent: Vec<_> = record.samples.iter().filter(|sample| sample.end == End::Unsent).collect();
        assert!(!unsent.is_empty());
        assert!(
            unsent
                .iter()
                .all(|sample| sample.ended <= at(1002) && sample.ended.since(sample.intended).as_millis() <= 500)
        );
        assert!(
            record.lags.iter().all(|lag| *lag <= Duration::from_secs(1)) && record.lags.len() == record.samples.len()
        );
    }

    #[test]
    fn a_refused_client_comes_again_on_its_own_connection_and_its_session_may_end_meanwhile() {
        let scenario = scenario("retry = { times = 2, after = \"100ms\" }");
        let mut traffic = Traffic::new(&scenario, false).keeping();
        let first = traffic.next_at().expect("somebody arrives");
        traffic.advance(first);
        assert_eq!(sends(&mut traffic), [1]);
        traffic.ended(first, 0, refused(), true);
        assert_eq!(sends(&mut traffic), [0; 0]);
        traffic.lost(0);
        let again = first + Duration::from_millis(100);
        traffic.back(first, 0);
        while traffic.next_at().is_some_and(|next| next < again) {
            let next = traffic.next_at().expect("just seen");
            traffic.advance(next);
        }
        assert_eq!(sends(&mut traffic), [0; 0], "its connection is kept for it");
        traffic.advance(again);
        assert_eq!(sends(&mut traffic), [1]);
        traffic.ended(again, 0, refused(), false);
        traffic.back(again + Duration::from_secs(5), 0);
        assert_eq!(sends(&mut traffic), [1], "it comes when it has a session again");
        traffic.ended(again + Duration::from_secs(5), 0, refused(), true);
        let record = traffic.finish(again + Duration::from_secs(5));
        let sample = record.samples[0];
        assert_eq!((sample.end, sample.attempts, sample.intended), (End::Refused, 3, first));
        assert_eq!(record.refused.values().sum::<u64>(), 3);
        assert_eq!(record.lost.get(&0), Some(&2));
    }

    #[test]
    fn what_is_under_way_at_the_end_has_failed() {
        let scenario = scenario("");
        let mut traffic = Traffic::new(&scenario, false).keeping();
        traffic.advance(at(1000));
        assert!(!traffic.is_over());
        let record = traffic.finish(at(1000));
        assert_eq!(record.samples.iter().filter(|sample| sample.end == End::Failed).count(), 1);
        assert!(record.samples.len() > 1 && record.failed.values().sum::<u64>() == 1);
    }
}
