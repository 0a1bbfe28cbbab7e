//! The watcher: told one picture a second, it knows what was usual, and answers why requests wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use poolwarden_pool::{HostId, HostSnapshot, Limit, PoolId, PoolKey, PoolSnapshot};

use crate::answer;
use crate::case::{Case, Process};
use crate::forecast::Forecasts;
use crate::layer;
use crate::memory::{self, Memory};
use crate::occupancy::{Backends, Hindsight, Occupancy};
use crate::queueing::Sources;
use crate::span::Span;
use crate::trial::Trial;
use crate::why::{Holder, PoolWhy, Why};
use crate::{HostView, LeaseView, ServerView, UsageKind, View};

/// Pools by their server and their own id.
type Key = (HostId, PoolId);

/// What is remembered of the pictures seen.
#[derive(Debug, Default)]
pub struct Watch {
    pools: BTreeMap<Key, Memory>,
    process: ProcessMemory,
    forecasts: Forecasts,
}

/// The process in the last seconds.
#[derive(Debug, Default)]
struct ProcessMemory {
    moments: VecDeque<Moment>,
    clients: f64,
    clients_seen_ms: u64,
}

/// Totals at one picture, and what loops did until then.
#[derive(Clone, Debug)]
struct Moment {
    at_ms: u64,
    refused: [u64; 16],
    probes: Vec<(u64, u64)>,
    busy: f64,
    lag_us: u64,
}

/// Of each pool's statements: leases, and microseconds of those together.
fn statements(view: &View) -> BTreeMap<Key, Vec<(u64, u64)>> {
    let mut all = BTreeMap::<Key, Vec<(u64, u64)>>::new();
    for of in view.usage.iter().filter(|of| of.kind == UsageKind::Query && of.name.is_some()) {
        all.entry((of.host, of.pool)).or_default().push((of.used.leases, of.used.held_us));
    }
    all
}

/// The process is looked at over this long: a probe every five seconds has been tried at least once in it.
const WINDOW_MS: u64 = 10_000;
/// How many clients are usual is known after this long.
const CLIENTS_KNOWN_MS: u64 = 600_000;

impl Watch {
    /// Takes one picture, with its server connections and waiters. Once a second is meant; other intervals are as good.
    pub fn observe(&mut self, view: &View) {
        let mut leases = leases(view);
        let mut statements = statements(view);
        let (mut there, mut spans) = (BTreeMap::new(), Vec::new());
        for host in &view.hosts {
            let backends = Backends::new(host.activity.as_ref(), view.now_ms);
            for pool in host.snapshot.pools.iter().filter(|pool| !pool.alone) {
                let key = (host.id, pool.id);
                let before = self.pools.remove(&key);
                let mut memory = before.unwrap_or_else(|| Memory::new(pool.clone(), view.now_ms));
                let mut span = memory.newest(pool, view.now_ms);
                span.occupancy = occupancy(&memory, &backends, &leases.remove(&key).unwrap_or_default());
                spans.push((host.id, pool, span.clone()));
                memory.take(span, pool.clone());
                memory.compare(statements.remove(&key).unwrap_or_default());
                there.insert(key, memory);
            }
        }
        self.pools = there; // what is gone is forgotten
        self.process.take(view);
        self.forecasts.take(view, &spans);
    }

    /// The answer for the pools of this database, or for all; `view`: the picture of now.
    #[must_use]
    pub fn why(&self, view: &View, pool: Option<&str>) -> Why {
        let mut pools: Vec<PoolWhy> = Vec::new();
        self.each(view, pool, |case| pools.push(answer::answer(case, &self.forecasts)));
        pools.sort_by(|a, b| {
            let worst = |of: &PoolWhy| std::cmp::Reverse((of.state, of.waiting > 0));
            (worst(a), &a.server, &a.pool, &a.user).cmp(&(worst(b), &b.server, &b.pool, &b.user))
        });
        let layers = layer::layers(view, &self.process.window(view), &pools);
        Why { at_ms: view.now_ms, pools, layers, not_seen: not_seen(view) }
    }

    /// Puts a change of settings on trial that was made just now: `view` is of just before it, `after` each host's snapshot of just
    /// after it, of those that are still there; `also` names limits of a pool that became smaller by what no snapshot shows (how long requests may wait).
    #[must_use]
    pub fn try_change(
        &self,
        view: &View,
        after: &BTreeMap<HostId, HostSnapshot>,
        also: impl Fn(&PoolKey) -> BTreeSet<Limit>,
    ) -> Trial {
        let past = self.pools.iter().map(|(key, memory)| (*key, memory.past())).collect();
        Trial::begin(view, after, &past, also)
    }

    /// Everybody who holds a server connection of this database, or of all, longest first.
    #[must_use]
    pub fn holders(&self, view: &View, pool: Option<&str>) -> Vec<Holder> {
        let mut holders = Vec::new();
        self.each(view, pool, |case| holders.extend(answer::holders(case, usize::MAX)));
        holders.sort_by(|a: &Holder, b: &Holder| b.lease.held_us.cmp(&a.lease.held_us).then(a.conn.cmp(&b.conn)));
        holders
    }

    /// Calls `tell` with the case of every pool asked for.
    fn each(&self, view: &View, wanted: Option<&str>, mut tell: impl FnMut(&Case<'_>)) {
        let leases = leases(view);
        let process = self.process.window(view);
        let changed_ms = view.changes.last().map_or(0, |change| change.at_ms);
        for host in &view.hosts {
            let backends = Backends::new(host.activity.as_ref(), view.now_ms);
            let pools = || host.snapshot.pools.iter().filter(|pool| !pool.alone);
            // who is younger than the newest picture is answered for all the same, from what is true now
            let unknown = pools().filter(|pool| !self.pools.contains_key(&(host.id, pool.id)));
            let fresh: BTreeMap<PoolId, Memory> =
                unknown.map(|pool| (pool.id, Memory::new(pool.clone(), view.now_ms))).collect();
            let known: Vec<(&PoolSnapshot, &Memory)> = pools()
                .filter_map(|pool| Some((pool, self.pools.get(&(host.id, pool.id)).or_else(|| fresh.get(&pool.id))?)))
                .collect();
            let windows: Vec<(&PoolSnapshot, Span)> = known
                .iter()
                .map(|(pool, memory)| {
                    let mut newest = memory.newest(pool, view.now_ms);
                    let leases = leases.get(&(host.id, pool.id)).map_or(&[][..], Vec::as_slice);
                    newest.occupancy = occupancy(memory, &backends, leases);
                    let mut hindsight = Hindsight::default();
                    for (server, lease) in leases {
                        hindsight.note(backends.usage(server, lease, memory.yardstick()), lease, view.now_ms);
                    }
                    (*pool, memory.window(newest, changed_ms, &hindsight))
                })
                .collect();
            for (place, (pool, memory)) in known.iter().enumerate() {
                if wanted.is_some_and(|wanted| wanted != pool.key.database) {
                    continue;
                }
                let window = &windows[place].1;
                let newest = memory.newest(pool, view.now_ms);
                let troubled = memory.troubled_since_ms.is_some() || memory::is_troubled(&newest, pool);
                tell(&Case {
                    view,
                    host,
                    pool,
                    memory,
                    process: &process,
                    window,
                    windows: &windows,
                    backends: &backends,
                    waited_for: memory.binding(&newest),
                    troubled,
                    sources: sources(pool, window),
                });
            }
        }
    }
}

fn sources(pool: &PoolSnapshot, window: &Span) -> Option<Sources> {
    let arrivals = window.arrivals();
    let granted = crate::span::ratio(window.granted, arrivals);
    let clients = f64::from(pool.clients.max(pool.slots.lent + pool.waiting));
    Sources::seen(clients, window.per_second(arrivals), granted, window.wait_us()? / 1e6, window.hold_us()? / 1e6)
}

/// Lent connections by pool.
fn leases(view: &View) -> BTreeMap<Key, Vec<(&ServerView, &LeaseView)>> {
    let mut leases: BTreeMap<Key, Vec<_>> = BTreeMap::new();
    for (server, lease) in view.servers.iter().filter_map(|server| Some((server, server.lease.as_ref()?))) {
        leases.entry((lease.host, lease.pool)).or_default().push((server, lease));
    }
    leases
}

fn occupancy(memory: &Memory, backends: &Backends<'_>, leases: &[(&ServerView, &LeaseView)]) -> Occupancy {
    let yard = memory.yardstick();
    let mut occupancy = Occupancy { samples: 1, ..Occupancy::default() };
    for (server, lease) in leases {
        occupancy.note(backends.usage(server, lease, yard), lease.fingerprint);
        if let Some(busy) = backends.busy(server, lease) {
            occupancy.told += 1;
            occupancy.busy += u32::from(busy);
        }
    }
    occupancy
}

/// What is not seen, each with what would help.
fn not_seen(view: &View) -> Vec<String> {
    let of = |host: &HostView| {
        let why = host.watch_error.as_ref()?;
        Some(format!("PostgreSQL {}'s backends, locks and limits: {why}", host.name))
    };
    let mut missing: Vec<String> = view.hosts.iter().filter_map(of).collect();
    if view.probes.is_empty() {
        missing.push("the web tier: add a [[probe]] with its url".to_owned());
    }
    missing
}

impl ProcessMemory {
    fn take(&mut self, view: &View) {
        let moment = moment(view);
        let before = self.moments.back().map_or(moment.at_ms, |moment| moment.at_ms);
        let passed = moment.at_ms.saturating_sub(before);
        let keep = if self.clients_seen_ms == 0 { 0.0 } else { (-(passed as f64) / 300_000.0).exp() };
        self.clients = self.clients * keep + view.process.clients.used as f64 * (1.0 - keep);
        self.clients_seen_ms += passed.max(1);
        let old = moment.at_ms.saturating_sub(WINDOW_MS);
        self.moments.push_back(moment);
        // the newest one from before the window stays: growth is counted from it
        while self.moments.get(1).is_some_and(|moment| moment.at_ms <= old) {
            self.moments.pop_front();
        }
    }

    fn window(&self, view: &View) -> Process {
        let now = moment(view);
        let Some(then) = self.moments.front() else { return Process::default() };
        let recent = || self.moments.iter().skip(1).chain(std::iter::once(&now));
        let growth = |at: usize| {
            let (good, bad) = then.probes.get(at).copied().unwrap_or_default();
            (now.probes[at].0.saturating_sub(good), now.probes[at].1.saturating_sub(bad))
        };
        Process {
            refused_clients: std::array::from_fn(|at| now.refused[at].saturating_sub(then.refused[at])),
            probes: (0..now.probes.len()).map(growth).collect(),
            busy: recent().map(|moment| moment.busy).fold(1.0, f64::min),
            lag_us: recent().map(|moment| moment.lag_us).max().unwrap_or_default(),
            usual_clients: (self.clients_seen_ms >= CLIENTS_KNOWN_MS).then_some(self.clients),
        }
    }
}

fn moment(view: &View) -> Moment {
    Moment {
        at_ms: view.now_ms,
        refused: view.process.refused_clients,
        probes: view.probes.iter().map(|probe| (probe.good, probe.bad)).collect(),
        busy: view.loops.iter().map(|of| of.busy_ratio).fold(0.0, f64::max),
        lag_us: view.loops.iter().map(|of| of.lag_us).max().unwrap_or_default(),
    }
}
