//! When a pool will be exhausted, if what goes on goes on: from its demand, from what is forgotten, from PostgreSQL's slots.
//!
//! Everything that is shared by connections (a pool's size, a user's or database's limit, the host's budget) is a [`Scope`] with a past of
//! its own. A rise in it is told by [`trend`], the time until its capacity is used up by the rise's slope. A forecast reaches no further
//! ahead than a few times as long as its rise has lasted: what was seen for ten minutes says nothing of tomorrow.

mod blame;
mod ladder;
mod leak;
mod slots;
mod statements;
mod trend;

use std::collections::BTreeMap;

use poolwarden_pool::{HostId, Limit, PoolId, PoolSnapshot};

use crate::case::Case;
use crate::cause::CauseCode;
use crate::queueing::RESERVE;
use crate::remedy;
use crate::say::span as said;
use crate::span::Span;
use crate::why::Evidence;
use crate::{UsageKind, View};
use ladder::{Ladder, Rung, Sum};
use slots::Slots;
use statements::Statements;
use trend::Rise;

/// Requests are exhausted from where about every second one waits: this many times its square root below a capacity
/// (Halfin and Whitt 1981).
const HALF_WAIT: f64 = 0.5;
/// So many times as far ahead as a rise has lasted, and no further than this.
const AHEAD: f64 = 6.0;
const FURTHEST_S: f64 = 6.0 * 3_600.0;
/// A rise in what is nearly unused is no threat yet.
const LEAST_USED: f64 = 0.3;
/// Less than a connection in a hundred is no demand to speak of.
const LEAST_DEMAND: f64 = 0.01;
/// What a size is told to be enough for: this much more of the same rise.
const PLANNED_S: f64 = 3_600.0;

/// What is to be expected of one pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Forecast {
    /// How many times traffic or holds may grow before waits become routine; `None` without demand.
    pub headroom: Option<f64>,
    /// What will use up its connections first, if anything.
    pub exhaustion: Option<Exhaustion>,
    /// Where nothing does: why, in a few words.
    pub none: String,
}

/// The end of what a pool has.
#[derive(Clone, Debug, PartialEq)]
pub struct Exhaustion {
    /// What brings it about.
    pub cause: CauseCode,
    /// The limit that is met.
    pub limit: Limit,
    /// In so many seconds; 0: now.
    pub in_s: f64,
    /// Nine in ten times not sooner than the first and not later than the second; without end where that is not known.
    pub interval_s: (f64, f64),
    /// The numbers it follows from.
    pub evidence: Vec<Evidence>,
    /// What to do about it, in one sentence.
    pub next_step: String,
}

/// Whatever connections are shared by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    host: HostId,
    limit: Limit,
    name: String,
}

/// The past that forecasts are made from.
#[derive(Debug, Default)]
pub(crate) struct Forecasts {
    scopes: BTreeMap<Scope, Ladder>,
    statements: BTreeMap<(HostId, PoolId), Statements>,
    slots: BTreeMap<HostId, Slots>,
}

impl Forecasts {
    /// Takes one picture; `spans`: each pool and what it did since the last one.
    pub(crate) fn take(&mut self, view: &View, spans: &[(HostId, &PoolSnapshot, Span)]) {
        let mut sums = BTreeMap::<Scope, Sum>::new();
        for (host, pool, span) in spans {
            let sum = sum(span);
            for limit in pool.limits.iter().filter(|of| of.size.is_some()).filter_map(|of| shared(of.limit)) {
                let of = sums.entry(scope(*host, limit, pool)).or_default();
                *of = of.beside(sum);
            }
        }
        let mut scopes = std::mem::take(&mut self.scopes);
        self.scopes = sums
            .into_iter()
            .map(|(scope, sum)| {
                let mut ladder = scopes.remove(&scope).unwrap_or_default();
                ladder.take(sum);
                (scope, ladder)
            })
            .collect();
        let mut used = BTreeMap::<(HostId, PoolId), Vec<_>>::new();
        for of in view.usage.iter().filter(|of| of.kind == UsageKind::Query) {
            used.entry((of.host, of.pool)).or_default().push(of);
        }
        let mut statements = std::mem::take(&mut self.statements);
        for (host, pool, _) in spans {
            let key = (*host, pool.id);
            let mut of = statements.remove(&key).unwrap_or_default();
            of.take(view.now_ms, used.get(&key).map_or(&[][..], Vec::as_slice));
            self.statements.insert(key, of);
        }
        let mut slots = std::mem::take(&mut self.slots);
        for host in &view.hosts {
            let mut of = slots.remove(&host.id).unwrap_or_default();
            of.take(host.activity.as_ref());
            self.slots.insert(host.id, of);
        }
    }

    /// What is to be expected of the case's pool.
    pub(crate) fn of(&self, case: &Case<'_>) -> Forecast {
        let headroom = headroom(case);
        let leak = leak::exhaustion(case, target(capacity(case)));
        let mut rising = self.rising(case);
        // Who forgets is told from the forgotten connections themselves, and better than from what they add to the demand.
        rising.retain(|of| leak.is_none() || of.cause != CauseCode::Leak);
        let slots = self.slots.get(&case.host.id).and_then(|slots| slots.exhaustion(case));
        let soonest = rising.into_iter().chain(leak).chain(slots).min_by(|a, b| a.in_s.total_cmp(&b.in_s));
        let none = if soonest.is_some() { String::new() } else { self.why_none(case) };
        Forecast { headroom, exhaustion: soonest, none }
    }

    /// What rises in any of its scopes.
    fn rising(&self, case: &Case<'_>) -> Vec<Exhaustion> {
        let mut all = Vec::new();
        for of in &case.pool.limits {
            let (Some(limit), Some(size)) = (shared(of.limit), of.size) else { continue };
            let Some(ladder) = self.scopes.get(&scope(case.host.id, limit, case.pool)) else { continue };
            let size = if limit == Limit::PoolSize { size.max(case.pool.size + case.pool.reserve) } else { size };
            for rung in &ladder.rungs {
                if let Some(rise) = &rung.rise {
                    all.extend(self.risen(case, (limit, f64::from(size)), rung, rise));
                }
            }
        }
        all
    }

    fn risen(&self, case: &Case<'_>, (limit, size): (Limit, f64), rung: &Rung, rise: &Rise) -> Option<Exhaustion> {
        if rise.level < LEAST_USED * size {
            return None;
        }
        let (blocks, (soon, late)) = rise.until(target(size));
        let (in_s, block_s) = (blocks * rung.block_s(), rung.block_s());
        let lasted_s = rise.blocks as f64 * block_s;
        if in_s > FURTHEST_S.min(AHEAD * lasted_s) {
            return None;
        }
        let grown = blame::of(rung, rise, self.statements.get(&(case.host.id, case.pool.id)), case)?;
        let a_minute = rise.slope / block_s * 60.0;
        let whose = if limit == Limit::PoolSize { "" } else { " by all that share the limit" };
        let mut evidence = vec![Evidence::new(
            format!(
                "{:.1} of {size:.0} connections are wanted{whose}, {a_minute:.2} more each minute for the last {}",
                rise.level,
                said(lasted_s * 1e6)
            ),
            [("demand", rise.level), ("size", size), ("slope_per_minute", a_minute), ("risen_for_s", lasted_s)],
        )];
        evidence.push(grown.evidence);
        let next_step = grown.next_step.unwrap_or_else(|| {
            let then = rise.level + rise.slope / block_s * PLANNED_S;
            let enough = (then + 2.0 * then.sqrt()).ceil();
            let setting = remedy::setting(limit, &case.host.name, &case.pool.key);
            format!("raise {setting} to {enough:.0} (now {size:.0}), which is enough for another hour of this, or shed what can wait")
        });
        Some(Exhaustion {
            cause: grown.cause,
            limit,
            in_s,
            interval_s: (soon * block_s, late * block_s),
            evidence,
            next_step,
        })
    }

    fn why_none(&self, case: &Case<'_>) -> String {
        let ladder = self.scopes.get(&scope(case.host.id, Limit::PoolSize, case.pool));
        let [tens, _] = match ladder {
            Some(ladder) => &ladder.rungs,
            None => return "no forecast: this pool was not seen yet".to_owned(),
        };
        let needed = tens.block_s() * trend::SHORTEST as f64;
        if tens.seen_s() < needed {
            let seen = tens.seen_s();
            return format!("no forecast: traffic was seen for {seen:.0} s, a rise is told from {needed:.0} s");
        }
        match ladder.and_then(|ladder| ladder.rungs.iter().find_map(|rung| rung.rise)) {
            Some(_) => "demand rises, but uses up nothing as far ahead as can be told".to_owned(),
            None => "nothing rises".to_owned(),
        }
    }
}

/// How many times traffic or holds may grow before waits become routine: the largest load whose square-root reserve still fits,
/// over the demand of the last half minute.
fn headroom(case: &Case<'_>) -> Option<f64> {
    let root = (RESERVE.mul_add(RESERVE, 4.0 * capacity(case)).sqrt() - RESERVE) / 2.0;
    (case.memory.demand >= LEAST_DEMAND).then(|| root * root / case.memory.demand)
}

/// How many connections the pool may have, as its limits stand.
fn capacity(case: &Case<'_>) -> f64 {
    f64::from(case.pool.slots.counted().saturating_add(crate::gain::narrowest(case)))
}

/// The demand at which about half of the requests wait.
fn target(capacity: f64) -> f64 {
    (capacity - HALF_WAIT * capacity.sqrt()).max(0.0)
}

fn sum(span: &Span) -> Sum {
    let idle = u64::from(span.occupancy.idle + span.occupancy.stuck);
    Sum {
        long_us: span.long_us,
        lent_us: span.lent_us,
        waited_us: span.waited(),
        idle_us: idle * span.long_us,
        arrivals: span.arrivals(),
        ended: span.leases,
    }
}

/// Limits that count connections in use.
fn shared(limit: Limit) -> Option<Limit> {
    match limit {
        Limit::PoolSize | Limit::User | Limit::Database | Limit::HostBudget | Limit::PgRole | Limit::PgDatabase => {
            Some(limit)
        }
        Limit::Reserve
        | Limit::ClassShare
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

fn scope(host: HostId, limit: Limit, pool: &PoolSnapshot) -> Scope {
    let name = match limit {
        Limit::User | Limit::PgRole => pool.key.user.clone(),
        Limit::Database | Limit::PgDatabase => pool.key.database.clone(),
        Limit::PoolSize => format!("{}/{}", pool.key.database, pool.key.user),
        Limit::HostBudget
        | Limit::Reserve
        | Limit::ClassShare
        | Limit::Connects
        | Limit::Breaker
        | Limit::MaxClients
        | Limit::PgSlots
        | Limit::Fds
        | Limit::Memory
        | Limit::QueueLength
        | Limit::WaitTime => String::new(),
    };
    Scope { host, limit, name }
}
