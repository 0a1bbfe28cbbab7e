//! Who arrives when: one stream of chance per group, merged by time.
//!
//! Poisson by the rate of the shape at each moment (thinning, Lewis and Shedler 1979). A group's times do not depend on other
//! groups, nor on how long it holds, so that two runs of changed settings meet the same arrivals.

use std::time::Duration;

use poolwarden_switch::pool::Time;

use crate::random::Random;
use crate::scenario::{Group, Hold, Phase, Scenario};

/// One request that somebody means to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, since the scenario's beginning.
    pub at: Time,
    /// Of which group.
    pub group: usize,
    /// In which phase.
    pub phase: usize,
    /// How long it will hold its connection.
    pub hold: Duration,
    /// The client connection it must go out on, where it is one client's own: all arrive at once.
    pub client: Option<u32>,
    /// That client loses its connection first.
    pub reconnects: bool,
}

/// All arrivals of a scenario in order of time; equal seeds give equal arrivals.
#[derive(Debug)]
pub struct Arrivals<'a> {
    streams: Vec<Stream<'a>>,
    next: Vec<Option<Arrival>>,
}

impl<'a> Arrivals<'a> {
    /// From the beginning.
    #[must_use]
    pub fn new(scenario: &'a Scenario) -> Self {
        let mut seeds = Random::new(scenario.seed);
        let groups = scenario.groups.iter().enumerate();
        let mut streams: Vec<Stream<'a>> = groups
            .map(|(place, group)| {
                let (times, holds) = (seeds.fork(), seeds.fork());
                Stream { place, group, phases: &scenario.phases, times, holds, phase: 0, at: 0.0, gathered: 0 }
            })
            .collect();
        let next = streams.iter_mut().map(Stream::next).collect();
        Self { streams, next }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let first =
            self.next.iter().enumerate().filter_map(|(place, arrival)| Some((arrival.as_ref()?.at, place))).min();
        let (_, place) = first?;
        let following = self.streams[place].next();
        std::mem::replace(&mut self.next[place], following)
    }
}

/// One group's arrivals.
#[derive(Debug)]
struct Stream<'a> {
    place: usize,
    group: &'a Group,
    phases: &'a [Phase],
    times: Random,
    holds: Random,
    phase: usize,
    /// Seconds into the phase.
    at: f64,
    /// Clients that have come at the phase's beginning.
    gathered: u32,
}

impl Stream<'_> {
    fn next(&mut self) -> Option<Arrival> {
        loop {
            let phase = self.phases.get(self.phase)?;
            let part = &self.group.parts[self.phase];
            if part.shape.gathers() && self.gathered < self.group.clients {
                let client = self.gathered;
                self.gathered += 1;
                let reconnects = part.shape == crate::scenario::Shape::Reconnect;
                return Some(Arrival { client: Some(client), reconnects, ..self.arrival(phase, 0.0) });
            }
            let (most, lasts) = (part.rate * part.shape.most(), phase.lasts.as_secs_f64());
            self.at += if most > 0.0 { -(1.0 - self.times.share()).ln() / most } else { f64::INFINITY };
            if self.at >= lasts {
                (self.phase, self.at, self.gathered) = (self.phase + 1, 0.0, 0);
                continue;
            }
            if self.times.share() * part.shape.most() < part.shape.factor(self.at, lasts) {
                return Some(self.arrival(phase, self.at));
            }
        }
    }

    fn arrival(&mut self, phase: &Phase, at: f64) -> Arrival {
        let hold = self.group.parts[self.phase].hold;
        Arrival {
            at: Time::ZERO + phase.begins + Duration::from_secs_f64(at),
            group: self.place,
            phase: self.phase,
            hold: drawn(&mut self.holds, hold),
            client: None,
            reconnects: false,
        }
    }
}

/// A hold, in whole microseconds: what can be written into a query.
fn drawn(random: &mut Random, hold: Hold) -> Duration {
    /// No hold is longer: the log-normal's tail has no end.
    const LONGEST: f64 = 3600.0;
    if hold.p99.is_none() {
        return hold.p50;
    }
    // A standard normal number (Box and Muller 1958).
    let (radius, angle) = ((-2.0 * (1.0 - random.share()).ln()).sqrt(), std::f64::consts::TAU * random.share());
    let seconds = hold.p50.as_secs_f64() * (hold.sigma() * radius * angle.cos()).exp();
    let micros = (seconds.min(LONGEST) * 1e6).max(1.0).round();
    Duration::from_micros(micros as u64) // whole, positive, below 3.6e9
}
