//! Alarms: a binary heap that knows where each owner's alarm stands, one alarm per owner.
//!
//! Owners are dense indexes (slots, tickets, pools). `advance` only ever makes an alarm earlier, which
//! is how alarms are kept lazily: when a moment moves later its owner lets the old alarm ring, looks
//! again and sets a new one, so that nothing is touched per transaction. Ties ring in order of index.

use crate::{Time, Wake, list::NONE};

/// One alarm.
#[derive(Clone, Copy, Debug)]
struct Alarm {
    at: Time,
    owner: u32,
    wake: Wake,
}

/// At most one alarm per owner, the earliest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    heap: Vec<Alarm>,
    place: Vec<u32>,
}

impl Alarms {
    /// The earliest alarm.
    pub(crate) fn first(&self) -> Option<(Time, Wake)> {
        self.heap.first().map(|alarm| (alarm.at, alarm.wake))
    }

    /// Takes the earliest alarm if it is due, and says whose it was.
    pub(crate) fn ring(&mut self, now: Time) -> Option<u32> {
        let owner = self.heap.first().filter(|alarm| alarm.at <= now)?.owner;
        self.clear(owner);
        Some(owner)
    }

    /// When the owner's alarm rings.
    pub(crate) fn at(&self, owner: u32) -> Option<Time> {
        match self.place.get(owner as usize) {
            None | Some(&NONE) => None,
            Some(&place) => Some(self.heap[place as usize].at),
        }
    }

    /// Sets the owner's alarm, or makes it earlier; never later.
    pub(crate) fn advance(&mut self, owner: u32, at: Time, wake: Wake) {
        if at == Time::NEVER {
            return;
        }
        match self.at(owner) {
            Some(set) if set <= at => {}
            Some(_) => {
                let place = self.place[owner as usize];
                self.heap[place as usize] = Alarm { at, owner, wake };
                self.rise(place as usize);
            }
            None => {
                if self.place.len() <= owner as usize {
                    self.place.resize(owner as usize + 1, NONE);
                }
                self.heap.push(Alarm { at, owner, wake });
                self.place[owner as usize] = self.heap.len() as u32 - 1;
                self.rise(self.heap.len() - 1);
            }
        }
    }

    /// Takes the owner's alarm away.
    pub(crate) fn clear(&mut self, owner: u32) {
        let Some(place) = self.place.get(owner as usize).copied().filter(|&place| place != NONE) else { return };
        self.place[owner as usize] = NONE;
        let place = place as usize;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.place[self.heap[place].owner as usize] = place as u32;
            self.sink(place);
            self.rise(place);
        }
    }

    fn before(&self, a: usize, b: usize) -> bool {
        (self.heap[a].at, self.heap[a].owner) < (self.heap[b].at, self.heap[b].owner)
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.place[self.heap[a].owner as usize] = a as u32;
        self.place[self.heap[b].owner as usize] = b as u32;
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.before(at, (at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.before(child, least) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }
}
