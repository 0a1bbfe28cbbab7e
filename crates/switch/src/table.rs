//! A table of things with small, reused numbers.

use poolwarden_pool::HostId;

/// Places numbered from 0; the lowest free one is used first.
#[derive(Debug)]
pub(crate) struct Table<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(value);
            return place;
        }
        self.places.push(Some(value));
        u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX) // fewer than 2^32 connections fit into any process
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(value)
    }

    pub(crate) fn at(&self, place: u32) -> Option<&T> {
        self.places.get(place as usize)?.as_ref()
    }

    pub(crate) fn at_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places.iter().enumerate().filter_map(|(place, value)| {
            Some((u32::try_from(place).unwrap_or(u32::MAX), value.as_ref()?)) // see `insert`
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

/// Where the things that others know by a generational id stand in a [`Table`].
///
/// The core uses an index again as soon as it is done with it, while its last word about the old generation may still be in a
/// mailbox: such an older entry steps aside and stays until it is cleared.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    places: Vec<Option<(u32, u32)>>,
    /// Index, generation and place of older entries; a handful at most.
    aside: Vec<(u32, u32, u32)>,
}

impl Directory {
    pub(crate) fn set(&mut self, index: u32, generation: u32, place: u32) {
        let at = index as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, None);
        }
        if let Some((older, older_place)) = self.places[at].replace((generation, place)) {
            self.aside.push((index, older, older_place));
        }
    }

    pub(crate) fn find(&self, index: u32, generation: u32) -> Option<u32> {
        match self.places.get(index as usize)? {
            Some((found, place)) if *found == generation => Some(*place),
            Some(_) | None => {
                self.aside.iter().find(|older| (older.0, older.1) == (index, generation)).map(|older| older.2)
            }
        }
    }

    pub(crate) fn clear(&mut self, index: u32, generation: u32) {
        match self.places.get_mut(index as usize) {
            Some(entry) if entry.is_some_and(|(found, _)| found == generation) => *entry = None,
            Some(_) | None => self.aside.retain(|older| (older.0, older.1) != (index, generation)),
        }
    }
}

/// A [`Directory`] for each host; a host's is made when the first of its things comes here.
#[derive(Debug, Default)]
pub(crate) struct Directories(Vec<Directory>);

impl Directories {
    pub(crate) fn set(&mut self, host: HostId, index: u32, generation: u32, place: u32) {
        let at = usize::from(host.0);
        if self.0.len() <= at {
            self.0.resize_with(at + 1, Directory::default);
        }
        self.0[at].set(index, generation, place);
    }

    pub(crate) fn find(&self, host: HostId, index: u32, generation: u32) -> Option<u32> {
        self.0.get(usize::from(host.0))?.find(index, generation)
    }

    pub(crate) fn clear(&mut self, host: HostId, index: u32, generation: u32) {
        if let Some(directory) = self.0.get_mut(usize::from(host.0)) {
            directory.clear(index, generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Directories, Directory};
    use poolwarden_pool::HostId;

    #[test]
    fn hosts_have_directories_of_their_own_whenever_they_come() {
        let mut directories = Directories::default();
        directories.clear(HostId(9), 0, 0); // never heard of
        directories.set(HostId(2), 3, 0, 10);
        directories.set(HostId(0), 3, 0, 11);
        let find = |directories: &Directories, host| directories.find(HostId(host), 3, 0);
        assert_eq!([0, 1, 2, 3].map(|host| find(&directories, host)), [Some(11), None, Some(10), None]);
        directories.clear(HostId(0), 3, 0);
        assert_eq!((find(&directories, 0), find(&directories, 2)), (None, Some(10)));
    }

    #[test]
    fn an_older_generation_is_found_until_it_is_cleared() {
        let mut directory = Directory::default();
        directory.set(3, 0, 10);
        directory.set(3, 1, 11);
        assert_eq!((directory.find(3, 0), directory.find(3, 1)), (Some(10), Some(11)));
        directory.clear(3, 0);
        assert_eq!((directory.find(3, 0), directory.find(3, 1)), (None, Some(11)));
        directory.clear(3, 1);
        directory.clear(3, 1);
        assert_eq!(directory.find(3, 1), None);
    }
}
