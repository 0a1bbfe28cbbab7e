//! The proxy as its owner sees it: started, looked at, changed, drained.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use poolwarden_switch::pool::{ClassId, Event, Host, HostId, HostSnapshot, Input, ServerFacts, Time, Verb};
use poolwarden_switch::{Detail, Ended, Lease, LoopReport, Mail, Passage, Target};

use crate::accept::{self, Listeners};
use crate::cancel::{self, PeerFigures};
use crate::engine::Wake;
use crate::fault::StartError;
use crate::figures::{LoopFigures, ProcessFigures};
use crate::inner::{Inner, held};
use crate::note::Note;
use crate::operator::Operator;
use crate::renew::Renewed;
use crate::settings::{HostPlan, Listening, Reload, Settings};
use crate::tls::Expiry;
use crate::watch::Activity;
use crate::{hosts, lane, start};

/// A running proxy.
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

/// After everybody was sent away, PostgreSQL gets this long to end its side.
const GOODBYE: Duration = Duration::from_secs(3);

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
        let max_fds = start::raise_descriptors(&settings)?;
        let _context = runtime.enter();
        let listeners = Listeners::bind(&settings)?;
        let loops = start::loops(&settings);
        let inner = Arc::new(Inner::new(settings, operator, loops, max_fds)?);
        let _ = inner.listening.set(listeners.addresses()); // set once, here
        start::threads(&inner)?;
        accept::start(&inner, listeners, runtime);
        runtime.spawn(lane::run(inner.clone()));
        let watched: Vec<HostId> = held(&inner.state).servers.there.keys().copied().collect();
        watched.into_iter().for_each(|host| hosts::watch(&inner, host));
        runtime.spawn(lane::balance(inner.clone()));
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

    /// What a host's core knows, what PostgreSQL told, and why the watch connection is not there; `None` for a server that is not in
    /// the configuration.
    #[must_use]
    pub fn host(&self, host: HostId) -> Option<(HostSnapshot, Option<ServerFacts>, Option<String>)> {
        let watched = self.0.watched(host)?;
        let snapshot = self.0.shared.snapshot(self.now(), host)?;
        Some((snapshot, held(&watched.facts).clone(), held(&watched.error).clone()))
    }

    /// What a host's core would know under this plan; one that was never there is rehearsed from empty. Nothing changes.
    #[must_use]
    pub fn rehearse(&self, plan: &HostPlan) -> HostSnapshot {
        let known = self.0.shared.rehearse(self.now(), plan.id, plan.core.clone());
        known.unwrap_or_else(|| Host::new(plan.core.clone(), 0).snapshot(self.now()))
    }

    /// What PostgreSQL told of its backends; `None` before the first answer, and while the watch connection is not there.
    #[must_use]
    pub fn activity(&self, host: HostId) -> Option<Arc<Activity>> {
        held(&self.0.watched(host)?.activity).clone()
    }

    /// What every loop tells; one that does not answer within a second is left out.
    pub async fn reports(&self, detail: Detail) -> Vec<LoopReport> {
        self.0.reports(detail).await
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

    /// Every host there is or was.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostId> {
        self.0.shared.hosts().collect()
    }

    /// Takes what became of a host's requests since the last look, see [`Shared::ended`](poolwarden_switch::Shared::ended).
    pub fn ended(&self, host: HostId, most: usize, into: &mut Ended) {
        self.0.shared.ended(host, most, into);
    }

    /// Names of applications by the numbers requests carry, from the `known`th on.
    #[must_use]
    pub fn tenants(&self, known: usize) -> Vec<(u64, Box<str>)> {
        self.0.shared.tenants(known)
    }

    /// An operator's word to a host's pools, or to those of one database.
    pub fn admin(&self, host: HostId, verb: Verb, database: Option<String>) {
        self.0.drive(host, Input::Admin(verb, database));
    }

    /// An operator sheds a class on a host until then; a time that has passed ends it.
    pub fn shed(&self, host: HostId, class: ClassId, until: Time) {
        self.0.drive(host, Input::Shed(class, until));
    }

    /// Puts new settings in force. To be called on the runtime: servers that are new are watched from now on.
    pub fn reload(&self, reload: Reload) {
        let inner = &self.0;
        hosts::add(inner, &reload.hosts);
        let (turn, renewed) = {
            let mut state = held(&inner.state);
            if state.directory.auth.query != reload.directory.auth.query {
                inner.auth.cache.clear();
            }
            let renewed = Renewed::between(&state.directory, &reload.directory);
            state.directory = Arc::new(reload.directory);
            let turn = state.servers.replace(reload.hosts);
            turn.forget(inner);
            state.limits = reload.limits;
            state.trusted = Arc::new(reload.proxy_protocol);
            state.peers = cancel::peers(&reload.peers, &state.peers);
            state.tls = reload.tls;
            (turn, renewed)
        };
        held(&inner.unversed).clear(); // another server may stand there now
        inner.memory.store(reload.limits.memory, Ordering::Relaxed);
        inner.shared.retune(reload.terms);
        turn.carry_out(inner);
        renewed.carry_out(inner);
    }

    /// Numbers of the process, and the remarks since the last look.
    pub async fn figures(&self) -> ProcessFigures {
        let cancels = self
            .0
            .reports(Detail::Totals)
            .await
            .iter()
            .fold((0, 0), |sum, report| (sum.0 + report.cancels.0, sum.1 + report.cancels.1));
        self.0.figures(cancels)
    }

    /// The other instances, and the cancel requests on their way there.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerFigures> {
        cancel::figures(&held(&self.0.state).peers)
    }

    /// The certificates in use and their ends, of bundles of authorities the one that ends first.
    #[must_use]
    pub fn certificates(&self) -> Vec<Expiry> {
        self.0.certificates()
    }

    /// The remarks since the last look.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        let idlers = self.0.shared.idlers();
        idlers.iter().map(Note::of_idler).chain(self.0.notes.take()).collect()
    }

    /// Whether somebody listens to who comes, goes and is refused.
    pub fn listen(&self, listening: bool) {
        self.0.shared.listen(listening);
    }

    /// Who came, went and was refused since the last look, oldest first, and how many more.
    #[must_use]
    pub fn passages(&self) -> (VecDeque<Passage>, u64) {
        self.0.shared.passages()
    }

    /// Ends a client, by its serial number.
    pub fn kill_client(&self, serial: u64) {
        self.0.post_all(|| Mail::Kill(serial));
    }

    /// Has what this lease runs cancelled, if it is still that lease and runs something.
    pub fn cancel_lease(&self, lease: Lease) {
        self.0.post_all(|| Mail::CancelLease(lease));
    }

    /// Ends this lease, if it is still that one: its client leaves and is told, the server connection is closed.
    pub fn end_lease(&self, lease: Lease) {
        self.0.post_all(|| Mail::EndLease(lease));
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

    /// Serves nobody new: TCP doors close, and who comes over the unix socket is told so, unless it wants the console.
    pub fn refuse(&self) {
        self.0.refusing.send_replace(true);
    }

    /// Accepts nobody any more, lets what is lent end until `deadline`, sends everybody away, and ends the threads.
    pub async fn drain(&self, deadline: Duration) {
        let inner = &self.0;
        inner.closing.send_replace(true);
        for host in inner.shared.hosts() {
            inner.drive(host, Input::Admin(Verb::Drain, None));
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
