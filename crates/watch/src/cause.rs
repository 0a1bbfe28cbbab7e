//! The causes of waiting: a closed list, each judged by a file of its own from one `Case`.
//!
//! Shares come from `share`; a file says what speaks for and against its cause, in numbers a person can check, and what to do.

use crate::case::Case;
use crate::share::SUPPORTED;
use crate::why::{Cause, Evidence, Verdict};

mod class_share;
mod client_limit;
mod configuration_change;
mod connect_limited;
mod database_limit;
mod demand_growth;
mod host_budget;
mod idle_in_transaction;
mod leak;
mod limit;
mod lock_convoy;
mod nested_checkout;
mod network;
mod pg_database_limit;
mod pg_down;
mod pg_role_limit;
mod pg_saturated;
mod pg_slots;
mod pool_too_small;
mod poolwarden_busy;
mod retry_storm;
mod scale_out;
mod slow_query;
mod upstream;
mod user_limit;

/// A cause of the product's closed list, in the order of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CauseCode {
    /// The pool's size is too small for the traffic.
    PoolTooSmall,
    /// The user's limit over all its pools.
    UserLimit,
    /// The database's limit over all its users.
    DatabaseLimit,
    /// The share or reserve of another class.
    ClassShare,
    /// The budget of all pools of the server.
    HostBudget,
    /// Connections cannot be opened as fast as they are wanted.
    ConnectLimited,
    /// CONNECTION LIMIT of the role in PostgreSQL.
    PgRoleLimit,
    /// CONNECTION LIMIT of the database in PostgreSQL.
    PgDatabaseLimit,
    /// PostgreSQL's `max_connections` is used up, by others or by us.
    PgSlots,
    /// PostgreSQL is down, starting, or does not answer.
    PgDown,
    /// The network between here and PostgreSQL.
    Network,
    /// Connections wait for locks that others hold.
    LockConvoy,
    /// Transactions are open while their clients do something else.
    IdleInTransaction,
    /// Connections are held and forgotten.
    Leak,
    /// Clients that hold a connection wait for a second one.
    NestedCheckout,
    /// One statement takes much longer than it did, or than all others.
    SlowQuery,
    /// Everything takes longer: PostgreSQL has more to do than it can.
    PgSaturated,
    /// More requests come than usually.
    DemandGrowth,
    /// Refused requests come again at once.
    RetryStorm,
    /// More clients than usually, with no more work.
    ScaleOut,
    /// What stands before poolwarden: the web tier, the application's own pool.
    Upstream,
    /// poolwarden's limits on clients: connections, descriptors, memory.
    ClientLimit,
    /// poolwarden itself has no time.
    PoolwardenBusy,
    /// The configuration was changed, and the limit that binds with it.
    ConfigurationChange,
}

impl CauseCode {
    /// Every cause once, in the documented order.
    pub const ALL: [Self; 24] = [
        Self::PoolTooSmall,
        Self::UserLimit,
        Self::DatabaseLimit,
        Self::ClassShare,
        Self::HostBudget,
        Self::ConnectLimited,
        Self::PgRoleLimit,
        Self::PgDatabaseLimit,
        Self::PgSlots,
        Self::PgDown,
        Self::Network,
        Self::LockConvoy,
        Self::IdleInTransaction,
        Self::Leak,
        Self::NestedCheckout,
        Self::SlowQuery,
        Self::PgSaturated,
        Self::DemandGrowth,
        Self::RetryStorm,
        Self::ScaleOut,
        Self::Upstream,
        Self::ClientLimit,
        Self::PoolwardenBusy,
        Self::ConfigurationChange,
    ];

    /// The cause's name in `why`, metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PoolTooSmall => "pool_too_small",
            Self::UserLimit => "user_limit",
            Self::DatabaseLimit => "database_limit",
            Self::ClassShare => "class_share",
            Self::HostBudget => "host_budget",
            Self::ConnectLimited => "connect_limited",
            Self::PgRoleLimit => "pg_role_limit",
            Self::PgDatabaseLimit => "pg_database_limit",
            Self::PgSlots => "pg_slots",
            Self::PgDown => "pg_down",
            Self::Network => "network",
            Self::LockConvoy => "lock_convoy",
            Self::IdleInTransaction => "idle_in_transaction",
            Self::Leak => "leak",
            Self::NestedCheckout => "nested_checkout",
            Self::SlowQuery => "slow_query",
            Self::PgSaturated => "pg_saturated",
            Self::DemandGrowth => "demand_growth",
            Self::RetryStorm => "retry_storm",
            Self::ScaleOut => "scale_out",
            Self::Upstream => "upstream",
            Self::ClientLimit => "client_limit",
            Self::PoolwardenBusy => "poolwarden_busy",
            Self::ConfigurationChange => "configuration_change",
        }
    }

    /// Place in [`CauseCode::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What a cause's file says.
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) next_step: String,
}

impl Judged {
    /// Supported, with what to do, if the share is large enough; else ruled out by the same numbers.
    pub(crate) fn by(share: f64, evidence: Vec<Evidence>, next_step: impl FnOnce() -> String) -> Self {
        if share >= SUPPORTED {
            return Self { verdict: Verdict::Supported, evidence, next_step: next_step() };
        }
        Self { verdict: Verdict::RuledOut, evidence, next_step: String::new() }
    }

    pub(crate) fn ruled_out(evidence: Evidence) -> Self {
        Self { verdict: Verdict::RuledOut, evidence: vec![evidence], next_step: String::new() }
    }

    /// What is missing.
    pub(crate) fn not_testable(missing: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotTestable, evidence: vec![Evidence::said(missing)], next_step: String::new() }
    }
}

/// Every cause, judged: those supported first by share, then those not testable, then those ruled out.
pub(crate) fn judge(case: &Case<'_>) -> Vec<Cause> {
    let shares = crate::share::shares(case);
    let mut causes: Vec<Cause> = CauseCode::ALL
        .into_iter()
        .map(|code| {
            let judged = one(case, code, shares[code.index()]);
            let share = if judged.verdict == Verdict::Supported { shares[code.index()] } else { 0.0 };
            Cause { code, verdict: judged.verdict, share, evidence: judged.evidence, next_step: judged.next_step }
        })
        .collect();
    causes.sort_by(|a, b| a.verdict.cmp(&b.verdict).then(b.share.total_cmp(&a.share)).then(a.code.cmp(&b.code)));
    causes
}

fn one(case: &Case<'_>, code: CauseCode, share: f64) -> Judged {
    match code {
        CauseCode::PoolTooSmall => pool_too_small::judge(case, share),
        CauseCode::UserLimit => user_limit::judge(case, share),
        CauseCode::DatabaseLimit => database_limit::judge(case, share),
        CauseCode::ClassShare => class_share::judge(case, share),
        CauseCode::HostBudget => host_budget::judge(case, share),
        CauseCode::ConnectLimited => connect_limited::judge(case, share),
        CauseCode::PgRoleLimit => pg_role_limit::judge(case, share),
        CauseCode::PgDatabaseLimit => pg_database_limit::judge(case, share),
        CauseCode::PgSlots => pg_slots::judge(case, share),
        CauseCode::PgDown => pg_down::judge(case, share),
        CauseCode::Network => network::judge(case, share),
        CauseCode::LockConvoy => lock_convoy::judge(case, share),
        CauseCode::IdleInTransaction => idle_in_transaction::judge(case, share),
        CauseCode::Leak => leak::judge(case, share),
        CauseCode::NestedCheckout => nested_checkout::judge(case, share),
        CauseCode::SlowQuery => slow_query::judge(case, share),
        CauseCode::PgSaturated => pg_saturated::judge(case, share),
        CauseCode::DemandGrowth => demand_growth::judge(case, share),
        CauseCode::RetryStorm => retry_storm::judge(case, share),
        CauseCode::ScaleOut => scale_out::judge(case),
        CauseCode::Upstream => upstream::judge(case),
        CauseCode::ClientLimit => client_limit::judge(case, share),
        CauseCode::PoolwardenBusy => poolwarden_busy::judge(case),
        CauseCode::ConfigurationChange => configuration_change::judge(case),
    }
}
