//! One pool's numbers over the window of an answer, as the causes are judged by them.

use poolwarden_pool::{Failure, Limit, LimitUse, PoolSnapshot};

use crate::memory::Memory;
use crate::occupancy::{Backends, Occupancy};
use crate::queueing::Sources;
use crate::span::Span;
use crate::{HostView, LeaseView, ServerView, View};

/// PostgreSQL, asked every second while somebody waits, is silent after so long without an answer.
const SILENT_MS: u64 = 3_000;
/// And nothing of the pool has ended for so long.
const STILL_MS: u64 = 2_500;
/// An answer older than this is no evidence of anything: it is asked every five seconds at least.
pub(crate) const STALE_MS: u64 = 11_000;

/// What holds the connections is told apart within this.
const SETTLED_MS: u64 = 2_500;

/// A setting that was changed longer ago is not told with an answer, and not taken for the beginning of anything.
pub(crate) const RECENT_MS: u64 = 600_000;

/// Everything that is known of one pool, around one moment.
pub(crate) struct Case<'a> {
    pub(crate) view: &'a View,
    pub(crate) host: &'a HostView,
    pub(crate) pool: &'a PoolSnapshot,
    pub(crate) memory: &'a Memory,
    /// Since when the process as a whole is remembered.
    pub(crate) process: &'a Process,
    /// The last seconds of the pool.
    pub(crate) window: &'a Span,
    /// The same of every pool of the host, this one among them.
    pub(crate) windows: &'a [(&'a PoolSnapshot, Span)],
    pub(crate) backends: &'a Backends<'a>,
    /// The limit for which most was waited in the last moments.
    pub(crate) waited_for: Option<Limit>,
    /// Requests wait noticeably or are refused.
    pub(crate) troubled: bool,
    /// Its clients as a queueing model sees them; `None` without traffic.
    pub(crate) sources: Option<Sources>,
}

/// What is remembered of the process beside its pools: growth over the window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    /// Clients refused at the door in the window, by limit.
    pub(crate) refused_clients: [u64; 16],
    /// Per probe, in their order: good and bad answers in the window.
    pub(crate) probes: Vec<(u64, u64)>,
    /// The busiest loop's least share of a core, and the longest turn, in the window.
    pub(crate) busy: f64,
    pub(crate) lag_us: u64,
    /// Client connections of calm times; `None`: not seen for long enough.
    pub(crate) usual_clients: Option<f64>,
}

impl<'a> Case<'a> {
    /// For how long requests have waited or been refused, in milliseconds.
    pub(crate) fn lasted_ms(&self) -> u64 {
        self.memory.troubled_since_ms.map_or(0, |since| self.view.now_ms.saturating_sub(since))
    }

    /// Whether requests have waited for so short a time that what holds the connections cannot be told yet: a statement that has
    /// just begun is not slow, and a transaction that is idle for a second is not forgotten.
    pub(crate) fn is_too_early(&self) -> bool {
        self.lasted_ms() < SETTLED_MS
    }

    /// The limit as it stands.
    pub(crate) fn limit(&self, limit: Limit) -> Option<&'a LimitUse> {
        self.pool.limits.iter().find(|of| of.limit == limit)
    }

    /// How much of a limit is used and its size, as whoever set it would say: PostgreSQL counts everybody's backends, the core ours.
    pub(crate) fn shown(&self, of: &LimitUse) -> (u32, Option<u32>) {
        let others = self.quota(of.limit).zip(of.size).map_or(0, |(quota, size)| quota.size.saturating_sub(size));
        (of.used + others, of.size.map(|size| size + others))
    }

    /// PostgreSQL's own limit of the pool's role or database, where it has one and told of it.
    pub(crate) fn quota(&self, limit: Limit) -> Option<&'a crate::Quota> {
        let activity = self.host.activity.as_ref()?;
        let named = |quotas: &'a [crate::Quota], name: &str| quotas.iter().find(|quota| quota.name == name);
        match limit {
            Limit::PgRole => named(&activity.roles, &self.pool.key.user),
            Limit::PgDatabase => {
                let place = (self.host.id, self.pool.id);
                let traffic = self.view.traffic.iter().find(|of| (of.host, of.pool) == place);
                named(&activity.databases, traffic.map_or(&self.pool.key.database, |of| &of.server_database))
            }
            Limit::PoolSize
            | Limit::Reserve
            | Limit::ClassShare
            | Limit::User
            | Limit::Database
            | Limit::HostBudget
            | Limit::Connects
            | Limit::Breaker
            | Limit::MaxClients
            | Limit::PgSlots
            | Limit::Fds
            | Limit::Memory
            | Limit::QueueLength
            | Limit::WaitTime => None,
        }
    }

    /// Its size, where it has one.
    pub(crate) fn size(&self, limit: Limit) -> Option<u32> {
        self.limit(limit).and_then(|of| of.size)
    }

    /// The windows of all pools that a limit counts together, added up.
    pub(crate) fn scope(&self, limit: Limit) -> Span {
        let key = &self.pool.key;
        let counted = |other: &PoolSnapshot| match limit {
            Limit::User | Limit::PgRole => other.key.user == key.user,
            Limit::Database | Limit::PgDatabase => other.key.database == key.database,
            Limit::HostBudget | Limit::PgSlots => true,
            Limit::PoolSize
            | Limit::Reserve
            | Limit::ClassShare
            | Limit::Connects
            | Limit::Breaker
            | Limit::MaxClients
            | Limit::Fds
            | Limit::Memory
            | Limit::QueueLength
            | Limit::WaitTime => other.id == self.pool.id,
        };
        let mut sum = Span::default();
        for (_, span) in self.windows.iter().filter(|(other, _)| counted(other)) {
            sum = sum.plus(span);
        }
        // rates are per second of the window, not of the sum of windows
        sum.long_us = self.window.long_us;
        sum.occupancy.samples = self.window.occupancy.samples;
        sum
    }

    /// How its own connections were used.
    pub(crate) fn uses(&self) -> &Occupancy {
        &self.window.occupancy
    }

    /// Its server connections that are lent, with their leases.
    pub(crate) fn leases(&self) -> impl Iterator<Item = (&'a ServerView, &'a LeaseView)> {
        let (host, pool) = (self.host.id, self.pool.id);
        let leased = self.view.servers.iter().filter_map(|server| Some((server, server.lease.as_ref()?)));
        leased.filter(move |(_, lease)| lease.host == host && lease.pool == pool)
    }

    /// What PostgreSQL told of its backends, unless that is too old to say anything of now.
    pub(crate) fn activity(&self) -> Option<&'a crate::Activity> {
        let silent = self.silent_ms().is_some();
        self.host.activity.as_ref().filter(|of| !silent && self.view.now_ms.saturating_sub(of.seen_at_ms) < STALE_MS)
    }

    /// Backends of others, as PostgreSQL told; `None` where it told nothing.
    pub(crate) fn others(&self) -> Option<u32> {
        self.host.facts.as_ref().map(|facts| facts.others)
    }

    /// Whether the host budget follows from what PostgreSQL has left.
    pub(crate) fn has_auto_budget(&self) -> bool {
        let key = format!("servers.{}.max_connections", self.host.name);
        self.view.config.iter().find(|of| of.key == key).is_none_or(|of| of.value == "auto")
    }

    /// How long PostgreSQL has not answered the watch connection, where it was asked and nothing at all has ended since.
    pub(crate) fn silent_ms(&self) -> Option<u64> {
        let seen = self.host.activity.as_ref()?.seen_at_ms;
        let silent = self.view.now_ms.saturating_sub(seen);
        let still = self.view.now_ms.saturating_sub(self.memory.ended_ms);
        let stands_still = self.pool.slots.lent + self.pool.slots.opening > 0 && still >= STILL_MS;
        (silent >= SILENT_MS && stands_still && self.troubled).then_some(silent)
    }

    /// Whether PostgreSQL serves nobody, and what it said last.
    pub(crate) fn is_down(&self) -> bool {
        self.host.snapshot.down || self.silent_ms().is_some()
    }

    /// The newest failed connect of a server that is down.
    pub(crate) fn failure(&self) -> Option<&'a poolwarden_pool::ConnectFailure> {
        let pools = self.host.snapshot.pools.iter();
        let own = self.pool.failure.as_ref();
        own.or_else(|| pools.filter_map(|pool| pool.failure.as_ref()).find(|of| of.kind == Failure::Down))
    }

    /// Whether what keeps PostgreSQL away is between here and it: nothing answers at all.
    pub(crate) fn is_unreachable(&self) -> bool {
        let words = ["unreachable", "no route", "timed out", "resolve", "lookup", "name or service"];
        self.failure().filter(|_| self.host.snapshot.down).is_some_and(|failure| {
            let said = failure.message.to_ascii_lowercase();
            words.iter().any(|word| said.contains(word))
        })
    }
}
