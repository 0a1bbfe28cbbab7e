//! The proxy as its owner sees it: started, looked at, changed, drained.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use poolwarden_switch::pool::{Event, HostId, HostSnapshot, Input, Limit, LoopId, ServerFacts, Time, Verb};
use poolwarden_switch::relay::console::ColumnKind;
use poolwarden_switch::relay::pgwire::scram::Derived;
use poolwarden_switch::{Desk, LoopReport, Mail, Rules, Shared, Target};
use tokio::sync::{Notify, oneshot, watch};

use crate::accept::{self, Listeners};
use crate::clock::{Clock, TICK};
use crate::directory::Directory;
use crate::engine::{Ask, Door, Engine, Parts, Wake, ring_all};
use crate::figures::{Cancels, Counters, LoopFigures, ProcessFigures};
use crate::link::Link;
use crate::login::Visitors;
use crate::note::Notes;
use crate::settings::{HostPlan, Reload, Settings};

/// What the SQL console asks the application.
pub trait Operator: Send + Sync + 'static {
    /// Answers one text.
    fn ask(&self, sql: String, who: Who) -> Pin<Box<dyn Future<Output = Reply> + Send>>;
}

/// Who speaks on the SQL console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The user it logged in as.
    pub user: String,
    /// Whether it may change things.
    pub admin: bool,
    /// Where it comes from; `None` is the unix socket.
    pub remote: Option<SocketAddr>,
}

/// The application's answer to the SQL console.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A table.
    Rows {
        /// Name and kind of each column.
        columns: Vec<(&'static str, ColumnKind)>,
        /// One text or NULL per column.
        rows: Vec<Vec<Option<String>>>,
        /// The command tag.
        tag: String,
    },
    /// Done.
    Done {
        /// The command tag.
        tag: String,
        /// What to tell besides.
        notices: Vec<String>,
    },
    /// Not done.
    Error {
        /// Why, by code.
        sqlstate: String,
        /// Why, in words.
        message: String,
        /// The next step.
        hint: Option<String>,
    },
}

/// Where it listens.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    /// TCP.
    pub postgres: Vec<SocketAddr>,
    /// Unix.
    pub unix: Option<PathBuf>,
}

/// Why it does not start.
#[derive(Debug)]
pub enum StartError {
    /// An address cannot be had.
    Listen(String, std::io::Error),
    /// Too few descriptors: how many are needed, and how many may be had.
    Descriptors(u64, u64),
    /// The kernel refused something a loop needs.
    Kernel(&'static str, std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, why) => {
                write!(f, "cannot listen on {address}: {why}; stop what uses it, or set another address under [listen]")
            }
            Self::Descriptors(needed, limit) => write!(
                f,
                "limits.max_clients and the servers' connections need {needed} open files, and the hard limit is {limit}; \
                 lower limits.max_clients, or raise the limit (ulimit -Hn {needed}, LimitNOFILE={needed})"
            ),
            Self::Kernel(what, why) => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Everything the threads and tasks share.
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared<Link>>,
    pub(crate) doors: Vec<Arc<Door>>,
    pub(crate) wakers: Arc<Wakers>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) notes: Notes,
    pub(crate) visitors: Visitors,
    pub(crate) operator: Arc<dyn Operator>,
    pub(crate) seed: [u8; 32],
    pub(crate) state: Mutex<State>,
    pub(crate) watched: Vec<Watched>,
    /// Keys derived from passwords at earlier logins, by host and role.
    pub(crate) keys: Mutex<BTreeMap<(HostId, String), Derived>>,
    pub(crate) memory: Arc<AtomicU64>,
    pub(crate) max_fds: u64,
    /// Loops that get new clients.
    pub(crate) active_loops: AtomicU32,
    /// True once nobody is accepted any more.
    pub(crate) closing: watch::Sender<bool>,
    stopped: AtomicBool,
    listening: OnceLock<Listening>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a reload changes.
pub(crate) struct State {
    pub(crate) directory: Arc<Directory>,
    pub(crate) hosts: Arc<Vec<HostPlan>>,
    pub(crate) limits: crate::settings::ProcessLimits,
    pub(crate) trusted: Arc<Vec<(std::net::IpAddr, u8)>>,
}

/// What the watch connection of one host has told.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) facts: Mutex<Option<ServerFacts>>,
    pub(crate) error: Mutex<Option<String>>,
}

/// Whom to wake, and how.
pub(crate) struct Wakers {
    pub(crate) doors: Vec<Arc<Door>>,
    pub(crate) lane: Notify,
    clock: OnceLock<Thread>,
}

impl Wake for Wakers {
    fn wake(&self, target: Target) {
        match target {
            Target::Loop(LoopId(number)) => {
                if let Some(door) = self.doors.get(usize::from(number)) {
                    door.ring();
                }
            }
            Target::Lane => self.lane.notify_one(),
            Target::Clock => {
                if let Some(clock) = self.clock.get() {
                    clock.unpark();
                }
            }
        }
    }
}

/// A running proxy.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

pub(crate) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More loops than this never pay: one serves tens of thousands of transactions a second.
const MOST_LOOPS: usize = 64;

impl Proxy {
    /// Binds every address, raises the descriptors' limit, and starts the loops and all that works beside them.
    ///
    /// # Errors
    /// An address that cannot be had, too few descriptors, or a kernel that refuses what a loop needs.
    pub fn start(
        settings: Settings,
        operator: Arc<dyn Operator>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, StartError> {
        let max_fds = raise_descriptors(&settings)?;
        let _context = runtime.enter();
        let listeners = Listeners::bind(&settings)?;
        let loops = settings.loops.map_or_else(default_loops, usize::from).clamp(1, MOST_LOOPS);
        let inner = Arc::new(Inner::new(settings, operator, loops, max_fds)?);
        let _ = inner.listening.set(listeners.addresses()); // set once, here
        start_threads(&inner)?;
        accept::start(&inner, listeners, runtime);
        runtime.spawn(crate::lane::run(inner.clone()));
        for number in 0..inner.watched.len() {
            runtime.spawn(crate::watch::run(inner.clone(), number));
        }
        runtime.spawn(crate::lane::balance(inner.clone()));
        Ok(Self(inner))
    }

    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.0.listening.get().cloned().unwrap_or_default()
    }

    /// The process's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.0.clock.now()
    }

    /// When the process started, in milliseconds since 1970 UTC.
    #[must_use]
    pub fn started_unix_ms(&self) -> u64 {
        self.0.clock.started_unix_ms()
    }

    /// What a host's core knows, what PostgreSQL told, and why the watch connection is not there.
    #[must_use]
    pub fn host(&self, host: HostId) -> Option<(HostSnapshot, Option<ServerFacts>, Option<String>)> {
        let snapshot = self.0.shared.snapshot(self.now(), host)?;
        let watched = self.0.watched.get(usize::from(host.0))?;
        Some((snapshot, held(&watched.facts).clone(), held(&watched.error).clone()))
    }

    /// What every loop tells; one that does not answer within a second is left out. `rows`: connections one by one as well.
    pub async fn reports(&self, rows: bool) -> Vec<LoopReport> {
        self.0.reports(rows).await
    }

    /// Figures of every loop.
    #[must_use]
    pub fn loops(&self) -> Vec<LoopFigures> {
        let now = self.now();
        self.0.doors.iter().map(|door| door.gauge.figures(now)).collect()
    }

    /// The core's events of a host since the last look, and how many were dropped.
    #[must_use]
    pub fn events(&self, host: HostId) -> (VecDeque<Event>, u64) {
        self.0.shared.events(host)
    }

    /// An operator's word to a host's pools, or to those of one database.
    pub fn admin(&self, host: HostId, verb: Verb, database: Option<String>) {
        self.0.drive(host, Input::Admin(verb, database));
    }

    /// Puts new settings in force.
    pub fn reload(&self, reload: Reload) {
        let inner = &self.0;
        let cores: Vec<_> = reload.hosts.iter().map(|plan| plan.core.clone()).collect();
        {
            let mut state = held(&inner.state);
            state.directory = Arc::new(reload.directory);
            state.hosts = Arc::new(reload.hosts);
            state.limits = reload.limits;
            state.trusted = Arc::new(reload.proxy_protocol);
        }
        held(&inner.keys).clear(); // passwords may have changed
        inner.memory.store(reload.limits.memory, Ordering::Relaxed);
        inner.shared.retune(reload.terms);
        for (number, core) in (0..).zip(cores) {
            inner.drive(HostId(number), Input::Apply(Box::new(core)));
        }
    }

    /// Numbers of the process, and the remarks since the last look.
    pub async fn figures(&self) -> ProcessFigures {
        let cancels = self
            .0
            .reports(false)
            .await
            .iter()
            .fold((0, 0), |sum, report| (sum.0 + report.cancels.0, sum.1 + report.cancels.1));
        self.0.figures(cancels)
    }

    /// The remarks since the last look.
    #[must_use]
    pub fn notes(&self) -> Vec<crate::note::Note> {
        self.0.notes.take()
    }

    /// Ends a client, by its serial number.
    pub fn kill_client(&self, serial: u64) {
        self.0.post_all(|| Mail::Kill(serial));
    }

    /// Whether the loops turn.
    ///
    /// # Errors
    /// Which one does not.
    pub fn healthy(&self) -> Result<(), String> {
        match self.loops().iter().position(|figures| figures.stuck) {
            Some(number) => Err(format!("event loop {number} has not turned for 5s")),
            None => Ok(()),
        }
    }

    /// Accepts nobody any more, lets what is lent end until `deadline`, sends everybody away, and ends the threads.
    pub async fn drain(&self, deadline: Duration) {
        let inner = &self.0;
        inner.closing.send_replace(true);
        for host in 0..inner.watched.len() {
            inner.drive(HostId(u16::try_from(host).unwrap_or(u16::MAX)), Input::Admin(Verb::Drain, None));
        }
        inner.post_all(|| Mail::Drain);
        inner.settled(deadline, || inner.counters.clients.load(Ordering::Acquire) == 0).await;
        inner.post_all(|| Mail::Stop);
        inner.settled(GOODBYE, || inner.shared.is_drained()).await;
        inner.stopped.store(true, Ordering::Release);
        for door in &inner.doors {
            door.stop.store(true, Ordering::Release);
            door.ring();
        }
        inner.wakers.wake(Target::Clock);
        inner.wakers.wake(Target::Lane);
        let threads = std::mem::take(&mut *held(&inner.threads));
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = joined.await; // a loop that panicked has aborted the process already
    }
}

/// After everybody was sent away, PostgreSQL gets this long to end its side.
const GOODBYE: Duration = Duration::from_secs(3);

impl Inner {
    fn new(settings: Settings, operator: Arc<dyn Operator>, loops: usize, max_fds: u64) -> Result<Self, StartError> {
        let door = |_| Door::new().map(Arc::new).map_err(|why| StartError::Kernel("eventfd", why.into()));
        let doors: Vec<Arc<Door>> = (0..loops).map(door).collect::<Result<_, _>>()?;
        let cores = settings.hosts.iter().map(|plan| plan.core.clone()).collect();
        let seed = u64::from_le_bytes(crate::login::random());
        let count = u16::try_from(loops).unwrap_or(u16::MAX);
        let wakers = Wakers { doors: doors.clone(), lane: Notify::new(), clock: OnceLock::new() };
        Ok(Self {
            shared: Arc::new(Shared::new(cores, seed, count, settings.terms)),
            wakers: Arc::new(wakers),
            doors,
            clock: Arc::new(Clock::new()),
            counters: Arc::new(Counters::default()),
            notes: Notes::default(),
            visitors: Visitors::default(),
            operator,
            seed: settings.seed,
            watched: settings.hosts.iter().map(|_| Watched::default()).collect(),
            state: Mutex::new(State {
                directory: Arc::new(settings.directory),
                hosts: Arc::new(settings.hosts),
                limits: settings.limits,
                trusted: Arc::new(settings.proxy_protocol),
            }),
            keys: Mutex::default(),
            memory: Arc::new(AtomicU64::new(settings.limits.memory)),
            max_fds,
            active_loops: AtomicU32::new(1),
            closing: watch::Sender::new(false),
            stopped: AtomicBool::new(false),
            listening: OnceLock::new(),
            threads: Mutex::new(Vec::new()),
        })
    }

    /// Gives a host an input from beside the loops.
    pub(crate) fn drive(&self, host: HostId, input: Input) {
        let mut desk = Desk::new(None);
        self.shared.drive(self.clock.now(), host, input, &mut desk);
        ring_all(&*self.wakers, &mut desk.wakes);
    }

    /// Posts to one loop from beside the loops.
    pub(crate) fn post(&self, to: LoopId, mail: Mail<Link>) {
        let mut desk = Desk::new(None);
        self.shared.post(to, mail, &mut desk);
        ring_all(&*self.wakers, &mut desk.wakes);
    }

    fn post_all(&self, mail: impl Fn() -> Mail<Link>) {
        for number in 0..self.doors.len() {
            self.post(LoopId(u16::try_from(number).unwrap_or(u16::MAX)), mail());
        }
    }

    pub(crate) fn plan(&self, host: HostId) -> Option<HostPlan> {
        held(&self.state).hosts.get(usize::from(host.0)).cloned()
    }

    pub(crate) fn directory(&self) -> Arc<Directory> {
        held(&self.state).directory.clone()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(crate) async fn reports(&self, rows: bool) -> Vec<LoopReport> {
        let asked: Vec<_> = self
            .doors
            .iter()
            .map(|door| {
                let (reply, answer) = oneshot::channel();
                door.ask(Ask { rows, reply });
                answer
            })
            .collect();
        let mut reports = Vec::with_capacity(asked.len());
        let until = tokio::time::Instant::now() + Duration::from_secs(1);
        for answer in asked {
            if let Ok(Ok(report)) = tokio::time::timeout_at(until, answer).await {
                reports.push(report);
            }
        }
        reports
    }

    /// Waits until `done`, or for `deadline`; a look every few milliseconds, since ends are seen by the loops alone.
    async fn settled(&self, deadline: Duration, done: impl Fn() -> bool) {
        let until = tokio::time::Instant::now() + deadline;
        while !done() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn figures(&self, cancels: (u64, u64)) -> ProcessFigures {
        let limits = held(&self.state).limits;
        let counters = &self.counters;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProcessFigures {
            clients: counters.clients.load(Ordering::Relaxed),
            max_clients: limits.max_clients,
            logins: counters.logins.load(Ordering::Relaxed),
            max_logins: limits.max_logins,
            memory: count(&counters.memory),
            max_memory: limits.memory,
            max_fds: self.max_fds,
            opened_total: count(&counters.opened),
            refused: vec![
                (Limit::MaxClients, count(&counters.refused_clients)),
                (Limit::Fds, count(&counters.refused_fds)),
                (Limit::Memory, count(&counters.refused_memory)),
            ],
            login_failures: count(&counters.login_failures),
            cancels: Cancels { forwarded: cancels.0, refused: cancels.1, dropped: count(&counters.cancels_dropped) },
            accept_errors: count(&counters.accept_errors),
            gaps_ms: u64::try_from(self.clock.gaps().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// One loop up to four cores, since fewer busy loops cost less per transaction; beyond, at most one per two cores, joining as needed.
fn default_loops() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| if cores.get() <= 4 { 1 } else { cores.get() / 2 })
}

fn start_threads(inner: &Arc<Inner>) -> Result<(), StartError> {
    let spawn = |name: String, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name).spawn(body).map_err(|why| StartError::Kernel("thread", why))
    };
    for (number, door) in (0..).zip(&inner.doors) {
        let engine = Engine::new(Parts {
            id: LoopId(number),
            shared: inner.shared.clone(),
            door: door.clone(),
            wakers: inner.wakers.clone(),
            clock: inner.clock.clone(),
            counters: inner.counters.clone(),
            memory: inner.memory.clone(),
            rules: Rules::default(),
        })
        .map_err(|why| StartError::Kernel("epoll", why.into()))?;
        held(&inner.threads).push(spawn(format!("loop-{number}"), Box::new(move || engine.run()))?);
    }
    let mine = inner.clone();
    let clock = spawn("clock".into(), Box::new(move || keep_time(&mine)))?;
    let _ = inner.wakers.clock.set(clock.thread().clone()); // set once, here
    held(&inner.threads).push(clock);
    Ok(())
}

/// Gives the hosts their time-outs.
fn keep_time(inner: &Inner) {
    let mut desk = Desk::new(None);
    while !inner.is_stopped() {
        let next = inner.shared.clock(inner.clock.now(), &mut desk);
        desk.wakes.retain(|target| *target != Target::Clock);
        ring_all(&*inner.wakers, &mut desk.wakes);
        std::thread::park_timeout(next.since(inner.clock.now()).min(TICK));
    }
}

/// Raises the soft limit of open files to the hard one; refuses to start where that is too low.
fn raise_descriptors(settings: &Settings) -> Result<u64, StartError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    /// Listeners, timers, log, HTTP, watch connections, cancel requests.
    const OTHERS: u64 = 200;
    let servers: u64 = settings.hosts.iter().map(|plan| u64::from(plan.core.max_connections.unwrap_or(100))).sum();
    let needed = u64::from(settings.limits.max_clients) + servers + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if needed > hard {
        return Err(StartError::Descriptors(needed, hard));
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(|why| StartError::Kernel("raising the limit of open files", why.into()))?;
    Ok(hard)
}
