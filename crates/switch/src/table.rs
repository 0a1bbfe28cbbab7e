//! A table of things with small, reused numbers.

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
#[derive(Debug, Default)]
pub(crate) struct Directory {
    places: Vec<Option<(u32, u32)>>,
}

impl Directory {
    pub(crate) fn set(&mut self, index: u32, generation: u32, place: u32) {
        let index = index as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, None);
        }
        self.places[index] = Some((generation, place));
    }

    pub(crate) fn find(&self, index: u32, generation: u32) -> Option<u32> {
        let (found, place) = (*self.places.get(index as usize)?)?;
        (found == generation).then_some(place)
    }

    pub(crate) fn clear(&mut self, index: u32, generation: u32) {
        if self.find(index, generation).is_some() {
            self.places[index as usize] = None;
        }
    }
}
