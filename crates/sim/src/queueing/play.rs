//! A scenario as something that can be played.

use std::time::Duration;

use poolwarden_config::Config;
use poolwarden_switch::pool::{HostSettings, Time};

use super::{Played, crowd, play_with};
use crate::scenario::{Part, Scenario};
use crate::study::{Change, Outcome, Play};

/// A scenario under a configuration, of which the first server's settings can be others.
#[derive(Clone, Copy, Debug)]
pub struct Rehearsed<'a> {
    /// Who asks, and what goes wrong.
    pub scenario: &'a Scenario,
    /// What says which pool and class clients have.
    pub config: &'a Config,
}

impl Rehearsed<'_> {
    fn changed(&self, change: Change) -> Scenario {
        let mut scenario = self.scenario.clone();
        scenario.seed = scenario.seed.wrapping_add(change.draw);
        scenario.postgres.connect = scenario.postgres.connect.mul_f64(change.connect);
        for group in &mut scenario.groups {
            if group.think.is_some() {
                // Who asks by themselves are more, not faster.
                group.clients = (f64::from(group.clients) * change.demand).round().max(1.0) as u32;
            }
            for part in &mut group.parts {
                part.rate *= change.demand;
                part.hold.law = part.hold.law.times(change.work);
            }
        }
        scenario
    }
}

impl Play for Rehearsed<'_> {
    fn play(&self, settings: &HostSettings, change: Change, told: &mut dyn FnMut(f64)) -> Result<Outcome, String> {
        let scenario = self.changed(change);
        let lasts = scenario.lasts().as_secs_f64();
        let mut part = |now: Time| told((now.since(Time::ZERO).as_secs_f64() / lasts).min(1.0));
        let seats = crowd::Crowd::seats(&scenario, self.config, settings)?;
        let Played { course, most_lent, .. } =
            play_with(&scenario, settings.clone(), (&seats, Duration::ZERO, false), (&mut part, None))?;
        Ok(Outcome { course, most_lent, spared: 0, delayed: 0 })
    }

    fn requests(&self) -> u64 {
        let of = |group: &crate::scenario::Group| {
            let parts = group.parts.iter().zip(&self.scenario.phases);
            let rate = |part: &Part| match group.think {
                Some(think) => f64::from(group.clients) / (think.mean() + part.hold.law.mean()).as_secs_f64(),
                None => part.rate,
            };
            parts.map(|(part, phase)| rate(part) * phase.lasts.as_secs_f64()).sum::<f64>()
        };
        self.scenario.groups.iter().map(of).sum::<f64>() as u64
    }

    fn seen(&self) -> Option<u32> {
        None
    }
}
