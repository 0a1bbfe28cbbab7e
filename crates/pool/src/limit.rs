//! The closed list of limits: everything that can stop another server connection from being lent or opened.

/// A limit of the product's closed list. The order is that of the documentation, and of `ALL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// The pool's own `size`.
    PoolSize,
    /// The pool's `reserve`, not yet allowed.
    Reserve,
    /// The share or the reserve of another class.
    ClassShare,
    /// `users.NAME.max_connections`.
    User,
    /// `pools.NAME.max_connections`: all users of one database together.
    Database,
    /// `servers.NAME.max_connections`: all pools of one server together.
    HostBudget,
    /// Connects are being paced: as many as allowed are in flight.
    Connects,
    /// The server cannot be reached or refuses logins; connects are backing off.
    Breaker,
    /// `limits.max_clients`.
    MaxClients,
    /// The role's CONNECTION LIMIT in PostgreSQL.
    PgRole,
    /// The database's CONNECTION LIMIT in PostgreSQL.
    PgDatabase,
    /// PostgreSQL's `max_connections` less its reserved slots.
    PgSlots,
    /// File descriptors of this process.
    Fds,
    /// The memory budget of this process.
    Memory,
    /// The bound on the length of a wait queue.
    QueueLength,
    /// The bound on the time a request may wait.
    WaitTime,
}

impl Limit {
    /// Every limit once, in the documented order.
    pub const ALL: [Self; 16] = [
        Self::PoolSize,
        Self::Reserve,
        Self::ClassShare,
        Self::User,
        Self::Database,
        Self::HostBudget,
        Self::Connects,
        Self::Breaker,
        Self::MaxClients,
        Self::PgRole,
        Self::PgDatabase,
        Self::PgSlots,
        Self::Fds,
        Self::Memory,
        Self::QueueLength,
        Self::WaitTime,
    ];

    /// The limit's name in SHOW WAITS, metrics, JSON and error DETAIL alike.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PoolSize => "pool_size",
            Self::Reserve => "reserve",
            Self::ClassShare => "class_share",
            Self::User => "user",
            Self::Database => "database",
            Self::HostBudget => "host_budget",
            Self::Connects => "connects",
            Self::Breaker => "breaker",
            Self::MaxClients => "max_clients",
            Self::PgRole => "pg_role",
            Self::PgDatabase => "pg_database",
            Self::PgSlots => "pg_slots",
            Self::Fds => "fds",
            Self::Memory => "memory",
            Self::QueueLength => "queue_length",
            Self::WaitTime => "wait_time",
        }
    }

    /// Place in [`Limit::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}
