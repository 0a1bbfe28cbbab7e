//! The same traffic, only more or less of it, or other stretches of it: what an answer is held against.

use std::time::Duration;

use super::{Ask, Recorded};
use crate::random::Random;

/// Copies of a request come up to so much earlier or later than it.
const JITTER_US: u64 = 500_000;

/// `times` as many requests: copies are other clients', within half a second of the one they are copied from.
#[must_use]
pub fn scaled(recorded: &Recorded, times: f64, seed: u64) -> Recorded {
    let mut random = Random::new(seed ^ 0x5ca1_ed00);
    let clients = recorded.clients.len() as u32; // a recording numbers them in 32 bits
    let copies = times.ceil().max(1.0) as u32;
    let mut asks = Vec::with_capacity((recorded.asks.len() as f64 * times) as usize);
    for ask in &recorded.asks {
        for copy in 0..copies {
            if random.share() >= times - f64::from(copy) {
                continue;
            }
            let shift = if copy == 0 { JITTER_US } else { random.below(2 * JITTER_US + 1) };
            let arrived_us = (ask.arrived_us + shift).saturating_sub(JITTER_US);
            asks.push(Ask { arrived_us, client: ask.client + copy * clients, ..*ask });
        }
    }
    asks.sort_by_key(|ask| ask.arrived_us);
    let all = recorded.clients.iter().copied().cycle().take(recorded.clients.len() * copies as usize);
    Recorded { asks, clients: all.collect(), ..recorded.clone() }
}

/// Another recording that might have been: blocks of it, drawn with replacement (the block bootstrap, Künsch 1989), so that what
/// follows upon what is kept within each.
#[must_use]
pub fn resampled(recorded: &Recorded, block: Duration, seed: u64) -> Recorded {
    let mut random = Random::new(seed ^ 0xb007);
    let block_us = u64::try_from(block.as_micros()).unwrap_or(u64::MAX).max(1);
    let lasts_us = u64::try_from(recorded.lasts.as_micros()).unwrap_or(u64::MAX);
    let blocks = lasts_us.div_ceil(block_us);
    let mut asks = Vec::with_capacity(recorded.asks.len());
    for to in 0..blocks {
        let from = random.below(blocks) * block_us;
        let first = recorded.asks.partition_point(|ask| ask.arrived_us < from);
        let some = recorded.asks[first..].iter().take_while(|ask| ask.arrived_us < from + block_us);
        asks.extend(some.map(|ask| Ask { arrived_us: ask.arrived_us - from + to * block_us, ..*ask }));
    }
    Recorded { asks, ..recorded.clone() }
}
