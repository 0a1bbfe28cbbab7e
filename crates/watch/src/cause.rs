//! The causes of waiting: a closed list, each judged by a file of its own from one [`Case`].

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
