//! The past of something that is counted, in blocks: the last ten minutes by ten seconds, and the last hour by minutes.

use std::collections::VecDeque;

use super::trend::{Rise, rise};

/// Blocks of one length.
#[derive(Clone, Debug)]
pub(super) struct Rung {
    block_ms: u64,
    most: usize,
    blocks: VecDeque<Block>,
    /// The block that is not over yet.
    open: Sum,
    /// Of the blocks that are over.
    pub(super) rise: Option<Rise>,
}

/// Means over one block.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Block {
    /// Connections wanted: lent, and waited for.
    pub(super) demand: f64,
    /// Requests per second that came.
    pub(super) arrivals: f64,
    /// Connections lent.
    pub(super) lent: f64,
    /// Of those, idle in a transaction.
    pub(super) idle: f64,
    /// Leases per second that ended.
    pub(super) ended: f64,
}

/// Sums over a time, in microseconds and in counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    pub(super) long_us: u64,
    pub(super) lent_us: u64,
    pub(super) waited_us: u64,
    pub(super) idle_us: u64,
    pub(super) arrivals: u64,
    pub(super) ended: u64,
}

impl Sum {
    /// Of the same time, of two pools.
    pub(super) fn beside(self, other: Self) -> Self {
        Self { long_us: self.long_us.max(other.long_us), ..self.then(other) }
    }

    fn then(self, other: Self) -> Self {
        Self {
            long_us: self.long_us + other.long_us,
            lent_us: self.lent_us + other.lent_us,
            waited_us: self.waited_us + other.waited_us,
            idle_us: self.idle_us + other.idle_us,
            arrivals: self.arrivals + other.arrivals,
            ended: self.ended + other.ended,
        }
    }

    fn block(&self) -> Block {
        let long = self.long_us.max(1) as f64;
        let of = |us: u64| us as f64 / long;
        let per_second = |count: u64| count as f64 * 1e6 / long;
        Block {
            demand: of(self.lent_us + self.waited_us),
            arrivals: per_second(self.arrivals),
            lent: of(self.lent_us),
            idle: of(self.idle_us),
            ended: per_second(self.ended),
        }
    }
}

impl Rung {
    fn new(block_ms: u64, most: usize) -> Self {
        Self { block_ms, most, blocks: VecDeque::new(), open: Sum::default(), rise: None }
    }

    /// Whether a block has ended with it.
    fn take(&mut self, sum: Sum) -> bool {
        self.open = self.open.then(sum);
        if self.open.long_us < self.block_ms * 1_000 {
            return false;
        }
        self.blocks.push_back(std::mem::take(&mut self.open).block());
        if self.blocks.len() > self.most {
            self.blocks.pop_front();
        }
        let demand: Vec<f64> = self.blocks.iter().map(|block| block.demand).collect();
        self.rise = rise(&demand);
        true
    }

    /// Seconds of one block.
    pub(super) fn block_s(&self) -> f64 {
        self.block_ms as f64 / 1e3
    }

    /// The blocks of its rise, and as many before it as there are, at most as many as in it; oldest first.
    pub(super) fn around(&self, rise: &Rise) -> (Vec<Block>, Vec<Block>) {
        let begins = self.blocks.len().saturating_sub(rise.blocks);
        let before = self.blocks.range(begins.saturating_sub(rise.blocks)..begins).copied().collect();
        (before, self.blocks.range(begins..).copied().collect())
    }

    /// Seconds it has seen, of whole blocks.
    pub(super) fn seen_s(&self) -> f64 {
        self.block_s() * self.blocks.len() as f64
    }
}

/// Both rungs.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    pub(super) rungs: [Rung; 2],
}

impl Default for Ladder {
    fn default() -> Self {
        Self { rungs: [Rung::new(10_000, 60), Rung::new(60_000, 60)] }
    }
}

impl Ladder {
    /// What happened since the last picture.
    pub(super) fn take(&mut self, sum: Sum) {
        for rung in &mut self.rungs {
            rung.take(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(lent: f64) -> Sum {
        Sum { long_us: 1_000_000, lent_us: (lent * 1e6) as u64, arrivals: 7, ended: 5, ..Sum::default() }
    }

    #[test]
    fn seconds_become_blocks_and_old_ones_are_forgotten() {
        let mut ladder = Ladder::default();
        (0..9).for_each(|_| ladder.take(second(3.0)));
        assert_eq!(ladder.rungs[0].seen_s(), 0.0);
        ladder.take(second(13.0));
        let [tens, minutes] = &ladder.rungs;
        assert_eq!((tens.seen_s(), minutes.seen_s()), (10.0, 0.0));
        let block = tens.blocks[0];
        assert!((block.demand - 4.0).abs() < 1e-9 && (block.arrivals - 7.0).abs() < 1e-9, "{block:?}");
        (0..7_200).for_each(|_| ladder.take(second(3.0)));
        let [tens, minutes] = &ladder.rungs;
        assert_eq!((tens.seen_s(), minutes.seen_s(), tens.rise), (600.0, 3_600.0, None));
    }

    #[test]
    fn what_grows_is_seen_to_and_the_blocks_before_it_are_told_apart() {
        let mut ladder = Ladder::default();
        for at in 0..1_800_u32 {
            let wave = f64::from(at / 10 % 3) / 10.0;
            ladder.take(second(5.0 + wave + f64::from(at.saturating_sub(1_500)) / 100.0));
        }
        let tens = &ladder.rungs[0];
        let rise = tens.rise.unwrap();
        assert!((rise.slope - 0.1).abs() < 0.02 && (25..=33).contains(&rise.blocks), "{rise:?}");
        let (before, since) = tens.around(&rise);
        assert_eq!((before.len(), since.len()), (60 - rise.blocks, rise.blocks));
        assert!(before[0].demand < 5.3 && since.last().unwrap().demand > 7.5);
    }
}
