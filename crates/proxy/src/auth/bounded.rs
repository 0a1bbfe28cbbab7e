//! A map that never grows beyond its bound: what is not used makes room, and nothing is ever searched for.
//!
//! Two generations: what is put or used stands in the young one; when that is full it becomes the old one, and what was old
//! is dropped. So the last `half` keys in use are always there, and never more than twice as many.

use std::collections::BTreeMap;

pub(crate) struct Bounded<K, V> {
    young: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
    half: usize,
}

impl<K: Ord + Clone, V> Bounded<K, V> {
    pub(crate) const fn new(half: usize) -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new(), half }
    }

    /// What stands under the key, which is thereby in use.
    pub(crate) fn get(&mut self, key: &K) -> Option<&mut V> {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.put(key, value);
        }
        self.young.get_mut(key)
    }

    pub(crate) fn put(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.young.retain(|key, _| keep(key));
        self.old.retain(|key, _| keep(key));
    }

    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_used() {
        let mut map = Bounded::new(10);
        map.put(0, "kept");
        for number in 1..1000 {
            map.put(number, "passing");
            assert!(map.len() <= 21, "{}", map.len());
            assert_eq!(map.get(&0).copied(), Some("kept"), "after {number}");
            assert!(map.get(&number).is_some());
        }
        assert_eq!(map.get(&500), None);
        assert_eq!(map.remove(&0), Some("kept"));
        assert_eq!(map.get(&0), None);
        map.clear();
        assert_eq!(map.len(), 0);
    }
}
