//! What is worth a ticket, and what is worth waking somebody for.
//!
//! One alert per pool, or per server where the server is the trouble; it is raised and lowered in place, never opened twice. Pages are for what
//! clients feel now (requests wait noticeably, are refused, or the share of good ones is used up too fast) and for an end that is
//! foreseen. What is tight and not yet urgent is a ticket. Opening and resolving have thresholds apart, and whoever opens again and
//! again is one unstable alert instead of many.

mod budget;

use std::collections::{BTreeMap, VecDeque};

use crate::View;
use crate::cause::CauseCode;
use crate::say::{percent, span};
use crate::why::{PoolState, PoolWhy, Verdict, Why};
use budget::Budget;

/// So many of the last seconds must be bad, for a page.
const BAD_SECONDS: usize = 3;
const OF_SECONDS: usize = 5;
/// A pool that nobody asks of for half a minute's worth of requests wakes nobody: fewer a second than this.
const LEAST_ARRIVALS: f64 = 0.5;
/// Unless so many wait all the same.
const MANY_WAIT: u32 = 5;
/// An end that is foreseen further away can wait for the morning.
const PAGE_AHEAD_S: f64 = 45.0 * 60.0;
/// And so far ahead it is no threat any more.
const CLEAR_AHEAD_S: f64 = 2.0 * PAGE_AHEAD_S;
/// It must be foreseen for so long: two blocks of ten seconds.
const FORESEEN_MS: u64 = 20_000;
/// Traffic or holds may grow so many times only, for so long: a ticket; and so many times again, for as long: no more.
const TIGHT: f64 = 1.25;
const ROOMY: f64 = 1.4;
const TIGHT_MS: u64 = 300_000;
/// An alert stays for so long, and is resolved once nothing has spoken for it for so long.
const LEAST_OPEN_MS: u64 = 600_000;
const CALM_MS: u64 = 300_000;
/// Opened more often than this in an hour, it is unstable: it then stays for an hour of calm.
const MOST_OPENED: usize = 3;
const HOUR_MS: u64 = 3_600_000;
/// A ticket within so long after a change of settings is part of the change.
const PLANNED_MS: u64 = 600_000;
/// What an alert says is said again when its cause has changed, at most so often.
const RETOLD_MS: u64 = 60_000;

/// How urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// In working hours.
    Ticket,
    /// Somebody should act before clients feel it.
    PageEarly,
    /// Clients feel it.
    PageNow,
}

impl Urgency {
    /// Its name in notifications.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::PageEarly => "page_early",
            Self::PageNow => "page_now",
        }
    }
}

/// Whom it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The server's name.
    pub server: String,
    /// Database and user of the pool; `None`: the server as a whole.
    pub pool: Option<(String, String)>,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Its number since the process started.
    pub id: u64,
    /// Whom it is about.
    pub about: Subject,
    /// How urgent it is; it may have become more so.
    pub urgency: Urgency,
    /// What brings it about; `None`: not known.
    pub cause: Option<CauseCode>,
    /// When it began, in milliseconds since 1970 UTC.
    pub began_ms: u64,
    /// What is the case, with numbers.
    pub summary: String,
    /// What to do, in one sentence.
    pub next_step: String,
    /// It opened again and again; it is told once, and stays until it has been calm for an hour.
    pub unstable: bool,
}

/// What became of an alert.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// There is a new one.
    Opened(Alert),
    /// It is more urgent or less, or has another cause.
    Changed(Alert),
    /// Nothing speaks for it any more.
    Resolved(Alert),
}

/// Every alert there is.
#[derive(Debug, Default)]
pub struct Alerts {
    ids: u64,
    of: BTreeMap<Subject, State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether each of the last seconds was bad.
    seconds: VecDeque<bool>,
    budget: Budget,
    foreseen_since_ms: Option<u64>,
    tight_since_ms: Option<u64>,
    opened_ms: VecDeque<u64>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    alert: Alert,
    opened_ms: u64,
    /// When something spoke for it last.
    spoke_ms: u64,
    told_ms: u64,
}

/// What speaks for an alert now.
#[derive(Debug)]
struct Reason {
    urgency: Urgency,
    cause: Option<CauseCode>,
    began_ms: u64,
    summary: String,
    next_step: String,
}

impl Alerts {
    /// Takes the answer and the picture it was made from, once a second. What there is to tell.
    pub fn take(&mut self, view: &View, why: &Why) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut gone = std::mem::take(&mut self.of);
        for (subject, pools) in subjects(why) {
            let mut state = gone.remove(&subject).unwrap_or_default();
            let reason = state.reason(view, &subject, &pools);
            state.tell(view.now_ms, subject.clone(), reason, &mut self.ids, &mut notices);
            self.of.insert(subject, state);
        }
        // What is not there any more has nothing against it.
        for (_, state) in gone {
            notices.extend(state.open.map(|open| Notice::Resolved(open.alert)));
        }
        notices
    }

    /// Those that are open, the most urgent first.
    #[must_use]
    pub fn open(&self) -> Vec<&Alert> {
        let mut all: Vec<&Alert> = self.of.values().filter_map(|state| Some(&state.open.as_ref()?.alert)).collect();
        all.sort_by_key(|alert| (std::cmp::Reverse(alert.urgency), alert.id));
        all
    }
}

/// Every pool by itself; those of a server that is down are the server's.
fn subjects(why: &Why) -> BTreeMap<Subject, Vec<&PoolWhy>> {
    let mut all = BTreeMap::<Subject, Vec<&PoolWhy>>::new();
    for pool in &why.pools {
        let own = (pool.state != PoolState::Down).then(|| (pool.pool.clone(), pool.user.clone()));
        all.entry(Subject { server: pool.server.clone(), pool: own }).or_default().push(pool);
    }
    all
}

impl State {
    fn reason(&mut self, view: &View, subject: &Subject, pools: &[&PoolWhy]) -> Option<Reason> {
        let pool = pools.first()?;
        let is_bad = matches!(pool.state, PoolState::Saturated | PoolState::Down);
        self.seconds.push_back(is_bad);
        if self.seconds.len() > OF_SECONDS {
            self.seconds.pop_front();
        }
        self.budget.take(view, subject);
        since(&mut self.foreseen_since_ms, view.now_ms, foreseen(pool, PAGE_AHEAD_S));
        since(&mut self.tight_since_ms, view.now_ms, pool.forecast.headroom.is_some_and(|headroom| headroom < TIGHT));
        self.now(view, pools).or_else(|| self.early(view, pool)).or_else(|| self.ticket(view, pool))
    }

    /// What clients feel.
    fn now(&self, view: &View, pools: &[&PoolWhy]) -> Option<Reason> {
        let pool = pools.first()?;
        let is_asked =
            pool.rates.arrivals >= LEAST_ARRIVALS || pool.waiting >= MANY_WAIT || pool.state == PoolState::Down;
        let bad = self.seconds.iter().filter(|bad| **bad).count();
        let burns = self.budget.burns();
        if !is_asked || (bad < BAD_SECONDS && burns.is_none()) || pool.state == PoolState::Paused {
            return None;
        }
        let top = pool.causes.first().filter(|cause| cause.verdict == Verdict::Supported);
        let waiting: u32 = pools.iter().map(|pool| pool.waiting).sum();
        let refused: f64 = pools.iter().map(|pool| pool.rates.refused).sum();
        let mut summary = match burns {
            Some(burn) if bad < BAD_SECONDS => format!(
                "{} of the requests of the last {} were not granted within 50 ms",
                percent(burn.bad),
                span(burn.long_s * 1e6)
            ),
            Some(_) | None => format!("{waiting} requests wait, {refused:.0} are refused each second"),
        };
        if let Some(binding) = pool.binding.as_ref().filter(|_| pool.binds) {
            let size = binding.size.map_or_else(String::new, |size| format!(" ({} of {size})", binding.used));
            summary.push_str(&format!("; {} binds{size}, set by {}", binding.limit.name(), binding.setting));
        }
        if let Some(evidence) = top.and_then(|top| top.evidence.first()) {
            summary.push_str(&format!("; {}", evidence.text));
        }
        Some(Reason {
            urgency: Urgency::PageNow,
            cause: top.map(|top| top.code),
            began_ms: view.now_ms.saturating_sub(pool.waiting_for_ms.unwrap_or_default()),
            summary,
            next_step: pool.next_step.clone(),
        })
    }

    /// What they will feel.
    fn early(&self, view: &View, pool: &PoolWhy) -> Option<Reason> {
        let since_ms = self.foreseen_since_ms.filter(|since| view.now_ms.saturating_sub(*since) >= FORESEEN_MS);
        let is_open = self.open.as_ref().is_some_and(|open| open.alert.urgency >= Urgency::PageEarly);
        let still = is_open && foreseen(pool, CLEAR_AHEAD_S);
        let exhaustion = pool.forecast.exhaustion.as_ref().filter(|_| since_ms.is_some() || still)?;
        let told: Vec<&str> = exhaustion.evidence.iter().map(|of| of.text.as_str()).collect();
        Some(Reason {
            urgency: Urgency::PageEarly,
            cause: Some(exhaustion.cause),
            began_ms: since_ms.unwrap_or(view.now_ms),
            summary: format!(
                "{} is used up in about {}: {}",
                exhaustion.limit.name(),
                span(exhaustion.in_s * 1e6),
                told.join("; ")
            ),
            next_step: exhaustion.next_step.clone(),
        })
    }

    /// What can wait for working hours.
    fn ticket(&self, view: &View, pool: &PoolWhy) -> Option<Reason> {
        let planned = view.changes.last().is_some_and(|change| view.now_ms.saturating_sub(change.at_ms) < PLANNED_MS);
        let is_open = self.open.is_some();
        let headroom = pool.forecast.headroom?;
        let since_ms = self.tight_since_ms.filter(|since| view.now_ms.saturating_sub(*since) >= TIGHT_MS);
        let opens = since_ms.is_some() && !planned;
        let stays = is_open && headroom < ROOMY;
        (opens || stays).then(|| Reason {
            urgency: Urgency::Ticket,
            cause: None,
            began_ms: since_ms.unwrap_or(view.now_ms),
            summary: format!("traffic or holds may grow {headroom:.2} times only before waits become routine"),
            next_step: pool.next_step.clone(),
        })
    }

    fn tell(&mut self, now_ms: u64, about: Subject, reason: Option<Reason>, ids: &mut u64, notices: &mut Vec<Notice>) {
        match (&mut self.open, reason) {
            (None, None) => {}
            (None, Some(reason)) => {
                while self.opened_ms.front().is_some_and(|at_ms| now_ms.saturating_sub(*at_ms) > HOUR_MS) {
                    self.opened_ms.pop_front();
                }
                self.opened_ms.push_back(now_ms);
                *ids += 1;
                let alert = Alert {
                    id: *ids,
                    about,
                    urgency: reason.urgency,
                    cause: reason.cause,
                    began_ms: reason.began_ms,
                    summary: reason.summary,
                    next_step: reason.next_step,
                    unstable: self.opened_ms.len() > MOST_OPENED,
                };
                notices.push(Notice::Opened(alert.clone()));
                self.open = Some(Open { alert, opened_ms: now_ms, spoke_ms: now_ms, told_ms: now_ms });
            }
            (Some(open), Some(reason)) => open.goes_on(now_ms, reason, notices),
            (Some(open), None) => {
                if open.is_over(now_ms, if open.alert.unstable { HOUR_MS } else { CALM_MS }) {
                    notices.extend(self.open.take().map(|open| Notice::Resolved(open.alert)));
                }
            }
        }
    }
}

impl Open {
    /// Whether it was there for as long as every alert is, and nothing as urgent has spoken for it for so long.
    fn is_over(&self, now_ms: u64, calm_ms: u64) -> bool {
        now_ms.saturating_sub(self.opened_ms) >= LEAST_OPEN_MS && now_ms.saturating_sub(self.spoke_ms) >= calm_ms
    }

    fn goes_on(&mut self, now_ms: u64, reason: Reason, notices: &mut Vec<Notice>) {
        let is_as_urgent = reason.urgency >= self.alert.urgency;
        let is_worse = reason.urgency > self.alert.urgency;
        let is_other = reason.cause.is_some() && reason.cause != self.alert.cause;
        let may_retell = now_ms.saturating_sub(self.told_ms) >= RETOLD_MS || self.alert.cause.is_none();
        let is_milder = !is_as_urgent && self.is_over(now_ms, CALM_MS);
        if is_as_urgent || is_milder {
            self.spoke_ms = now_ms;
        }
        if is_worse || is_milder || (is_other && is_as_urgent && may_retell) {
            self.alert.urgency = reason.urgency;
            (self.alert.cause, self.alert.summary, self.alert.next_step) =
                (reason.cause, reason.summary, reason.next_step);
            self.told_ms = now_ms;
            notices.push(Notice::Changed(self.alert.clone()));
        }
    }
}

fn foreseen(pool: &PoolWhy, within_s: f64) -> bool {
    pool.forecast.exhaustion.as_ref().is_some_and(|of| of.in_s <= within_s)
}

/// Notes since when something is so.
fn since(at: &mut Option<u64>, now_ms: u64, is_so: bool) {
    *at = is_so.then(|| at.unwrap_or(now_ms));
}
