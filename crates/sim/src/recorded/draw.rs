//! The work of requests that were never granted: as if each were one of the newest granted of its kind.

use super::{Met, Recorded};
use crate::random::Random;

/// Among so many it is drawn.
const NEWEST: usize = 64;

/// One kind's newest known work: nanoseconds alone, and idle microseconds.
#[derive(Clone, Debug, Default)]
struct Newest {
    known: Vec<(u64, u32)>,
    at: usize,
}

impl Newest {
    fn note(&mut self, work: (u64, u32)) {
        if self.known.len() < NEWEST {
            self.known.push(work);
        } else {
            self.known[self.at] = work;
            self.at = (self.at + 1) % NEWEST;
        }
    }
}

impl Recorded {
    /// Gives everybody who was never granted work to do. Where nobody of its kind was, anybody's; where nobody was at all, none.
    pub(super) fn draw(&mut self, seed: u64) {
        let mut random = Random::new(seed);
        let mut newest = vec![Newest::default(); self.kinds.len()];
        let mut anybody = Newest::default();
        // Who comes before the first of its kind that is known finds the first ones all the same.
        for ask in self.asks.iter().filter(|ask| ask.met == Met::Granted) {
            for of in [&mut newest[self.clients[ask.client as usize] as usize], &mut anybody] {
                if of.known.len() < NEWEST {
                    of.note((ask.alone_ns, ask.idle_us));
                }
            }
        }
        for ask in &mut self.asks {
            let kind = &mut newest[self.clients[ask.client as usize] as usize];
            if ask.met == Met::Granted {
                kind.note((ask.alone_ns, ask.idle_us));
                anybody.note((ask.alone_ns, ask.idle_us));
                continue;
            }
            let known = if kind.known.is_empty() { &anybody.known } else { &kind.known };
            (ask.alone_ns, ask.idle_us) = known.get(random.place(known.len())).copied().unwrap_or_default();
        }
    }
}
