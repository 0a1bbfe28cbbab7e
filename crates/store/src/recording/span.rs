//! From when to when a recording tells: its blocks are walked by their heads, and unpacked only behind the last anchor.

use super::read::Recording;
use super::{Anchor, Block};

impl Recording<'_> {
    /// Its first and its last moment in milliseconds since 1970 UTC, as far as it can be read.
    #[must_use]
    pub fn span(&self) -> (u64, u64) {
        let mut last = self.begun();
        let mut behind = Vec::new();
        for at in self.places() {
            match self.anchor_at(at) {
                Some(anchor) => {
                    last = anchor;
                    behind.clear();
                }
                None => behind.push(at),
            }
        }
        let moments = behind.into_iter().filter_map(|at| ends_us(&self.block_at(at).ok()?.0));
        let until_us = moments.max().unwrap_or(0).max(last.clock_us);
        let Anchor { wall_ms, clock_us } = last;
        let begun_ms = self.begun().wall_ms;
        (begun_ms, wall_ms.saturating_add((until_us - clock_us) / 1_000).max(begun_ms))
    }
}

/// The last moment a block tells of.
fn ends_us(block: &Block) -> Option<u64> {
    match block {
        Block::Checkouts(all) => {
            let ends = all.iter().map(|of| of.arrived_us.saturating_add(of.waited_us).saturating_add(of.held_us));
            ends.max()
        }
        Block::Gap(gap) => Some(gap.until_us),
        Block::Anchor(anchor) => Some(anchor.clock_us),
        Block::Settings(settings) => Some(settings.from_us),
        Block::State(state) => Some(state.at_us),
        Block::Names(_) | Block::Unknown(_) => None,
    }
}
