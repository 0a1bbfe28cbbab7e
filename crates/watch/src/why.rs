//! The answer to "why?": which limit binds, what raising each would gain, who holds, which causes are supported and which are
//! ruled out, and what to do next. Plain values; made by [`crate::Watch::why`], drawn by whoever shows them.

use poolwarden_pool::Limit;

use crate::cause::CauseCode;
use crate::forecast::Forecast;
use crate::{ChangeView, LeaseView};

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Why {
    /// When it was true, in milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// Pools, those in the worst state first, then by name.
    pub pools: Vec<PoolWhy>,
    /// What stands around the pools, and whether it is at fault.
    pub layers: Vec<Layer>,
    /// What could not be seen, each with what would make it visible.
    pub not_seen: Vec<String>,
}

/// How a pool does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolState {
    /// All is served.
    #[default]
    Calm,
    /// Nobody waits for long, and there is little room left: more traffic or longer holds would make requests wait.
    Tight,
    /// Requests wait or are refused.
    Saturated,
    /// An operator paused it.
    Paused,
    /// PostgreSQL cannot be reached or refuses logins.
    Down,
}

impl PoolState {
    /// The state's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Tight => "tight",
            Self::Saturated => "saturated",
            Self::Paused => "paused",
            Self::Down => "down",
        }
    }
}

/// One pool's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PoolWhy {
    /// Database name that clients ask for.
    pub pool: String,
    /// Its user.
    pub user: String,
    /// Its server's name.
    pub server: String,
    /// How it does.
    pub state: PoolState,
    /// For how long somebody has waited without a break, in milliseconds; `None`: nobody waits.
    pub waiting_for_ms: Option<u64>,
    /// Server connections lent.
    pub lent: u32,
    /// Server connections there are, in whatever state.
    pub open: u32,
    /// Requests waiting.
    pub waiting: u32,
    /// How long the oldest has waited, in milliseconds.
    pub oldest_wait_ms: u64,
    /// Its traffic over the window that the answer is about.
    pub rates: Rates,
    /// Connections wanted (lent and waited for, in the mean, rounded up) in each of the last 120 seconds, oldest first.
    pub demand: Vec<u32>,
    /// The limit that binds, or would next if more were wanted; `None`: nothing is known of the pool yet.
    pub binding: Option<Binding>,
    /// Whether it does: requests wait or are refused for it.
    pub binds: bool,
    /// What raising each limit alone would gain, the binding one first.
    pub gains: Vec<Gain>,
    /// Every cause, those supported first by share, then those that are not testable, then those ruled out.
    pub causes: Vec<Cause>,
    /// No cause explains as much as 60 % of the wait.
    pub mixed: bool,
    /// Who holds its connections, longest first; at most [`MAX_HOLDERS`].
    pub holders: Vec<Holder>,
    /// Changes of the configuration within the last ten minutes that touch it, newest first.
    pub changes: Vec<ChangeView>,
    /// What is to be expected of it.
    pub forecast: Forecast,
    /// What to do next, in one sentence.
    pub next_step: String,
}

/// Most holders that an answer lists per pool.
pub const MAX_HOLDERS: usize = 20;

/// Traffic over a window: per second, and means in microseconds. What did not happen is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Seconds the window is long; 0: nothing was seen yet.
    pub window_s: f64,
    /// Requests that came: granted, refused and given up.
    pub arrivals: f64,
    /// Requests granted.
    pub granted: f64,
    /// Requests refused.
    pub refused: f64,
    /// Requests whose client gave up.
    pub abandoned: f64,
    /// Leases that ended.
    pub completed: f64,
    /// Mean number of connections lent.
    pub lent: f64,
    /// Mean number of requests waiting.
    pub waiting: f64,
    /// Mean wait of requests that came, by Little's law (waiting / arrivals).
    pub wait_us: Option<f64>,
    /// Mean hold by Little's law (lent / completed), which does not forget leases that never end.
    pub hold_us: Option<f64>,
    /// Arrivals per second as they were before, while all was calm; `None`: not seen for long enough.
    pub usual_arrivals: Option<f64>,
    /// Hold as it was before, likewise.
    pub usual_hold_us: Option<f64>,
}

/// The limit that binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Which.
    pub limit: Limit,
    /// Where it is set, in words or as a path.
    pub setting: String,
    /// Its size; `None` is unlimited or not a number.
    pub size: Option<u32>,
    /// How much of it is used, by everybody it counts.
    pub used: u32,
}

/// What raising one limit alone would gain.
#[derive(Clone, Debug, PartialEq)]
pub struct Gain {
    /// Which limit.
    pub limit: Limit,
    /// Where it is set.
    pub setting: String,
    /// How much of it is used.
    pub used: u32,
    /// Its size.
    pub size: Option<u32>,
    /// Server connections more until the next limit binds (0: another one binds already); `None`: nothing else binds.
    pub connections: Option<u32>,
    /// The size from which on requests hardly wait, if the next limit allows it (else the size at which that one binds).
    pub enough: Option<u32>,
    /// Requests per second more that would be served with `enough`, at today's holds.
    pub per_second: f64,
    /// Mean wait of requests with `enough`, in microseconds; `None` where no traffic was seen.
    pub wait_us: Option<f64>,
    /// The limit that binds then.
    pub next: Option<Limit>,
}

/// Whether a cause is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The numbers say so.
    Supported,
    /// What it needs is not seen.
    NotTestable,
    /// The numbers say it is not.
    RuledOut,
}

impl Verdict {
    /// The verdict's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Supported => "supported",
            Self::NotTestable => "not_testable",
            Self::RuledOut => "ruled_out",
        }
    }
}

/// One cause, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    /// Which.
    pub code: CauseCode,
    /// Whether it is at work.
    pub verdict: Verdict,
    /// Share of the wait it explains, 0 to 1; 0 unless supported.
    pub share: f64,
    /// The numbers it was judged by; of one that is not testable, what is missing.
    pub evidence: Vec<Evidence>,
    /// What to do about it, in one sentence; empty unless supported.
    pub next_step: String,
}

/// A sentence, and the numbers in it by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// For people.
    pub text: String,
    /// For programs.
    pub numbers: Vec<(&'static str, f64)>,
}

impl Evidence {
    /// A sentence without numbers that a program would want.
    #[must_use]
    pub fn said(text: impl Into<String>) -> Self {
        Self { text: text.into(), numbers: Vec::new() }
    }

    /// A sentence with its numbers.
    #[must_use]
    pub fn new<const N: usize>(text: impl Into<String>, numbers: [(&'static str, f64); N]) -> Self {
        Self { text: text.into(), numbers: numbers.into() }
    }
}

/// What stands around the pools.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// `web tier`, `network`, `postgresql NAME`, `poolwarden`.
    pub name: String,
    /// [`Verdict::RuledOut`]: it is not at fault.
    pub verdict: Verdict,
    /// By what.
    pub evidence: Evidence,
}

/// One lent connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Serial of the server connection: what `cancel` and `terminate` take.
    pub conn: u64,
    /// Database name that clients ask for.
    pub pool: String,
    /// The pool's user.
    pub user: String,
    /// Its server's name.
    pub server: String,
    /// PostgreSQL's process, where it told.
    pub pid: Option<u32>,
    /// Whether no request has run on it for long: held and forgotten.
    pub stuck: bool,
    /// The processes that hold the lock it waits for, as PostgreSQL said last.
    pub blocked_by: Vec<u32>,
    /// To whom it is lent, and what goes on.
    pub lease: LeaseView,
}
