//! A stage for scenarios: plays inputs with names instead of ids, and writes down what the core does.
#![allow(clippy::disallowed_methods, reason = "timelines are files, blessed on demand")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use poolwarden_pool::{
    Action, Checkin, ClassId, ConnId, ConnectFailure, DatabaseSettings, EndCause, Event, Failure, Fitness, Handled,
    Host, HostSettings, Input, LoopId, Opened, Phases, PoolId, PoolKey, Request, ServerFacts, Ticket, Time, Verb,
};

/// Settings with one database, changed by `change`.
pub(crate) fn settings(name: &str, change: impl FnOnce(&mut DatabaseSettings)) -> HostSettings {
    let mut database = DatabaseSettings::default();
    change(&mut database);
    HostSettings {
        databases: BTreeMap::from([(name.to_owned(), database)]),
        max_connections: Some(100),
        ..HostSettings::default()
    }
}

/// One million nanoseconds.
const MS: u64 = 1_000_000;

/// A host, its clock, the names of tickets and connections, and the timeline so far.
pub(crate) struct Play {
    pub(crate) host: Host,
    now: u64,
    pool: PoolId,
    home: u16,
    flavor: u64,
    deadline: Time,
    conns: Vec<ConnId>,
    tickets: Vec<(Ticket, String)>,
    text: String,
}

impl Play {
    pub(crate) fn new(settings: HostSettings) -> Self {
        let mut host = Host::new(settings, 1);
        host.record(10_000);
        Self {
            host,
            now: 0,
            pool: PoolId(0),
            home: 0,
            flavor: 0,
            deadline: Time::NEVER,
            conns: Vec::new(),
            tickets: Vec::new(),
            text: String::new(),
        }
    }

    /// Lets time pass until `ms`, with every timeout at its own moment.
    pub(crate) fn at(&mut self, ms: u64) -> &mut Self {
        while let Some((due, _)) = self.host.poll_timeout()
            && due.as_nanos() <= ms * MS
        {
            self.now = self.now.max(due.as_nanos());
            self.say("timeout", Input::Timeout);
        }
        self.now = ms * MS;
        self
    }

    /// The loop of the inputs that follow.
    pub(crate) fn on(&mut self, home: u16) -> &mut Self {
        self.home = home;
        self
    }

    /// The flavor of the inputs that follow.
    pub(crate) fn flavor(&mut self, flavor: u64) -> &mut Self {
        self.flavor = flavor;
        self
    }

    /// The client deadline of the checkouts that follow.
    pub(crate) fn deadline(&mut self, ms: u64) -> &mut Self {
        self.deadline = Time::from_nanos(ms * MS);
        self
    }

    /// The pool of the checkouts that follow.
    pub(crate) fn pool(&mut self, pool: u32) -> &mut Self {
        self.pool = PoolId(pool);
        self
    }

    pub(crate) fn enter(&mut self, database: &str, user: &str) -> Handled {
        let key = PoolKey { database: database.into(), user: user.into() };
        let handled = self.say(&format!("enter {database} {user}"), Input::Enter(key));
        if let Handled::Entered(id) = handled {
            self.pool = id;
        }
        handled
    }

    pub(crate) fn enter_alone(&mut self, database: &str, user: &str) -> Handled {
        let key = PoolKey { database: database.into(), user: user.into() };
        let handled = self.say(&format!("enter alone {database} {user}"), Input::EnterAlone(key));
        if let Handled::Entered(id) = handled {
            self.pool = id;
        }
        handled
    }

    pub(crate) fn leave(&mut self) -> Handled {
        self.say("leave", Input::Leave(self.pool))
    }

    pub(crate) fn checkout(&mut self, name: &str) -> Handled {
        let request = Request {
            pool: self.pool,
            class: ClassId(0),
            tenant: 0,
            attempt: 0,
            deadline: self.deadline,
            home: LoopId(self.home),
            flavor: self.flavor,
            client: 0,
        };
        let (now, text) = (self.now(), format!("checkout {name}"));
        let handled = self.host.handle(now, Input::Checkout(request));
        if let Handled::Queued(ticket) = handled {
            self.tickets.push((ticket, name.to_owned()));
        }
        self.tell(&text, &handled);
        handled
    }

    pub(crate) fn checkin(&mut self, conn: usize) -> Handled {
        self.checkin_as(conn, Fitness::Clean)
    }

    pub(crate) fn checkin_as(&mut self, conn: usize, fitness: Fitness) -> Handled {
        let checkin = Checkin { fitness, flavor: self.flavor, home: LoopId(self.home), phases: Phases::default() };
        self.say(&format!("checkin {conn} {}", debug(&fitness)), Input::Checkin(self.conns[conn], checkin))
    }

    pub(crate) fn opened(&mut self, conn: usize) -> Handled {
        let opened = Opened { home: LoopId(self.home), flavor: self.flavor, pid: Some(1000 + conn as u32) };
        self.say(&format!("opened {conn}"), Input::Opened(self.conns[conn], Ok(opened)))
    }

    pub(crate) fn failed(&mut self, conn: usize, kind: Failure) -> Handled {
        let failure = ConnectFailure { kind, sqlstate: *b"08001", message: "no answer".into() };
        self.say(&format!("failed {conn} {kind:?}"), Input::Opened(self.conns[conn], Err(failure)))
    }

    pub(crate) fn closed(&mut self, conn: usize, cause: EndCause) -> Handled {
        self.say(&format!("closed {conn} {}", debug(&cause)), Input::Closed(self.conns[conn], cause))
    }

    pub(crate) fn cancel(&mut self, name: &str) -> Handled {
        let ticket = self.ticket(name);
        self.say(&format!("cancel {name}"), Input::Cancel(ticket))
    }

    pub(crate) fn reset_done(&mut self, conn: usize) -> Handled {
        self.say(&format!("reset done {conn}"), Input::ResetDone(self.conns[conn]))
    }

    pub(crate) fn fence(&mut self, conn: usize) -> Handled {
        self.say(&format!("fence {conn}"), Input::Fence(self.conns[conn]))
    }

    pub(crate) fn unfence(&mut self, conn: usize) -> Handled {
        self.say(&format!("unfence {conn}"), Input::Unfence(self.conns[conn]))
    }

    pub(crate) fn admin(&mut self, verb: Verb, name: Option<&str>) -> Handled {
        self.say(&format!("{} {}", debug(&verb), name.unwrap_or("*")), Input::Admin(verb, name.map(str::to_owned)))
    }

    pub(crate) fn apply(&mut self, settings: HostSettings) -> Handled {
        self.say("apply", Input::Apply(Box::new(settings)))
    }

    /// Any input, under a name for the timeline.
    pub(crate) fn say(&mut self, text: &str, input: Input) -> Handled {
        let now = self.now();
        let handled = self.host.handle(now, input);
        self.tell(text, &handled);
        handled
    }

    fn tell(&mut self, text: &str, handled: &Handled) {
        self.host.check_invariants();
        let mut lines = Vec::new();
        match handled {
            Handled::Done | Handled::Queued(_) | Handled::Entered(_) => {}
            Handled::Refused(refusal) => lines.push(format!("refused {}", refused(refusal))),
            Handled::AlreadyGranted(conn) => lines.push(format!("already granted {}", self.conn(*conn))),
            Handled::Cancelled | Handled::Stale => lines.push(debug(handled)),
        }
        while let Some(action) = self.host.poll_action() {
            lines.push(self.action(&action));
        }
        while let Some(event) = self.host.poll_event() {
            lines.push(format!("({})", self.event(&event)));
        }
        if text == "timeout" && lines.is_empty() {
            return;
        }
        let ms = self.now / MS;
        let _ = writeln!(self.text, "{ms:>6} {text}");
        for line in lines {
            let _ = writeln!(self.text, "         {line}");
        }
    }

    fn action(&mut self, action: &Action) -> String {
        match action {
            Action::Open { conn, pool, near } => {
                self.conns.push(*conn);
                format!("open {} for pool {} near loop {}", self.conns.len() - 1, pool.0, near.0)
            }
            Action::Close { conn, home, reason } => {
                format!("close {} on loop {}: {}", self.conn(*conn), home.0, reason.name())
            }
            Action::Forget { conn, home } => format!("forget {} on loop {}", self.conn(*conn), home.0),
            Action::Reset { conn, home } => format!("reset {} on loop {}", self.conn(*conn), home.0),
            Action::Grant { ticket, conn, from, to, waited } => {
                let moved = if from == to { String::new() } else { format!(", loop {} to {}", from.0, to.0) };
                format!("grant {} to {} after {waited:?}{moved}", self.conn(*conn), self.name(*ticket))
            }
            Action::Refuse { ticket, refusal, .. } => format!("refuse {}: {}", self.name(*ticket), refused(refusal)),
        }
    }

    fn event(&self, event: &Event) -> String {
        match event {
            Event::PoolMade(id, key) => format!("pool {} made: {}/{}", id.0, key.database, key.user),
            Event::PoolRetired(id) => format!("pool {} retired", id.0),
            Event::Waiting { pool, limit, size, used } => {
                format!("pool {} waits: {} {used}/{size}", pool.0, limit.name())
            }
            Event::Binding { pool, limit, size, used } => {
                format!("pool {} bound by {} {used}/{size}", pool.0, limit.name())
            }
            Event::Cleared { pool, lasted, granted, refused } => {
                format!("pool {} cleared after {lasted:?}: {granted} granted, {refused} refused", pool.0)
            }
            Event::Connected(_, conn) => format!("connected {}", self.conn(*conn)),
            Event::ConnectFailed(pool, failure) => format!("pool {} connect failed: {:?}", pool.0, failure.kind),
            Event::Gone(_, conn, reason) => {
                format!("gone {}: {}", self.conn(*conn), reason.map_or("by itself", |reason| reason.name()))
            }
            Event::Ghost(_, conn) => format!("ghost {}", self.conn(*conn)),
            Event::ServerDown => "server down".to_owned(),
            Event::ServerUp => "server up".to_owned(),
            Event::Applied => "applied".to_owned(),
            Event::Overloaded { pool, class } => format!("pool {} class {} overloaded", pool.0, class.0),
            Event::Relaxed { pool, class, lasted, shed } => {
                format!("pool {} class {} relaxed after {lasted:?}: {shed} shed", pool.0, class.0)
            }
            Event::Paused(pool, paused) => format!("pool {} {}", pool.0, if *paused { "paused" } else { "resumed" }),
        }
    }

    /// The clock.
    pub(crate) fn now(&self) -> Time {
        Time::from_nanos(self.now)
    }

    /// The connection of that number.
    #[allow(dead_code, reason = "not every test of this stage names connections itself")]
    pub(crate) fn conn_id(&self, number: usize) -> ConnId {
        self.conns[number]
    }

    fn conn(&self, conn: ConnId) -> String {
        self.conns.iter().position(|&other| other == conn).map_or_else(|| format!("{conn:?}"), |at| at.to_string())
    }

    fn name(&self, ticket: Ticket) -> String {
        let found = self.tickets.iter().rev().find(|(other, _)| *other == ticket);
        found.map_or_else(|| format!("{ticket:?}"), |(_, name)| name.clone())
    }

    /// The newest ticket of that name.
    pub(crate) fn ticket(&self, name: &str) -> Ticket {
        self.tickets.iter().rev().find(|(_, other)| other == name).expect("a ticket of that name").0
    }

    /// Forgets the timeline so far.
    pub(crate) fn forget(&mut self) {
        self.text.clear();
    }

    /// Compares the timeline since the last call with `timelines/NAME.txt`, and begins a new one.
    /// With `BLESS=1` in the environment the file is written instead; read the difference before committing it.
    pub(crate) fn expect(&mut self, name: &str) {
        let path = format!("{}/tests/timelines/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &self.text).expect("the timeline is written");
        }
        let want = std::fs::read_to_string(&path).expect("there is a timeline of that name");
        assert!(self.text == want, "the timeline differs from {name}.txt; got\n{}", self.text);
        self.text.clear();
    }

    /// Connects under way.
    pub(crate) fn opening(&self) -> usize {
        self.host.snapshot(self.now()).pools.iter().map(|pool| pool.slots.opening as usize).sum()
    }

    /// The pool of the inputs that follow.
    pub(crate) fn pool_id(&self) -> PoolId {
        self.pool
    }

    /// Facts that name these processes, from the server's first life.
    pub(crate) fn facts(&mut self, pids: &[u32]) -> Handled {
        let facts = ServerFacts { start_time: 1, pids: pids.to_vec(), ..ServerFacts::default() };
        self.say(&format!("facts: pids {pids:?}"), Input::Facts(facts))
    }

    /// A connect to a server that does not say its process id.
    pub(crate) fn opened_without_pid(&mut self, conn: usize) -> Handled {
        let opened = Opened { home: LoopId(self.home), flavor: self.flavor, pid: None };
        self.say(&format!("opened {conn} without a pid"), Input::Opened(self.conns[conn], Ok(opened)))
    }
}

/// A variant's name in lower case.
fn debug(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

fn refused(refusal: &poolwarden_pool::Refusal) -> String {
    if refusal.no_such_database {
        return "no such database".to_owned();
    }
    if refusal.stopping {
        return "stopping".to_owned();
    }
    let failure = refusal.failure.as_ref().map_or_else(String::new, |failure| format!(" ({})", failure.message));
    format!(
        "{} by {} {}/{} after {:?}, {} lent, {} waiting{failure}",
        refusal.limit.name(),
        refusal.binding.name(),
        refusal.used,
        refusal.size,
        refusal.waited,
        refusal.lent,
        refusal.waiting
    )
}

/// The longest wait a scenario may need.
pub(crate) const LONG: Duration = Duration::from_secs(3600);
