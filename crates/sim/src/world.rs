//! The made-up world: who is in it, what will happen, and the loop that lets it happen.
//!
//! It knows the time, and nothing else does. Everything that happens is an entry of the agenda; equal seeds give equal worlds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::{ConnId, HostId, HostSettings, LoopId, ServerFacts, Time};
use poolwarden_switch::{Desk, Mail, Shared, Switch, Target};

use crate::agenda::Agenda;
use crate::client::{Client, Excuses, Tally};
use crate::edge::Places;
use crate::lane::Connect;
use crate::plan::{Plan, Trouble};
use crate::postgres::Postgres;
use crate::random::Random;
use crate::wire::{LinkId, Outside, Wires};

/// The one host of this world.
pub(crate) const HOST: HostId = HostId(0);
/// Inputs a run may have before its log is full.
const LOGGED: usize = 1 << 20;
/// Most bytes kept for a peer that does not read, beside two reads of its partner: a message that was seen whole, and last words.
const MOST_UNSENT: usize = 8 << 10;

/// What can happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A loop looks at a connection.
    Inside(LinkId),
    /// A client or a backend looks at its end.
    Outside(LinkId),
    Mail(usize),
    Timer(usize),
    Clock,
    Lane,
    Connected(Box<Connect>),
    CancelMeets {
        pid: u32,
        secret: Vec<u8>,
    },
    CancelEnds {
        from: LoopId,
        conn: ConnId,
        ended: bool,
    },
    Arrives(u32),
    Goes(usize),
    Vanishes(usize),
    Cancels {
        client: usize,
        right: bool,
    },
    Works(u32),
    Exits(u32),
    Trouble(Trouble),
    Resume,
    Stop,
    Watch,
    Facts(Box<ServerFacts>),
    Patrol,
}

pub(crate) struct Loop {
    pub(crate) switch: Switch<LinkId>,
    pub(crate) places: Places,
    pub(crate) now: Time,
    pub(crate) mail_due: bool,
    pub(crate) timer: Time,
    pub(crate) stalled_until: Time,
}

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// What must not have been, and when; `None`: all was well.
    pub failure: Option<String>,
    /// What clients met.
    pub tally: Tally,
    /// Things that happened.
    pub steps: u64,
    /// Most backends at once.
    pub backends: usize,
    /// Connections that moved between loops.
    pub moved: u64,
}

/// A world.
pub struct World {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    /// What the core was made with.
    pub(crate) settings: HostSettings,
    pub(crate) now: Time,
    pub(crate) random: Random,
    pub(crate) agenda: Agenda<Happening>,
    pub(crate) shared: Arc<Shared<LinkId>>,
    pub(crate) loops: Vec<Loop>,
    pub(crate) wires: Wires,
    pub(crate) wakes: Vec<Target>,
    pub(crate) breaches: Vec<String>,
    pub(crate) clients: Vec<Client>,
    pub(crate) postgres: Postgres,
    pub(crate) desk: Desk,
    pub(crate) excuses: Excuses,
    clock_at: Time,
    lane_due: bool,
    pub(crate) stopped: bool,
    pub(crate) quiet_since: Option<Time>,
    /// The timeline, where somebody wants to read it.
    pub(crate) timeline: Option<Vec<String>>,
    core_told: usize,
    /// Server connections that are becoming clean, and since when that was seen.
    pub(crate) cleaning: BTreeMap<u64, Time>,
    steps: u64,
}

impl World {
    /// The world of a seed, before anything happens.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random).with_classes(seed);
        Self::of_plan(seed, plan, random)
    }

    /// A world whose clients say nothing but whole transactions at once, in pieces, to a pool of one connection that refuses often.
    #[must_use]
    pub fn of_pipelines(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random).with_classes(seed).with_pipelines(seed);
        Self::of_plan(seed, plan, random)
    }

    fn of_plan(seed: u64, plan: Plan, random: Random) -> Self {
        let shared = Arc::new(Shared::new(vec![plan.settings.clone()], seed, plan.loops, plan.book.clone()));
        let loops = (0..plan.loops).map(|me| Loop {
            switch: Switch::new(LoopId(me), shared.clone(), plan.rules),
            places: Places::new(),
            now: Time::ZERO,
            mail_due: false,
            timer: Time::NEVER,
            stalled_until: Time::ZERO,
        });
        let mut world = Self {
            seed,
            now: Time::ZERO,
            agenda: Agenda::default(),
            loops: loops.collect(),
            wires: Wires::default(),
            wakes: Vec::new(),
            breaches: Vec::new(),
            clients: Vec::new(),
            postgres: Postgres::new(plan.budget as usize + 2),
            desk: Desk::new(None),
            excuses: Excuses::default(),
            clock_at: Time::NEVER,
            lane_due: false,
            stopped: false,
            quiet_since: None,
            timeline: None,
            core_told: 0,
            cleaning: BTreeMap::new(),
            steps: 0,
            shared,
            random,
            settings: plan.settings.clone(),
            plan,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        for id in 0..self.plan.clients {
            let at = Time::ZERO + self.random.micros(u64::try_from(self.plan.arrivals.as_micros()).unwrap_or(0));
            self.agenda.put(at, Happening::Arrives(id));
        }
        for (after, trouble) in self.plan.troubles.clone() {
            self.agenda.put(Time::ZERO + after, Happening::Trouble(trouble));
        }
        self.agenda.put(Time::ZERO, Happening::Watch);
        self.agenda.put(Time::ZERO + Duration::from_secs(1), Happening::Patrol);
    }

    /// Has inputs, actions and events noted, for [`crate::replay`].
    pub fn record(&self) {
        self.shared.inspect(HOST, |host| host.record(LOGGED));
        self.shared.tap(HOST);
    }

    /// Has the timeline kept.
    pub fn narrate(&mut self) {
        self.timeline = Some(Vec::new());
        self.record();
    }

    /// What was narrated since the last call.
    pub fn told(&mut self) -> Vec<String> {
        let came = self.shared.tapped(HOST);
        for one in came.into_iter().skip(self.core_told) {
            self.core_told += 1;
            self.tell(|| format!("    core: {one:?}"));
        }
        self.timeline.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Its plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The cores and mailboxes of this world.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Lets everything happen, to the end.
    pub fn run(&mut self) -> Verdict {
        while self.step() {}
        let mut verdict = Verdict {
            seed: self.seed,
            failure: self.breaches.first().map(|what| format!("seed {} at {:?}: {what}", self.seed, self.now)),
            steps: self.steps,
            backends: self.postgres.most,
            moved: self.shared.snapshot(self.now, HOST).map_or(0, |snapshot| snapshot.moved),
            ..Verdict::default()
        };
        for client in &self.clients {
            verdict.tally.add(&client.tally);
        }
        verdict
    }

    /// Lets the next thing happen; false: it is over.
    pub fn step(&mut self) -> bool {
        if self.stopped || !self.breaches.is_empty() {
            return false;
        }
        let Some((at, happening)) = self.agenda.next() else { return false };
        self.now = self.now.max(at);
        self.steps += 1;
        self.happen(happening);
        self.follow();
        self.shared.inspect(HOST, |host| host.check_invariants());
        if self.wires.most_unsent > self.plan.rules.read * 2 + MOST_UNSENT {
            self.breaches.push(format!("{} bytes were kept for one peer", self.wires.most_unsent));
        }
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Inside(link) => self.look_inside(link),
            Happening::Outside(link) => self.look_outside(link),
            Happening::Mail(at) => self.open_mail(at),
            Happening::Timer(at) => self.ring(at),
            Happening::Clock => self.tick(),
            Happening::Lane => {
                self.lane_due = false;
                self.run_errands();
            }
            Happening::Connected(connect) => self.connected(*connect),
            Happening::CancelMeets { pid, secret } => self.cancel_meets(pid, &secret),
            Happening::CancelEnds { from, conn, ended } => self.post(from, Mail::Cancelled(HOST, conn, ended)),
            Happening::Arrives(id) => self.arrives(id),
            Happening::Goes(client) => self.goes(client),
            Happening::Vanishes(client) => self.vanishes(client),
            Happening::Cancels { client, right } => self.cancels(client, right),
            Happening::Works(pid) => self.works(pid),
            Happening::Exits(pid) => self.exits(pid),
            Happening::Trouble(trouble) => self.trouble(trouble),
            Happening::Resume => self.resume(),
            Happening::Stop => self.stop(),
            Happening::Watch => self.watch(),
            Happening::Facts(facts) => self.facts(*facts),
            Happening::Patrol => self.patrol(),
        }
    }

    /// Plans what follows from what was just done: looks at connections, wakes.
    fn follow(&mut self) {
        for link in std::mem::take(&mut self.wires.inside) {
            if !std::mem::replace(&mut self.wires.at(link).inside_due, true) {
                let at = self.soon();
                self.agenda.put(at, Happening::Inside(link));
            }
        }
        for link in std::mem::take(&mut self.wires.outside) {
            if !std::mem::replace(&mut self.wires.at(link).outside_due, true) {
                let at = self.soon();
                self.agenda.put(at, Happening::Outside(link));
            }
        }
        let mut wakes = std::mem::take(&mut self.wakes);
        wakes.append(&mut self.desk.wakes);
        for target in wakes {
            self.wake(target);
        }
    }

    fn wake(&mut self, target: Target) {
        let at = self.soon();
        match target {
            Target::Loop(LoopId(to)) => {
                if !std::mem::replace(&mut self.loops[usize::from(to)].mail_due, true) {
                    self.agenda.put(at, Happening::Mail(usize::from(to)));
                }
            }
            Target::Lane => {
                if !std::mem::replace(&mut self.lane_due, true) {
                    self.agenda.put(at, Happening::Lane);
                }
            }
            Target::Clock => self.wind(),
        }
    }

    /// The clock thread sleeps until the next time-out, and a little longer.
    fn wind(&mut self) {
        let next = self.shared.next_timeout();
        if next < self.clock_at {
            self.clock_at = next;
            let at = next.max(self.now) + self.random.micros(self.plan.lag);
            self.agenda.put(at, Happening::Clock);
        }
    }

    fn tick(&mut self) {
        self.clock_at = Time::NEVER;
        let now = self.now;
        self.shared.clock(now, &mut self.desk);
        self.wind();
    }

    /// A little later: mostly very soon, sometimes late.
    pub(crate) fn soon(&mut self) -> Time {
        let most = if self.random.once_in(20) { self.plan.lag * 10 } else { self.plan.lag };
        self.now + self.random.micros(most)
    }

    pub(crate) fn post(&mut self, to: LoopId, mail: Mail<LinkId>) {
        self.shared.post(to, mail, &mut self.desk);
    }

    fn look_outside(&mut self, link: LinkId) {
        self.wires.at(link).outside_due = false;
        match self.wires.at(link).outside {
            Outside::Client(client) => self.client_looks(client, link),
            Outside::Backend(pid) => self.backend_looks(pid, link),
        }
    }
}

impl Tally {
    /// Adds what others met.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.refused += other.refused;
        self.cancelled += other.cancelled;
        self.ended += other.ended;
        self.torn += other.torn;
        self.reasons.iter_mut().zip(other.reasons).for_each(|(own, other)| *own += other);
    }
}
