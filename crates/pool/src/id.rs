//! Names of things that others own: small, copyable, and generational where their slot is reused.

/// One PostgreSQL server in front of which this process pools. Never another one's while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HostId(pub u16);

impl HostId {
    /// Ids are below this. A server that is gone keeps its own, so it bounds all that were ever there; a place costs a few bytes,
    /// and nobody pools in front of so many at once.
    pub const MOST: usize = 4096;
}

/// One pool, a (database, user) pair, of one host. Never reused while the host lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PoolId(pub u32);

/// A class of clients; an index into the classes of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClassId(pub u8);

/// An event loop. Opaque to the core, which only prefers equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LoopId(pub u16);

/// One server connection, from the decision to open it until it is really gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Place in the host's table.
    pub index: u32,
    /// How many connections stood in that place before.
    pub generation: u32,
}

/// One waiting request: from checkout to grant, refusal or cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// Place in the host's table.
    pub index: u32,
    /// How many tickets stood in that place before.
    pub generation: u32,
}
