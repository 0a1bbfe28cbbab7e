//! Failed logins per source and user: who fails too often is refused at once, without work, and nobody else notices.
//!
//! A success changes nothing here and is never slowed. The table is bounded: flooding it only forgets.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use poolwarden_switch::pool::Time;

use super::bounded::Bounded;
use crate::inner::held;

/// Where a client comes from, as far as telling apart makes sense: an IPv6 host has a whole /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    V4([u8; 4]),
    V6([u8; 8]),
    /// A user of this machine, over the unix socket; `None` where the kernel does not say.
    Local(Option<u32>),
}

impl Source {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let mut network = [0; 8];
                network.copy_from_slice(&address.octets()[..8]);
                Self::V6(network)
            }
        }
    }
}

/// Sources and users remembered, in each of two generations; some 40 bytes each.
const REMEMBERED: usize = 8192;
const MINUTE: Duration = Duration::from_secs(60);

/// Who failed, and until when its failures are paid off: each costs a minute divided by how many are allowed in one.
pub(crate) struct Failures {
    paid: Mutex<Bounded<(Source, u64), Time>>,
    /// Users are kept as keyed hashes: names may be long, and collisions must not be made on purpose.
    hasher: RandomState,
}

impl Default for Failures {
    fn default() -> Self {
        Self { paid: Mutex::new(Bounded::new(REMEMBERED)), hasher: RandomState::new() }
    }
}

impl Failures {
    /// Whether this one has failed so often that it is refused unheard. `most` failures a minute are heard; 0: any number.
    pub(crate) fn exhausted(&self, now: Time, source: Source, user: &str, most: u32) -> bool {
        let Some(price) = MINUTE.checked_div(most) else { return false };
        let key = (source, self.hasher.hash_one(user));
        held(&self.paid).get(&key).is_some_and(|paid| *paid + price > now + MINUTE)
    }

    /// It failed.
    pub(crate) fn note(&self, now: Time, source: Source, user: &str, most: u32) {
        let Some(price) = MINUTE.checked_div(most) else { return };
        let key = (source, self.hasher.hash_one(user));
        let mut paid = held(&self.paid);
        let until = paid.get(&key).map_or(now, |paid| (*paid).max(now));
        paid.put(key, until + price);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Source = Source::V4([10, 0, 0, 1]);

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn so_many_a_minute_are_heard_and_then_one_as_each_is_paid_off() {
        let failures = Failures::default();
        for count in 0..6 {
            assert!(!failures.exhausted(at(100), HERE, "app", 6), "{count}");
            failures.note(at(100), HERE, "app", 6);
        }
        assert!(failures.exhausted(at(100), HERE, "app", 6));
        assert!(failures.exhausted(at(109), HERE, "app", 6));
        assert!(!failures.exhausted(at(110), HERE, "app", 6), "a sixth of a minute pays for one");
        failures.note(at(110), HERE, "app", 6);
        assert!(failures.exhausted(at(110), HERE, "app", 6));
        assert!(!failures.exhausted(at(170), HERE, "app", 6));
    }

    #[test]
    fn other_users_and_other_sources_are_not_touched() {
        let failures = Failures::default();
        (0..100).for_each(|_| failures.note(at(1), HERE, "app", 6));
        assert!(failures.exhausted(at(1), HERE, "app", 6));
        assert!(!failures.exhausted(at(1), HERE, "other", 6));
        assert!(!failures.exhausted(at(1), Source::V4([10, 0, 0, 2]), "app", 6));
        assert!(!failures.exhausted(at(1), Source::Local(Some(0)), "app", 6));
        assert!(!failures.exhausted(at(1), HERE, "app", 0), "no limit");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_mapped_ipv4_is_ipv4() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), HERE);
    }
}
