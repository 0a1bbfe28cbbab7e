//! PostgreSQL's own view of its backends, as the watch connection told it last. Plain values.

use poolwarden_switch::pool::Time;

/// Most backends that are listed one by one; the rest is counted. Two thousand are a picture of a megabyte at most.
pub const MAX_BACKENDS: usize = 2_000;
/// Most bytes of a query that are kept.
pub const MAX_QUERY: usize = 400;

/// PostgreSQL's own view, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// When it answered.
    pub seen_at: Time,
    /// How long the answer took, in microseconds.
    pub took_us: u64,
    /// `max_connections`.
    pub max_connections: u32,
    /// `superuser_reserved_connections` + `reserved_connections`.
    pub reserved: u32,
    /// Roles with a CONNECTION LIMIT.
    pub roles: Vec<Quota>,
    /// Databases with a CONNECTION LIMIT.
    pub databases: Vec<Quota>,
    /// Client backends but for the watch connection's, the longest in a transaction first; at most [`MAX_BACKENDS`].
    pub backends: Vec<Backend>,
    /// Client backends that are not listed.
    pub unlisted: u32,
}

impl Activity {
    /// Slots that an ordinary role could still take.
    #[must_use]
    pub fn free(&self) -> u32 {
        let listed = u32::try_from(self.backends.len()).unwrap_or(u32::MAX);
        let used = listed.saturating_add(self.unlisted).saturating_add(1); // and the watch connection's
        self.max_connections.saturating_sub(self.reserved).saturating_sub(used)
    }

    /// Whether fewer than a tenth of all slots are free.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        self.free().saturating_mul(10) < self.max_connections
    }
}

/// A CONNECTION LIMIT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Of which role or database.
    pub name: String,
    /// The limit.
    pub size: u32,
    /// Backends there are.
    pub used: u32,
}

/// What a backend is doing, as `pg_stat_activity.state` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendState {
    /// Runs a query.
    Active,
    /// Waits for a command.
    #[default]
    Idle,
    /// In a transaction, whole or failed, and waits for a command.
    IdleInTransaction,
    /// Anything else, or not to be seen by the watch user's role.
    Other,
}

/// One client backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// Its process.
    pub pid: u32,
    /// Its role.
    pub role: String,
    /// Its database.
    pub database: String,
    /// What its client calls itself.
    pub application: String,
    /// Its client's address; empty for a unix socket.
    pub addr: String,
    /// Whether it is a server connection of this process.
    pub own: bool,
    /// What it is doing.
    pub state: BackendState,
    /// For how long, in microseconds.
    pub state_us: u64,
    /// Age of its transaction in microseconds; `None`: in none.
    pub transaction_us: Option<u64>,
    /// `wait_event_type` and `wait_event`; empty when it does not wait.
    pub wait: (String, String),
    /// The processes that hold the lock it waits for, or stand before it in the lock's queue; 0 is a prepared transaction.
    pub blocked_by: Vec<u32>,
    /// Its newest query, literals and all, at most [`MAX_QUERY`] bytes.
    pub query: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_scarce_when_fewer_than_a_tenth_are_free() {
        let backends = |count| vec![Backend::default(); count];
        let mut activity =
            Activity { max_connections: 100, reserved: 3, backends: backends(86), ..Activity::default() };
        assert_eq!((activity.free(), activity.is_scarce()), (10, false));
        activity.unlisted = 1;
        assert_eq!((activity.free(), activity.is_scarce()), (9, true));
        activity.unlisted = 500;
        assert_eq!((activity.free(), activity.is_scarce()), (0, true));
    }
}
