//! A change of settings on trial: did it do harm, and what did it come to?
//!
//! It is harmful where a limit that the change made smaller keeps requests waiting now and did not before, although no more comes
//! than came before. What was done while requests waited already is never called harmful: there is no before to hold it against.
//! It knows pictures and nothing of who changes or undoes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use poolwarden_pool::{HostId, HostSnapshot, Limit, PoolId, PoolKey, PoolSnapshot};

use crate::View;
use crate::memory::NOTICED_MEAN_US;
use crate::span::{Span, quantile_us};

/// A change is on trial for so long.
pub const TRIAL_MS: u64 = 60_000;
/// It is judged by so much of the time behind it, and not before that has passed: a moment's queue after a change is none of it.
const WINDOW_MS: u64 = 5_000;
/// Traffic is as before up to this many times as much; beyond it twice the scatter of a count is allowed.
const AS_BEFORE: f64 = 1.1;
/// Leases are as before up to this many times as long.
const AS_LONG: f64 = 1.5;
/// Fewer leases than this say nothing of how long they are.
const ENOUGH: u64 = 20;
/// A limit did not bind before if it was waited for less than this part of what it is now.
const NEXT_TO_NOTHING: f64 = 0.1;

/// What a stretch of time had of one pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// How long it was, in milliseconds.
    pub window_ms: u64,
    /// Requests per second that came.
    pub arrivals_per_s: f64,
    /// Mean number of requests waiting.
    pub waiting: f64,
    /// Refused requests.
    pub refused: u64,
    /// 99 of 100 of the granted requests waited no longer, in microseconds.
    pub wait_p99_us: Option<u64>,
    /// What most was waited for.
    pub binding: Option<Limit>,
}

/// What came of a change for one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The server's name.
    pub server: String,
    /// Which pool.
    pub pool: PoolKey,
    /// The ten seconds before the change.
    pub before: Measures,
    /// The newest seconds of the trial.
    pub after: Measures,
}

/// A limit that the change made smaller, and that requests wait for since.
#[derive(Clone, Debug, PartialEq)]
pub struct Harm {
    /// Which limit.
    pub limit: Limit,
    /// Where, and the numbers.
    pub effect: Effect,
}

/// How a trial stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// It goes on.
    Going,
    /// The change does harm: said once.
    Harmful(Box<Harm>),
    /// It is over.
    Over(Vec<Effect>),
}

/// One change on trial.
#[derive(Debug)]
pub struct Trial {
    began_ms: u64,
    pools: BTreeMap<(HostId, PoolId), Tried>,
    /// Somebody waited already where it acts.
    open: bool,
    said: bool,
}

#[derive(Debug)]
struct Tried {
    /// Limits that became smaller.
    smaller: BTreeSet<Limit>,
    clients: u32,
    before: Span,
    last: PoolSnapshot,
    last_ms: u64,
    spans: VecDeque<Span>,
}

/// What is known of a pool before a change.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) window: Span,
    pub(crate) is_troubled: bool,
}

/// Limits that bind earlier by a change, told by two snapshots of one host; `also` says more of a pool by what is in no snapshot.
#[must_use]
pub fn smaller(old: &PoolSnapshot, new: &PoolSnapshot) -> BTreeSet<Limit> {
    let size = |of: &PoolSnapshot, limit| of.limits.iter().find(|of| of.limit == limit).and_then(|of| of.size);
    let is_smaller = |limit: &Limit| {
        // unlimited before is more than any number
        size(new, *limit).is_some_and(|now| size(old, *limit).is_none_or(|then| now < then))
    };
    let lasting = |limit: &Limit| !matches!(limit, Limit::Connects | Limit::Breaker);
    Limit::ALL.into_iter().filter(lasting).filter(is_smaller).collect()
}

impl Trial {
    /// The change was made at `view`, whose snapshots are of just before it; `after`: each host's snapshot of just after it. `also`:
    /// limits of a pool that became smaller by what no snapshot shows (how long requests may wait, weights of classes).
    pub(crate) fn begin(
        view: &View,
        after: &BTreeMap<HostId, HostSnapshot>,
        past: &BTreeMap<(HostId, PoolId), Past>,
        also: impl Fn(&PoolKey) -> BTreeSet<Limit>,
    ) -> Self {
        let mut pools = BTreeMap::new();
        let mut open = false;
        for host in &view.hosts {
            let Some(after) = after.get(&host.id) else { continue };
            for old in host.snapshot.pools.iter().filter(|pool| !pool.alone) {
                let Some(new) = after.pools.iter().find(|new| new.id == old.id) else { continue };
                let Some(past) = past.get(&(host.id, old.id)) else { continue };
                let mut smaller = smaller(old, new);
                smaller.extend(also(&old.key));
                open |= past.is_troubled;
                pools.insert(
                    (host.id, old.id),
                    Tried {
                        smaller,
                        clients: old.clients,
                        before: past.window.clone(),
                        last: new.clone(),
                        last_ms: view.now_ms,
                        spans: VecDeque::new(),
                    },
                );
            }
        }
        Self { began_ms: view.now_ms, pools, open, said: false }
    }

    /// Whether requests waited already where the change acts, so that it is only reported.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Takes the next picture, one a second.
    pub fn observe(&mut self, view: &View) -> Finding {
        for host in &view.hosts {
            for pool in &host.snapshot.pools {
                if let Some(tried) = self.pools.get_mut(&(host.id, pool.id)) {
                    tried.take(pool, view.now_ms);
                }
            }
        }
        let since = view.now_ms.saturating_sub(self.began_ms);
        if since >= TRIAL_MS {
            return Finding::Over(self.effects(view));
        }
        if self.open || self.said || since < WINDOW_MS {
            return Finding::Going;
        }
        let harm = self.pools.iter().find_map(|(key, tried)| Some((key, tried, tried.harm()?)));
        let Some((key, tried, limit)) = harm else { return Finding::Going };
        let harm = Harm { limit, effect: tried.effect(server(view, key.0)) };
        self.said = true;
        Finding::Harmful(Box::new(harm))
    }

    /// What came of it so far, pool by pool.
    #[must_use]
    pub fn effects(&self, view: &View) -> Vec<Effect> {
        self.pools.iter().map(|((host, _), tried)| tried.effect(server(view, *host))).collect()
    }
}

fn server(view: &View, id: HostId) -> &str {
    view.host(id).map_or("", |host| host.name.as_str())
}

impl Tried {
    fn take(&mut self, now: &PoolSnapshot, now_ms: u64) {
        let mut span = Span::between(&self.last, now);
        span.ended_ms = now_ms;
        span.long_us = now_ms.saturating_sub(self.last_ms) * 1_000;
        // who came and still waits has come
        span.granted += u64::from(now.waiting.saturating_sub(self.last.waiting));
        self.spans.push_back(span);
        (self.last, self.last_ms) = (now.clone(), now_ms);
        let old = now_ms.saturating_sub(WINDOW_MS);
        while self.spans.front().is_some_and(|span| span.ended_ms <= old) {
            self.spans.pop_front();
        }
    }

    fn now(&self) -> Span {
        self.spans.iter().fold(Span::default(), |sum, span| sum.plus(span))
    }

    /// A smaller limit that most is waited for now, noticeably, that was not waited for before, with no more demand than then.
    fn harm(&self) -> Option<Limit> {
        let now = self.now();
        let binding = most(&now)?;
        let noticed = now.refused > 0 || now.wait_us().is_some_and(|wait| wait >= NOTICED_MEAN_US);
        let per_second = |span: &Span| span.per_second(span.waited_us[binding.index()]);
        let new = per_second(&self.before) < NEXT_TO_NOTHING * per_second(&now)
            && self.before.refused_by[binding.index()] == 0;
        (self.smaller.contains(&binding) && noticed && new && self.is_demand_as_before(&now)).then_some(binding)
    }

    fn is_demand_as_before(&self, now: &Span) -> bool {
        let (then, rate) = (self.before.per_second(self.before.arrivals()), now.per_second(now.arrivals()));
        let scatter = 2.0 * (then / (WINDOW_MS as f64 / 1e3)).sqrt();
        let as_long = match (self.before.hold_us(), now.hold_us()) {
            (Some(then), Some(hold)) if self.before.leases >= ENOUGH && now.leases >= ENOUGH => hold <= then * AS_LONG,
            _ => true, // nobody knows
        };
        let clients = f64::from(self.last.clients) <= (f64::from(self.clients) * AS_BEFORE).ceil();
        rate <= then * AS_BEFORE + scatter && as_long && clients
    }

    fn effect(&self, server: &str) -> Effect {
        Effect {
            server: server.to_owned(),
            pool: self.last.key.clone(),
            before: measures(&self.before),
            after: measures(&self.now()),
        }
    }
}

/// What most was waited for.
fn most(span: &Span) -> Option<Limit> {
    let waited = |limit: Limit| span.waited_us[limit.index()];
    Limit::ALL.into_iter().max_by_key(|limit| waited(*limit)).filter(|limit| waited(*limit) > 0)
}

fn measures(span: &Span) -> Measures {
    Measures {
        window_ms: span.long_us / 1_000,
        arrivals_per_s: span.per_second(span.arrivals()),
        waiting: span.waiting(),
        refused: span.refused,
        wait_p99_us: quantile_us(&span.wait_granted, 0.99).map(|us| us as u64),
        binding: most(span),
    }
}
