//! A recording as something that can be played.

use std::borrow::Cow;
use std::time::Duration;

use poolwarden_switch::pool::HostSettings;

use super::{Contention, Fit, Recorded, Rehearse, resampled, scaled};
use crate::queueing::step_of;
use crate::study::{Change, Outcome, Play};

/// What follows upon what is kept within stretches of this length.
const BLOCK: Duration = Duration::from_secs(10);
/// A short recording is cut into so many at least.
const BLOCKS: u32 = 20;

/// A recording whose work is known.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The requests.
    pub recorded: Recorded,
    /// How work slows work.
    pub fit: Fit,
    /// What chance begins with.
    pub seed: u64,
    /// Whether requests that repeat what is granted this time do not come ([`Rehearse::spares`]).
    pub spares: bool,
}

impl Prepared {
    /// Finds out how work slowed work, and how much each request brought.
    #[must_use]
    pub fn new(mut recorded: Recorded, seed: u64, spares: bool) -> Self {
        let fit = Fit::of(&recorded);
        fit.prepare(&mut recorded, seed);
        Self { recorded, fit, seed, spares }
    }

    fn changed(&self, change: Change) -> Cow<'_, Recorded> {
        let mut of = Cow::Borrowed(&self.recorded);
        if change.draw > 0 {
            let block = BLOCK.min(self.recorded.lasts / BLOCKS).max(Duration::from_millis(1));
            of = Cow::Owned(resampled(&of, block, self.seed ^ change.draw));
        }
        if change.demand != 1.0 {
            of = Cow::Owned(scaled(&of, change.demand, self.seed ^ change.draw));
        }
        if change.work != 1.0 {
            let longer = |ns: u64| (ns as f64 * change.work) as u64;
            of.to_mut().asks.iter_mut().for_each(|ask| ask.alone_ns = longer(ask.alone_ns));
        }
        if change.connect != 1.0 {
            of.to_mut().connects.iter_mut().for_each(|connect| *connect = connect.mul_f64(change.connect));
        }
        of
    }
}

impl Play for Prepared {
    fn play(&self, settings: &HostSettings, change: Change, told: &mut dyn FnMut(f64)) -> Result<Outcome, String> {
        let recorded = self.changed(change);
        let rehearse = Rehearse {
            recorded: &recorded,
            fit: &self.fit,
            settings: settings.clone(),
            seed: self.seed ^ change.draw,
            step: step_of(recorded.lasts),
            spares: self.spares,
            keeps: false,
        };
        let played = rehearse.play(told)?;
        Ok(Outcome {
            course: played.course,
            most_lent: played.most_lent,
            spared: played.spared,
            delayed: played.delayed,
        })
    }

    fn requests(&self) -> u64 {
        self.recorded.asks.len() as u64
    }

    /// Where work was found to slow work, how it goes on beyond is known from that.
    fn seen(&self) -> Option<u32> {
        matches!(self.fit.contention, Contention::Alone).then_some(self.fit.concurrency)
    }
}
