//! Recorded requests asked again, under other settings.

use std::collections::VecDeque;
use std::time::Duration;

use poolwarden_switch::pool::{HostSettings, Time};

use super::fit::Fit;
use super::{Ask, Met, Recorded};
use crate::queueing::{Course, Demand, Ended, Machine, Model, Seat, Sharing, Wish, Work, run};
use crate::scenario::HoldKind;

/// After the last request everybody who waits is given this long.
const GRACE: Duration = Duration::from_secs(90);
/// The connections a pool had at the beginning are opened before it: the longest connect, and this.
const WARM: Duration = Duration::from_secs(1);
/// What connects take where none was recorded.
const CONNECT: Duration = Duration::from_millis(5);

/// What came of a rehearsal.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsal {
    /// What it was like. Its beginning is the recording's.
    pub course: Course,
    /// Retries that were recorded and not made: what they came again for was granted this time.
    pub spared: u64,
    /// Requests that came later than recorded: every client of its kind had one under way.
    pub delayed: u64,
    /// The most server connections lent at once, of all pools.
    pub most_lent: u32,
    /// Every request as it would have been recorded, where that was asked for.
    pub asks: Vec<Ask>,
}

/// A rehearsal to be played.
#[derive(Clone, Debug)]
pub struct Rehearse<'a> {
    /// Prepared by the fit.
    pub recorded: &'a Recorded,
    /// How work slows work.
    pub fit: &'a Fit,
    /// The pooler's.
    pub settings: HostSettings,
    /// What chance begins with.
    pub seed: u64,
    /// How long a moment of its course is.
    pub step: Duration,
    /// Whether a client that came again at once after a refusal is taken to have meant the same request, so that it does not come
    /// where that is granted. Else it has come for another.
    pub spares: bool,
    /// Whether every request is told of as it would have been recorded.
    pub keeps: bool,
}

impl Rehearse<'_> {
    /// Plays it. `told` hears which part of it is done, now and then.
    ///
    /// # Errors
    /// A pool that does not let its clients in.
    pub fn play(self, told: &mut dyn FnMut(f64)) -> Result<Rehearsal, String> {
        let Self { recorded, fit, settings, seed, step, spares, keeps } = self;
        let connects = if recorded.connects.is_empty() { vec![CONNECT] } else { recorded.connects.clone() };
        let warm = 2 * connects.iter().max().copied().unwrap_or(CONNECT);
        let begins = Time::ZERO + warm + WARM;
        let model = Model { machine: machine(fit), connects, faults: Vec::new(), seed };
        let (seats, members) = seats(recorded);
        let demand = Replay::new(recorded, fit, (begins, warm), (spares, keeps));
        let mut run = run::Run::new(settings, model, ((&seats[..], &members[..], false), demand), (begins, step))?;
        let lasts = recorded.lasts.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut part = |now: Time| told((now.since(begins).as_secs_f64() / lasts).min(1.0));
        run.play(begins + recorded.lasts + GRACE, &mut part)?;
        let (course, most_lent) = (run.course, run.most_lent);
        let Replay { spared, delayed, mut asks, .. } = run.demand;
        asks.sort_by_key(|ask| ask.arrived_us);
        Ok(Rehearsal { course, spared, delayed, most_lent, asks })
    }
}

fn machine(fit: &Fit) -> Machine {
    use super::Contention::{Alone, Queue, Shared};
    let sharing = match fit.contention {
        Shared(sharing) => sharing,
        Alone | Queue(_) => Sharing { free: 1.0, slope: 0.0 },
    };
    let places = match fit.contention {
        Queue(places) => places,
        Alone | Shared(_) => 1,
    };
    Machine { slots: u32::MAX, sharing, places }
}

/// One seat for each kind; clients by their kinds, and behind them one that warms each connection that was open.
fn seats(recorded: &Recorded) -> (Vec<Seat>, Vec<u32>) {
    let of = |kind: &super::Kind| {
        let key = recorded.pools[kind.pool].clone();
        Seat {
            name: format!("pool {}/{}", key.database, key.user),
            key,
            class: kind.class,
            tenant: kind.tenant,
            application: String::new(),
        }
    };
    let seats = recorded.kinds.iter().map(of).collect();
    let mut members = recorded.clients.clone();
    for (pool, open) in recorded.open.iter().enumerate() {
        let kind = recorded.kinds.iter().position(|kind| kind.pool == pool);
        members.extend(kind.into_iter().flat_map(|kind| (0..*open).map(move |_| kind as u32)));
    }
    (seats, members)
}

/// Of one client.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    busy: bool,
    /// It stands among the free ones of its kind, whether it is free or not.
    stands: bool,
    /// What it asks for now, since when, and since when it has its connection.
    place: usize,
    asked: Time,
    granted: Option<Time>,
}

/// Clients of one kind: where its own is busy, another of them sends a request, as the connections of an application's pool do.
#[derive(Clone, Debug, Default)]
struct Crew {
    /// Who is busy all the same is passed over.
    free: VecDeque<u32>,
    later: VecDeque<usize>,
}

/// What became of the last request recorded of a client, whoever sent it: whether it is to come again is known from that.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    place: usize,
    is_under_way: bool,
    /// It was refused in the recording, and served now.
    is_content: bool,
    /// A retry whose time came while it was under way.
    again: Option<usize>,
}

#[derive(Debug)]
struct Replay<'a> {
    recorded: &'a Recorded,
    kind: HoldKind,
    begins: Time,
    next: usize,
    clients: Vec<State>,
    lasts: Vec<Last>,
    /// By kinds: whose clients are free, and requests for which none is.
    crews: Vec<Crew>,
    wishes: VecDeque<Wish>,
    under_way: u64,
    spared: u64,
    delayed: u64,
    spares: bool,
    keeps: bool,
    asks: Vec<Ask>,
}

impl<'a> Replay<'a> {
    fn new(recorded: &'a Recorded, fit: &Fit, (begins, warm): (Time, Duration), (spares, keeps): (bool, bool)) -> Self {
        use super::Contention::{Alone, Queue, Shared};
        let kind = match fit.contention {
            Alone => HoldKind::Sleep,
            Shared(_) => HoldKind::Cpu,
            Queue(_) => HoldKind::Lock,
        };
        let mut replay = Self {
            recorded,
            kind,
            begins,
            next: 0,
            clients: vec![State { stands: true, ..State::default() }; recorded.clients.len()],
            lasts: vec![Last::default(); recorded.clients.len()],
            crews: vec![Crew::default(); recorded.kinds.len()],
            wishes: VecDeque::new(),
            under_way: 0,
            spared: 0,
            delayed: 0,
            spares,
            keeps,
            asks: Vec::new(),
        };
        for (client, kind) in (0..).zip(&recorded.clients) {
            replay.crews[*kind as usize].free.push_back(client);
        }
        let warmers: u32 = recorded.open.iter().sum();
        let first = recorded.clients.len() as u32;
        let work = Work { kind: HoldKind::Sleep, alone: warm, idle: Duration::ZERO };
        for client in first..first + warmers {
            let leaves = Time::ZERO + warm; // where the settings do not allow as many
            replay.wishes.push_back(Wish::Ask { client, work, deadline: Time::NEVER, leaves });
        }
        replay
    }

    fn send(&mut self, now: Time, place: usize, client: u32) {
        let ask = &self.recorded.asks[place];
        let idle = Duration::from_micros(u64::from(ask.idle_us));
        let work = Work { kind: self.kind, alone: Duration::from_nanos(ask.alone_ns), idle };
        let leaves = match ask.met {
            Met::Left => self.begins + Duration::from_micros(ask.arrived_us + u64::from(ask.waited_us)),
            Met::Granted | Met::Refused => Time::NEVER,
        };
        let state = &mut self.clients[client as usize];
        *state = State { busy: true, stands: state.stands, place, asked: now, granted: None };
        self.lasts[ask.client as usize] = Last { place, is_under_way: true, ..Last::default() };
        self.under_way += 1;
        self.wishes.push_back(Wish::Ask { client, work, deadline: Time::NEVER, leaves });
    }

    /// What has just ended.
    fn as_recorded(&self, now: Time, state: &State, end: Ended<'_>) -> Ask {
        let us = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let granted = state.granted.unwrap_or(now);
        let met = match (end, state.granted) {
            (Ended::Served | Ended::Lost, Some(_)) => Met::Granted,
            (Ended::Left, _) => Met::Left,
            (Ended::Served | Ended::Lost | Ended::Refused(_), _) => Met::Refused,
        };
        Ask {
            arrived_us: us(state.asked.since(self.begins)),
            waited_us: u32::try_from(us(granted.since(state.asked))).unwrap_or(u32::MAX),
            held_us: us(now.since(granted)),
            met,
            ..self.recorded.asks[state.place]
        }
    }

    /// A request whose time has come: sent, by another client where its own is busy, put off where all are, or needless.
    fn come(&mut self, now: Time, place: usize) {
        let ask = &self.recorded.asks[place];
        if self.spares && ask.is_retry && self.is_spared(ask.client, place) {
            return;
        }
        let kind = self.recorded.clients[ask.client as usize];
        let is_own_free = !self.clients[ask.client as usize].busy;
        let Some(client) = is_own_free.then_some(ask.client).or_else(|| self.free(kind)) else {
            self.delayed += 1;
            self.crews[kind as usize].later.push_back(place);
            return;
        };
        self.send(now, place, client);
    }

    /// Whether a retry is needless, or not known to be needed yet.
    fn is_spared(&mut self, client: u32, place: usize) -> bool {
        let last = &mut self.lasts[client as usize];
        if last.is_under_way && last.again.is_none() {
            last.again = Some(place);
            return true;
        }
        let is_spared = last.is_under_way || last.is_content;
        self.spared += u64::from(is_spared);
        is_spared
    }

    /// What its client had come again for has ended.
    fn settle(&mut self, now: Time, place: usize, is_served: bool) {
        let ask = &self.recorded.asks[place];
        let last = &mut self.lasts[ask.client as usize];
        if last.place != place {
            return;
        }
        (last.is_under_way, last.is_content) = (false, is_served && ask.met == Met::Refused);
        if let Some(again) = last.again.take() {
            self.come(now, again);
        }
    }

    fn free(&mut self, kind: u32) -> Option<u32> {
        while let Some(client) = self.crews[kind as usize].free.pop_front() {
            let state = &mut self.clients[client as usize];
            state.stands = false;
            if !state.busy {
                return Some(client);
            }
        }
        None
    }

    /// A client that is free: for a request that waits for one, or until there is one.
    fn release(&mut self, now: Time, client: u32) {
        let crew = &mut self.crews[self.recorded.clients[client as usize] as usize];
        let state = &mut self.clients[client as usize];
        if let Some(place) = crew.later.pop_front() {
            self.send(now, place, client);
        } else if !state.stands {
            state.stands = true;
            crew.free.push_back(client);
        }
    }
}

impl Demand for Replay<'_> {
    fn next_at(&mut self) -> Option<Time> {
        let ask = self.recorded.asks.get(self.next)?;
        Some(self.begins + Duration::from_micros(ask.arrived_us))
    }

    fn advance(&mut self, now: Time) {
        while self.next_at().is_some_and(|at| at <= now) {
            self.come(now, self.next);
            self.next += 1;
        }
    }

    fn poll(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    fn granted(&mut self, now: Time, client: u32) {
        if let Some(state) = self.clients.get_mut(client as usize) {
            state.granted = Some(now);
        }
    }

    fn ended(&mut self, now: Time, client: u32, end: Ended<'_>) {
        let Some(state) = self.clients.get_mut(client as usize) else { return }; // it only warmed a connection
        self.under_way -= 1;
        state.busy = false;
        let state = *state;
        if self.keeps {
            self.asks.push(self.as_recorded(now, &state, end));
        }
        self.release(now, client);
        self.settle(now, state.place, matches!(end, Ended::Served));
    }

    fn back(&mut self, _now: Time, _client: u32) {}

    fn is_over(&mut self) -> bool {
        self.next == self.recorded.asks.len() && self.under_way == 0
    }
}
