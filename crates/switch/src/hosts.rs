//! The hosts' cores, each behind one short lock, in a table that grows while it is read.
//!
//! A host is never taken out: one that is gone has settings without databases, and what still comes for it finds it. Finding one
//! takes no lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use poolwarden_pool::{Event, Host, HostId, HostSettings, PoolId, Time};

use crate::shared::{PoolShare, Tapped};

/// One host's core, and what is kept beside it.
pub(crate) struct Cell {
    pub(crate) host: Host,
    pub(crate) events: VecDeque<Event>,
    pub(crate) dropped: u64,
    pub(crate) pools: BTreeMap<PoolId, Arc<PoolShare>>,
    pub(crate) last: Time,
    pub(crate) wake_at: Time,
    pub(crate) tap: Option<Vec<Tapped>>,
}

/// All hosts by their ids.
pub(crate) struct Hosts {
    places: Box<[OnceLock<Box<Mutex<Cell>>>]>,
    /// Places from here on are empty.
    end: AtomicUsize,
    seed: u64,
}

impl Hosts {
    /// Hosts of these settings, numbered from 0.
    pub(crate) fn new(settings: Vec<HostSettings>, seed: u64) -> Self {
        let places = (0..HostId::MOST).map(|_| OnceLock::new()).collect();
        let hosts = Self { places, end: AtomicUsize::new(0), seed };
        for (number, settings) in (0..).zip(settings) {
            hosts.add(HostId(number), settings);
        }
        hosts
    }

    /// Makes a host, unless there is one of this id; whether it made one.
    pub(crate) fn add(&self, host: HostId, settings: HostSettings) -> bool {
        let number = usize::from(host.0);
        let Some(place) = self.places.get(number) else { return false };
        let cell = Cell {
            host: Host::new(settings, self.seed.wrapping_add(u64::from(host.0))),
            events: VecDeque::new(),
            dropped: 0,
            pools: BTreeMap::new(),
            last: Time::ZERO,
            wake_at: Time::NEVER,
            tap: None,
        };
        let added = place.set(Box::new(Mutex::new(cell))).is_ok();
        self.end.fetch_max(number + 1, Ordering::Release);
        added
    }

    #[inline]
    pub(crate) fn find(&self, host: HostId) -> Option<&Mutex<Cell>> {
        self.places.get(usize::from(host.0))?.get().map(|cell| &**cell)
    }

    /// Every host there is or was, in the order of the ids.
    pub(crate) fn all(&self) -> impl Iterator<Item = (HostId, &Mutex<Cell>)> {
        let end = self.end.load(Ordering::Acquire);
        let placed = (0..=u16::MAX).map(HostId).zip(&self.places[..end]);
        placed.filter_map(|(host, place)| Some((host, &**place.get()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_added_once_and_found_by_its_id_whatever_the_order() {
        let hosts = Hosts::new(vec![HostSettings::default()], 7);
        let of = |most| HostSettings { max_connections: Some(most), ..HostSettings::default() };
        assert!(hosts.add(HostId(3), of(3)) && hosts.add(HostId(1), of(1)));
        assert!(!hosts.add(HostId(1), of(9)), "it is there");
        assert!(!hosts.add(HostId(u16::MAX), of(9)), "there are not so many places");
        let ids: Vec<u16> = hosts.all().map(|(host, _)| host.0).collect();
        assert_eq!(ids, [0, 1, 3]);
        let most =
            |host| hosts.find(HostId(host)).map(|cell| cell.lock().expect("alone").host.settings().max_connections);
        assert_eq!((most(1), most(3), most(2)), (Some(Some(1)), Some(Some(3)), None));
    }
}
