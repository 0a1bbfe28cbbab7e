//! The cancel keys of clients that were told their server connection's own process number (session mode, replication).
//!
//! A number is unique on one server only, so a key is found by number and secret. Shared by all loops; bounded.

use std::collections::BTreeMap;

use poolwarden_pool::LoopId;

use crate::secret::Secret;

/// Keys kept at most; PostgreSQL has far fewer processes. Beyond, a client's cancel requests find nobody.
const MOST: usize = 1 << 16;

/// Who is meant by which key: loop and place there.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_pid: BTreeMap<u32, Vec<(Secret, LoopId, u32)>>,
    count: usize,
}

impl Keys {
    /// A client was told this key. Whether there was room for it.
    pub(crate) fn add(&mut self, pid: u32, secret: Secret, at: (LoopId, u32)) -> bool {
        let room = self.count < MOST;
        if room {
            self.count += 1;
            self.by_pid.entry(pid).or_default().push((secret, at.0, at.1));
        }
        room
    }

    /// That client is gone.
    pub(crate) fn remove(&mut self, pid: u32, secret: &Secret) {
        let Some(same) = self.by_pid.get_mut(&pid) else { return };
        let before = same.len();
        same.retain(|(other, ..)| !other.is(secret));
        self.count -= before - same.len();
        if same.is_empty() {
            self.by_pid.remove(&pid);
        }
    }

    /// Who is meant.
    pub(crate) fn find(&self, pid: u32, secret: &Secret) -> Option<(LoopId, u32)> {
        let mut found = None;
        for (other, home, place) in self.by_pid.get(&pid)? {
            if other.is(secret) {
                found = Some((*home, *place));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret::new([byte; 32], 2, None)
    }

    #[test]
    fn the_same_number_on_two_servers_is_told_apart_by_the_secret() {
        let mut keys = Keys::default();
        assert!(keys.add(7, secret(1), (LoopId(0), 3)));
        assert!(keys.add(7, secret(2), (LoopId(1), 4)));
        assert_eq!(keys.find(7, &secret(2)), Some((LoopId(1), 4)));
        assert_eq!(keys.find(7, &secret(3)), None);
        assert_eq!(keys.find(8, &secret(1)), None);
        keys.remove(7, &secret(2));
        assert_eq!((keys.find(7, &secret(2)), keys.find(7, &secret(1))), (None, Some((LoopId(0), 3))));
    }

    #[test]
    fn keys_are_bounded_and_a_place_is_given_back() {
        let mut keys = Keys::default();
        for pid in 0..u32::try_from(MOST).unwrap() {
            assert!(keys.add(pid, secret(1), (LoopId(0), pid)));
        }
        assert!(!keys.add(u32::MAX, secret(1), (LoopId(0), 0)));
        keys.remove(9, &secret(1));
        assert!(keys.add(u32::MAX, secret(1), (LoopId(0), 0)));
    }
}
