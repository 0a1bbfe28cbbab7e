//! Fourteen situations in which an application waits or fails, made for real, and what `why` is to say of each.
//!
//! A situation is a PostgreSQL of its own, the built binary before it, and real clients; what goes wrong is chosen here, its
//! sizes and times by a seed. The clients and the web server keep books of their own, PostgreSQL is asked past the pooler, and
//! the answer of `GET /api/v1/why` is held against both. Nothing here knows how the product finds a cause.

pub mod answer;
pub mod books;
pub mod crowd;
pub mod facts;
pub mod judge;
pub mod play;
pub mod raise;
pub mod rush;
pub mod scene;
pub mod stage;
pub mod web;

pub use play::{Pace, Played, play};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// The pool has fewer connections than its clients need.
    PoolTooSmall,
    /// The user may have fewer than the pool.
    UserLimit,
    /// All pools of the server together may have fewer.
    HostBudget,
    /// The role's CONNECTION LIMIT in PostgreSQL.
    RoleLimit,
    /// The database's CONNECTION LIMIT in PostgreSQL.
    DatabaseLimit,
    /// Another application's connections fill PostgreSQL.
    OthersSlots,
    /// An application forgets one transaction after the other.
    Leak,
    /// Transactions stay open while their clients do something else.
    IdleInTransaction,
    /// One holds a lock, the others pile up behind it.
    LockConvoy,
    /// One statement becomes slow, the rest stays quick.
    SlowQuery,
    /// PostgreSQL is shut down, or hangs.
    PostgresStopped,
    /// The web tier answers errors by itself; the pool is idle.
    WebTier,
    /// Two of these at once.
    Mixed,
    /// Traffic with bursts, and enough of everything.
    NothingWrong,
}

impl Situation {
    /// Every situation once.
    pub const ALL: [Situation; 14] = [
        Situation::PoolTooSmall,
        Situation::UserLimit,
        Situation::HostBudget,
        Situation::RoleLimit,
        Situation::DatabaseLimit,
        Situation::OthersSlots,
        Situation::Leak,
        Situation::IdleInTransaction,
        Situation::LockConvoy,
        Situation::SlowQuery,
        Situation::PostgresStopped,
        Situation::WebTier,
        Situation::Mixed,
        Situation::NothingWrong,
    ];

    /// Its name in tables and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Situation::PoolTooSmall => "pool-too-small",
            Situation::UserLimit => "user-limit",
            Situation::HostBudget => "host-budget",
            Situation::RoleLimit => "role-limit",
            Situation::DatabaseLimit => "database-limit",
            Situation::OthersSlots => "others-slots",
            Situation::Leak => "leak",
            Situation::IdleInTransaction => "idle-in-transaction",
            Situation::LockConvoy => "lock-convoy",
            Situation::SlowQuery => "slow-query",
            Situation::PostgresStopped => "postgres-stopped",
            Situation::WebTier => "web-tier",
            Situation::Mixed => "mixed",
            Situation::NothingWrong => "nothing-wrong",
        }
    }
}
