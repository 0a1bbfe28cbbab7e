//! Who waits, counted by application and address: found by going over the clients once, without a row for each.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::client::{ClientSlot, Stage};
use crate::shared::PoolShare;
use crate::switch::Switch;
use crate::usage::hash;

/// Most groups of one pool on one loop; the largest are told.
const MOST_GROUPS: usize = 64;

/// Requests that wait, of one application at one address in one pool.
#[derive(Clone, Debug)]
pub struct WaiterRow {
    /// In which pool.
    pub pool: Arc<PoolShare>,
    /// What they call themselves.
    pub application: String,
    /// Where they come from; `None` is a unix socket.
    pub remote: Option<IpAddr>,
    /// How many.
    pub count: u32,
    /// Since when the oldest waits, nanoseconds.
    pub since: u64,
}

/// A group while it is counted, with one of its clients.
struct Group<'a> {
    of: &'a ClientSlot,
    count: u32,
    since: u64,
}

impl<L> Switch<L> {
    /// Who waits on this loop: of each pool the largest groups.
    pub(crate) fn waiters(&self) -> Vec<WaiterRow> {
        let mut groups: BTreeMap<(usize, u64, Option<IpAddr>), Group<'_>> = BTreeMap::new();
        let waits = |client: &&ClientSlot| matches!(client.stage, Stage::Waiting { .. });
        for client in self.clients.iter().map(|(_, client)| client).filter(waits) {
            let since = client.requested_at;
            // by the hash that says whose it is: names are compared by the thousands here
            let whose = if client.greeted { client.claim.tenant } else { hash(client.application()) };
            let group = (client.pool.number, whose, client.remote.as_ref().map(SocketAddr::ip));
            let group = groups.entry(group).or_insert(Group { of: client, count: 0, since });
            group.count += 1;
            group.since = group.since.min(since);
        }
        let mut sorted: Vec<Group<'_>> = groups.into_values().collect();
        sorted.sort_by_key(|group| (group.of.pool.number, std::cmp::Reverse(group.count), group.since));
        let pools = sorted.chunk_by(|one, other| one.of.pool.number == other.of.pool.number);
        pools.flat_map(|pool| pool.iter().take(MOST_GROUPS)).map(row).collect()
    }
}

fn row(group: &Group<'_>) -> WaiterRow {
    WaiterRow {
        pool: group.of.pool.clone(),
        application: group.of.application().to_owned(),
        remote: group.of.remote.as_ref().map(SocketAddr::ip),
        count: group.count,
        since: group.since,
    }
}
