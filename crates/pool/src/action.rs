//! What comes out of the core: what must be done, and what became true.

use std::time::Duration;

use crate::{ClassId, ConnId, Limit, LoopId, PoolId, PoolKey, Refusal, Ticket};

/// Something the rim must do. Every action is answered by an input, sooner or later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect and log in; answered by `Opened`.
    Open {
        /// Under which name.
        conn: ConnId,
        /// For which pool.
        pool: PoolId,
        /// The loop of whoever waits for it first, a good home.
        near: LoopId,
    },
    /// Say goodbye: cancel if a query is running, Terminate, then keep the descriptor until its end; answered by `Closed`.
    Close {
        /// Which one.
        conn: ConnId,
        /// The loop it lives on.
        home: LoopId,
        /// Why.
        reason: CloseReason,
    },
    /// The connection is not counted any more although its end was never seen: let go of its descriptor. Not answered.
    Forget {
        /// Which one.
        conn: ConnId,
        /// The loop it lives on.
        home: LoopId,
    },
    /// Run the pool's reset query; answered by `ResetDone`, or by `Checkin` as broken.
    Reset {
        /// Which one.
        conn: ConnId,
        /// The loop it lives on.
        home: LoopId,
    },
    /// The connection is lent to this ticket. Answered by `Checkin`, in the end.
    Grant {
        /// To whom.
        ticket: Ticket,
        /// Which one.
        conn: ConnId,
        /// The loop the connection lives on.
        from: LoopId,
        /// The loop the client lives on; the connection moves there if it is another.
        to: LoopId,
        /// How long the request waited.
        waited: Duration,
    },
    /// The ticket will not be served. Not answered.
    Refuse {
        /// Whose.
        ticket: Ticket,
        /// The loop the client lives on.
        to: LoopId,
        /// Why.
        refusal: Box<Refusal>,
    },
}

/// Why the core wants a connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseReason {
    /// It came back unfit.
    Broken,
    /// Idle for too long.
    Idle,
    /// Old enough.
    Lifetime,
    /// Its place was needed by another pool under a shared limit.
    Evicted,
    /// The pool or a limit was made smaller.
    Shrunk,
    /// An operator said RECONNECT, or settings of the server changed.
    Reconnect,
    /// An operator said KILL.
    Killed,
    /// The process is stopping.
    Draining,
    /// The pool is gone from the configuration, or was retired.
    Retired,
}

impl CloseReason {
    /// The reason's name in metrics and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Evicted => "evicted",
            Self::Shrunk => "shrunk",
            Self::Reconnect => "reconnect",
            Self::Killed => "killed",
            Self::Draining => "draining",
            Self::Retired => "retired",
        }
    }
}

/// Something that became true: one per change of state, never one per request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A pool was made.
    PoolMade(PoolId, PoolKey),
    /// A pool of `*` was retired.
    PoolRetired(PoolId),
    /// The first client waits; this limit binds.
    Waiting {
        /// Where.
        pool: PoolId,
        /// What stops it.
        limit: Limit,
        /// Its size.
        size: u32,
        /// How much of it is used.
        used: u32,
    },
    /// The limit that binds changed while clients wait.
    Binding {
        /// Where.
        pool: PoolId,
        /// What stops them now.
        limit: Limit,
        /// Its size.
        size: u32,
        /// How much of it is used.
        used: u32,
    },
    /// Nobody waits any more, after this long; so many were granted and refused meanwhile.
    Cleared {
        /// Where.
        pool: PoolId,
        /// For how long somebody had waited.
        lasted: Duration,
        /// Requests granted after waiting.
        granted: u64,
        /// Requests refused.
        refused: u64,
    },
    /// A connect ended well.
    Connected(PoolId, ConnId),
    /// A connect failed.
    ConnectFailed(PoolId, Box<crate::ConnectFailure>),
    /// The server is down: connects back off.
    ServerDown,
    /// The server is up again.
    ServerUp,
    /// A connection is really gone, and why it was closed (`None`: it ended by itself).
    Gone(PoolId, ConnId, Option<CloseReason>),
    /// An ending connection gave no sign for `ending_timeout`: a ghost, still counted.
    Ghost(PoolId, ConnId),
    /// New settings are in force.
    Applied,
    /// A class has more to do in a pool than it is lent connections for: the newest of it are served first now, and who waits too
    /// long is refused.
    Overloaded {
        /// Where.
        pool: PoolId,
        /// Which class.
        class: ClassId,
    },
    /// It is overloaded no more.
    Relaxed {
        /// Where.
        pool: PoolId,
        /// Which class.
        class: ClassId,
        /// For how long it was.
        lasted: Duration,
        /// Requests refused for it.
        shed: u64,
    },
    /// The pool was paused or resumed.
    Paused(PoolId, bool),
}
