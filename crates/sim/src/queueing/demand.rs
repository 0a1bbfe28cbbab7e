//! Who asks for connections, whatever it is made of: a scenario's crowd, or what was recorded.

use poolwarden_switch::pool::{ClassId, PoolKey, Refusal, Time};

use super::backend::Work;

/// Client connections that the pooler takes for alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Their name in messages.
    pub name: String,
    /// Whose connections they want.
    pub key: PoolKey,
    /// Of which class they are.
    pub class: ClassId,
    /// Who shares fairly: the application, as a number.
    pub tenant: u64,
    /// What they call themselves.
    pub application: String,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It asks for a server connection.
    Ask {
        /// Which client; it has no other request under way.
        client: u32,
        /// What it does with it.
        work: Work,
        /// What it tells the pooler: to be granted by then, or refused.
        deadline: Time,
        /// When it goes away if it is waiting still, without having said so.
        leaves: Time,
    },
    /// It vanishes with whatever it waits for or holds, and is there again at once.
    Reconnect {
        /// Which client.
        client: u32,
    },
}

/// What came of a request.
#[derive(Clone, Copy, Debug)]
pub enum Ended<'a> {
    /// It had its connection for as long as it wanted.
    Served,
    /// It was refused; its session lives on.
    Refused(&'a Refusal),
    /// It had gone away.
    Left,
    /// The server connection it held ended.
    Lost,
}

/// Who asks, and is told what came of it.
pub trait Demand {
    /// When [`Demand::advance`] is due.
    fn next_at(&mut self) -> Option<Time>;
    /// Lets everybody come whose time it is.
    fn advance(&mut self, now: Time);
    /// What somebody does next.
    fn poll(&mut self) -> Option<Wish>;
    /// `client` has its connection.
    fn granted(&mut self, _now: Time, _client: u32) {}
    /// What came of the request that `client` has under way.
    fn ended(&mut self, now: Time, client: u32, end: Ended<'_>);
    /// A client that vanished is there again.
    fn back(&mut self, now: Time, client: u32);
    /// Whether nobody will come and nobody is under way.
    fn is_over(&mut self) -> bool;
}
