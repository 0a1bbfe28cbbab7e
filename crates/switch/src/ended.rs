//! Requests that ended, as whoever records traffic takes them, and the names behind their numbers.
//!
//! Taking them is one swap under a host's short lock, by somebody beside the loops; nothing on the data path waits for it.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use poolwarden_pool::{CheckoutRecord, HostId, PoolId, PoolKey};

use crate::shared::{Shared, held};

/// Applications whose names are known: far more than a pool tells apart, and bounded, because clients choose them.
const MOST_TENANTS: usize = 4096;
/// Bytes of a name that are kept: PostgreSQL keeps 63.
const MOST_BYTES: usize = 128;

/// What became of a host's requests since the last look.
#[derive(Debug, Default)]
pub struct Ended {
    /// They, in the order in which they ended.
    pub records: Vec<CheckoutRecord>,
    /// How many more there were, for which there was no place.
    pub lost: u64,
    /// Pools that were made since the last look and are still there.
    pub pools: Vec<(PoolId, PoolKey)>,
    /// Pools below this id were told.
    pub pools_known: u32,
}

impl<L> Shared<L> {
    /// Takes what became of a host's requests since the last look, and has at most `most` of them kept until the next one; with
    /// none nothing is kept any more. What was kept is swapped for `into.records`, which should have room for as many.
    pub fn ended(&self, host: HostId, most: usize, into: &mut Ended) {
        into.pools.clear();
        let Some(cell) = self.hosts.find(host) else {
            into.records.clear();
            return;
        };
        let mut cell = held(cell);
        cell.host.keep_records(most);
        into.lost = cell.host.take_records(&mut into.records);
        let made = cell.host.pools_made();
        let ids = (into.pools_known..made).map(PoolId);
        into.pools.extend(ids.filter_map(|id| Some((id, cell.host.pool_key(id)?.clone()))));
        into.pools_known = made;
    }

    /// Names of applications by the number that requests carry ([`CheckoutRecord::tenant`]), from the `known`th on, as they came.
    pub fn tenants(&self, known: usize) -> Vec<(u64, Box<str>)> {
        self.tenants.since(known)
    }
}

/// Who shares fairly, by name.
#[derive(Debug, Default)]
pub(crate) struct Tenants(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    numbers: BTreeSet<u64>,
    names: Vec<(u64, Box<str>)>,
}

impl Tenants {
    /// Somebody of this number calls itself so. To be called where a client's settings change, not for each request.
    pub(crate) fn note(&self, tenant: u64, name: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { numbers, names } = &mut *known;
        if names.len() < MOST_TENANTS && numbers.insert(tenant) {
            let end = (0..=MOST_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
            names.push((tenant, name[..end].into()));
        }
    }

    fn since(&self, known: usize) -> Vec<(u64, Box<str>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.names.get(known..).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_once_and_are_bounded_in_number_and_length() {
        let tenants = Tenants::default();
        tenants.note(7, "web");
        tenants.note(7, "web");
        tenants.note(8, &"é".repeat(100));
        assert_eq!(tenants.since(0), [(7, "web".into()), (8, "é".repeat(64).into())]);
        assert_eq!(tenants.since(2), []);
        for number in 0..10_000 {
            tenants.note(number, "made up");
        }
        assert_eq!((tenants.since(2).len(), tenants.since(99_999).len()), (MOST_TENANTS - 2, 0));
    }
}
