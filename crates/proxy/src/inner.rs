//! Everything the threads and tasks of a proxy share, and the few things all of them do with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use poolwarden_switch::pool::{HostId, Input, Limit, LoopId, ServerFacts};
use poolwarden_switch::{Desk, Detail, LoopReport, Mail, Shared, Voice};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use crate::auth::Auth;
use crate::cancel::{self, Peers};
use crate::clock::Clock;
use crate::directory::Directory;
use crate::engine::{Ask, Door, ring_all};
use crate::fault::StartError;
use crate::figures::{Cancels, Counters, ProcessFigures};
use crate::hosts::Servers;
use crate::link::Link;
use crate::note::Notes;
use crate::operator::Operator;
use crate::settings::{HostPlan, Listening, ProcessLimits, Settings};
use crate::tls::{Expiry, ListenTls};
use crate::visitors::Visitors;
use crate::wakers::Wakers;
use crate::watch::Activity;

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
    /// Which of several instances this is.
    pub(crate) instance: Option<u8>,
    pub(crate) state: Mutex<State>,
    /// The watch connections of the servers of the configuration.
    pub(crate) watching: Mutex<BTreeMap<HostId, Watching>>,
    /// Hosts that were found to know no protocol newer than 3.0.
    pub(crate) unversed: Mutex<BTreeSet<HostId>>,
    pub(crate) auth: Auth,
    pub(crate) memory: Arc<AtomicU64>,
    pub(crate) max_fds: u64,
    /// Loops that get new clients.
    pub(crate) active_loops: AtomicU32,
    /// True once nobody is accepted any more.
    pub(crate) closing: watch::Sender<bool>,
    /// True once nobody new is served, while who is there goes on.
    pub(crate) refusing: watch::Sender<bool>,
    /// In whose words clients are told what went wrong.
    pub(crate) voice: Voice,
    pub(crate) stopped: AtomicBool,
    pub(crate) listening: OnceLock<Listening>,
    pub(crate) threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What a reload changes.
pub(crate) struct State {
    pub(crate) directory: Arc<Directory>,
    pub(crate) servers: Servers,
    pub(crate) limits: ProcessLimits,
    pub(crate) trusted: Arc<Vec<(IpAddr, u8)>>,
    pub(crate) peers: Peers,
    pub(crate) tls: Option<Arc<ListenTls>>,
}

/// What the watch connection of one host has told.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) facts: Mutex<Option<ServerFacts>>,
    pub(crate) activity: Mutex<Option<Arc<Activity>>>,
    pub(crate) error: Mutex<Option<String>>,
}

/// The watch connection of one host: it ends with this.
pub(crate) struct Watching {
    pub(crate) told: Arc<Watched>,
    pub(crate) task: AbortHandle,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(crate) fn new(
        settings: Settings,
        operator: Arc<dyn Operator>,
        loops: usize,
        max_fds: u64,
    ) -> Result<Self, StartError> {
        let door = |_| Door::new().map(Arc::new).map_err(|why| StartError::Kernel("eventfd", why.into()));
        let doors: Vec<Arc<Door>> = (0..loops).map(door).collect::<Result<_, _>>()?;
        let seed = u64::from_le_bytes(crate::random::bytes());
        let count = u16::try_from(loops).unwrap_or(u16::MAX);
        let shared = Arc::new(Shared::new(Vec::new(), seed, count, settings.terms));
        for plan in &settings.hosts {
            shared.add(plan.id, plan.core.clone());
        }
        Ok(Self {
            shared,
            wakers: Arc::new(Wakers::new(doors.clone())),
            doors,
            clock: Arc::new(Clock::new()),
            counters: Arc::new(Counters::default()),
            notes: Notes::default(),
            visitors: Visitors::default(),
            operator,
            seed: settings.seed,
            instance: settings.instance,
            watching: Mutex::default(),
            unversed: Mutex::default(),
            state: Mutex::new(State {
                directory: Arc::new(settings.directory),
                servers: Servers::new(settings.hosts),
                limits: settings.limits,
                trusted: Arc::new(settings.proxy_protocol),
                peers: cancel::peers(&settings.peers, &Peers::new()),
                tls: settings.tls,
            }),
            auth: Auth::default(),
            memory: Arc::new(AtomicU64::new(settings.limits.memory)),
            max_fds,
            active_loops: AtomicU32::new(1),
            closing: watch::Sender::new(false),
            refusing: watch::Sender::new(false),
            voice: settings.voice,
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

    /// Lets the pools of a host that have given up for a while try at once, for what failed them may be different now.
    pub(crate) fn try_again(&self, host: HostId) {
        if let Some(plan) = self.plan(host) {
            self.drive(host, Input::Apply(Box::new(plan.core)));
        }
    }

    /// Posts to one loop from beside the loops.
    pub(crate) fn post(&self, to: LoopId, mail: Mail<Link>) {
        let mut desk = Desk::new(None);
        self.shared.post(to, mail, &mut desk);
        ring_all(&*self.wakers, &mut desk.wakes);
    }

    pub(crate) fn post_all(&self, mail: impl Fn() -> Mail<Link>) {
        for number in 0..self.doors.len() {
            self.post(LoopId(u16::try_from(number).unwrap_or(u16::MAX)), mail());
        }
    }

    /// How a server is reached; one that is gone is known too.
    pub(crate) fn plan(&self, host: HostId) -> Option<HostPlan> {
        held(&self.state).servers.plan(host).cloned()
    }

    /// What the watch connection of a server told; `None` for a server that is not in the configuration.
    pub(crate) fn watched(&self, host: HostId) -> Option<Arc<Watched>> {
        held(&self.watching).get(&host).map(|watching| Arc::clone(&watching.told))
    }

    pub(crate) fn directory(&self) -> Arc<Directory> {
        held(&self.state).directory.clone()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(crate) async fn reports(&self, detail: Detail) -> Vec<LoopReport> {
        let asked: Vec<_> = self
            .doors
            .iter()
            .map(|door| {
                let (reply, answer) = oneshot::channel();
                door.ask(Ask { detail, reply });
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
    pub(crate) async fn settled(&self, deadline: Duration, done: impl Fn() -> bool) {
        let until = tokio::time::Instant::now() + deadline;
        while !done() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The certificates in use and their ends.
    pub(crate) fn certificates(&self) -> Vec<Expiry> {
        let state = held(&self.state);
        let listen = state.tls.iter().flat_map(|tls| tls.expiries());
        listen.chain(state.servers.there.values().flat_map(|plan| plan.tls.expiries())).cloned().collect()
    }

    pub(crate) fn figures(&self, cancels: (u64, u64)) -> ProcessFigures {
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
            login_took: counters.login_took.counts(),
            login_failures: self.auth.tally.failures(),
            scram_derivations: self.auth.tally.derivations(),
            cancels: Cancels {
                forwarded: cancels.0 + count(&counters.cancels_handed_on),
                refused: cancels.1 + count(&counters.cancels_refused),
                dropped: count(&counters.cancels_dropped),
            },
            certificates: self.certificates(),
            accept_errors: count(&counters.accept_errors),
            gaps_ms: u64::try_from(self.clock.gaps().as_millis()).unwrap_or(u64::MAX),
        }
    }
}
