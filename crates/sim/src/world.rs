//! The made-up world: who is in it, what will happen, and the loop that lets it happen.
//!
//! It knows the time, and nothing else does. Everything that happens is an entry of the agenda; equal seeds give equal worlds.

use std::sync::Arc;
use std::time::Duration;

use poolwarden_switch::pool::{ConnId, HostId, HostSettings, LoopId, ServerFacts, Time};
use poolwarden_switch::{ClientState, Desk, Mail, Shared, Switch, Target};

use crate::agenda::Agenda;
use crate::client::{Client, Excuses, Tally};
use crate::edge::{Edge, Places};
use crate::lane::Connect;
use crate::plan::{Plan, Trouble};
use crate::postgres::Postgres;
use crate::random::Random;
use crate::wire::{LinkId, Outside, Wires};

/// The one host of this world.
pub(crate) const HOST: HostId = HostId(0);
/// Inputs a run may have before its log is full.
const LOGGED: usize = 1 << 20;
/// How long nothing may happen to somebody who waits.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much later than its deadline a request may be refused.
const LATE: Duration = Duration::from_secs(3);
/// How long the world goes on after the last client, so that every ghost is given up.
const AFTERMATH: Duration = Duration::from_secs(100);
/// No run is longer.
const MOST: Duration = Duration::from_secs(900);
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
    mail_due: bool,
    timer: Time,
    stalled_until: Time,
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
    stopped: bool,
    quiet_since: Option<Time>,
    /// The timeline, where somebody wants to read it.
    pub(crate) timeline: Option<Vec<String>>,
    core_told: usize,
    steps: u64,
}

impl World {
    /// The world of a seed, before anything happens.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::new(&mut random);
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

    /// Lets a loop's switch do something at this loop's own reading of the clock, which is a little behind.
    pub(crate) fn turn<R>(&mut self, at: usize, act: impl FnOnce(&mut Switch<LinkId>, Time, &mut Edge<'_>) -> R) -> R {
        let lag = self.random.micros(self.plan.lag / 10);
        let knows_ends = self.random.once_in(2);
        let one = &mut self.loops[at];
        one.now = one.now.max(Time::from_nanos(self.now.as_nanos().saturating_sub(lag.as_nanos() as u64)));
        let mut edge = Edge {
            me: at,
            places: &mut one.places,
            wires: &mut self.wires,
            wakes: &mut self.wakes,
            breaches: &mut self.breaches,
            knows_ends,
        };
        let done = act(&mut one.switch, one.now, &mut edge);
        if let Some(next) = one.switch.poll_timeout().filter(|next| *next < one.timer) {
            one.timer = next;
            let late = self.random.micros(self.plan.lag);
            self.agenda.put(next.max(self.now) + late, Happening::Timer(at));
        }
        done
    }

    /// Whether a loop turns now; if not, `again` happens when it does.
    fn turns(&mut self, at: usize, again: Happening) -> bool {
        let until = self.loops[at].stalled_until;
        if until > self.now {
            self.agenda.put(until, again);
        }
        until <= self.now
    }

    pub(crate) fn stall(&mut self, at: usize, until: Time) {
        self.loops[at].stalled_until = until;
    }

    fn open_mail(&mut self, at: usize) {
        if self.turns(at, Happening::Mail(at)) {
            self.loops[at].mail_due = false;
            self.turn(at, |switch, now, edge| switch.mail(now, edge));
        }
    }

    fn ring(&mut self, at: usize) {
        if self.turns(at, Happening::Timer(at)) {
            self.loops[at].timer = Time::NEVER;
            self.turn(at, |switch, now, edge| switch.timeout(now, edge));
        }
    }

    /// A loop looks at a connection: what can be sent is sent, what may be read is read, in pieces of any size.
    fn look_inside(&mut self, link: LinkId) {
        let Some((at, peer)) = self.wires.at(link).place else {
            self.wires.at(link).inside_due = false;
            return;
        };
        if !self.turns(at, Happening::Inside(link)) {
            return;
        }
        self.wires.at(link).inside_due = false;
        if self.wires.is_blocked(link) && self.wires.flush(link) {
            self.turn(at, |switch, now, edge| switch.drained(now, peer, edge));
        }
        if self.wires.at(link).place != Some((at, peer)) {
            return;
        }
        let readable = self.wires.inside_has(link);
        let appetite = self.loops[at].switch.appetite(peer);
        if appetite == 0 {
            if readable.end.is_some() {
                self.turn(at, |switch, now, edge| switch.hung_up(now, peer, edge));
            }
            return;
        }
        if readable.bytes > 0 {
            let most = appetite.min(readable.bytes);
            let most = if self.random.once_in(3) { 1 + self.random.place(most) } else { most };
            let bytes = self.wires.inside_take(link, most);
            let outside = self.wires.at(link).outside;
            self.tell(|| {
                format!(
                    "  loop {at}: {} of {} bytes from {outside:?}, {peer:?}: {}",
                    bytes.len(),
                    readable.bytes,
                    bytes.escape_ascii()
                )
            });
            self.turn(at, |switch, now, edge| switch.received(now, peer, &bytes, edge));
            if readable.bytes > most || readable.end.is_some() {
                self.wires.inside.push(link);
            }
        } else if let Some(cause) = readable.end {
            let outside = self.wires.at(link).outside;
            self.tell(|| format!("  loop {at}: end of {outside:?}, {peer:?}: {cause:?}"));
            self.turn(at, |switch, now, edge| switch.closed(now, peer, cause, edge));
        }
    }

    fn look_outside(&mut self, link: LinkId) {
        self.wires.at(link).outside_due = false;
        match self.wires.at(link).outside {
            Outside::Client(client) => self.client_looks(client, link),
            Outside::Backend(pid) => self.backend_looks(pid, link),
        }
    }

    /// Looks whether everybody is getting on, and whether it is over.
    fn patrol(&mut self) {
        let now = self.now;
        if let Some(client) = self.clients.iter().find(|client| client.awaits() && now.since(client.since) > PATIENCE) {
            self.breaches.push(format!(
                "c{} waits for ever ({:?}), for {:?}",
                client.id,
                client.phase,
                client.rounds.front()
            ));
        }
        if let Some(snapshot) = self.shared.snapshot(now, HOST) {
            let waiting: u32 = snapshot.pools.iter().map(|pool| pool.waiting).sum();
            let clients = self.loops.iter().flat_map(|one| one.switch.report(now, true).clients);
            let waiters = clients.filter(|row| row.state == ClientState::Waiting).count();
            if waiting as usize > waiters {
                self.breaches.push(format!("{waiting} requests wait in the core, {waiters} clients in the loops"));
            }
            for pool in snapshot.pools {
                let most = self.plan.settings.databases.get(&pool.key.database);
                let most = most.map_or(PATIENCE, |most| most.max_wait + most.pause_wait + most.down_wait + LATE);
                if pool.oldest_wait > most {
                    self.breaches.push(format!("{:?}: a request has waited {:?}", pool.key, pool.oldest_wait));
                }
            }
        }
        let come = self.clients.len() == self.plan.clients as usize;
        if come && self.quiet_since.is_none() && self.clients.iter().all(Client::is_gone) {
            self.quiet_since = Some(now);
            self.calm();
        }
        let over = self.quiet_since.is_some_and(|since| now.since(since) > AFTERMATH);
        if over {
            self.judge_end();
        }
        self.stopped = over;
        if now.since(Time::ZERO) > MOST {
            self.breaches.push("it takes no end".into());
        }
        let step = if self.quiet_since.is_some() { 10 } else { 1 };
        self.agenda.put(now + Duration::from_secs(step), Happening::Patrol);
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.refused += other.refused;
        self.cancelled += other.cancelled;
        self.ended += other.ended;
        self.torn += other.torn;
    }
}
