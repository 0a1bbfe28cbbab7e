//! Who arrives when: one stream of chance per group, merged by time.
//!
//! Poisson by the rate of the shape at each moment (thinning, Lewis and Shedler 1979). A group's times do not depend on other
//! groups, nor on how long it holds, so that two runs of changed settings meet the same arrivals.

use std::time::Duration;

use poolwarden_switch::pool::Time;

use crate::random::Random;
use crate::scenario::{Group, Law, Phase, Scenario, Shape};

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
                let bursts = Bursts { turns: times.clone().fork(), is_on: false, until: 0.0 };
                Stream { place, group, phases: &scenario.phases, times, holds, bursts, phase: 0, at: 0.0, gathered: 0 }
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
    bursts: Bursts,
    phase: usize,
    /// Seconds into the phase.
    at: f64,
    /// Clients that have come at the phase's beginning.
    gathered: u32,
}

/// Bursts that come and go by chance.
#[derive(Debug)]
struct Bursts {
    turns: Random,
    is_on: bool,
    /// Seconds into the phase at which that changes.
    until: f64,
}

impl Bursts {
    /// What the rate is multiplied by, at moments that never go back within a phase.
    fn factor(&mut self, shape: &Shape, at: f64) -> f64 {
        let Shape::Bursts { peak, calm, burst } = *shape else { return 1.0 };
        if self.until == 0.0 {
            (self.is_on, self.until) = (false, self.lasts(calm));
        }
        while at >= self.until {
            self.is_on = !self.is_on;
            let mean = if self.is_on { burst } else { calm };
            self.until += self.lasts(mean);
        }
        if self.is_on { peak } else { 1.0 }
    }

    fn lasts(&mut self, mean: Duration) -> f64 {
        drawn(&mut self.turns, Law::Exponential(mean)).as_secs_f64()
    }
}

impl Stream<'_> {
    fn next(&mut self) -> Option<Arrival> {
        loop {
            let phase = self.phases.get(self.phase)?;
            let part = &self.group.parts[self.phase];
            if part.shape.gathers() && self.gathered < self.group.clients {
                let client = self.gathered;
                self.gathered += 1;
                let reconnects = part.shape == Shape::Reconnect;
                return Some(Arrival { client: Some(client), reconnects, ..self.arrival(phase, 0.0) });
            }
            let (most, lasts) = (part.rate * part.shape.most(), phase.lasts.as_secs_f64());
            self.at += if most > 0.0 { -(1.0 - self.times.share()).ln() / most } else { f64::INFINITY };
            if self.at >= lasts {
                (self.phase, self.at, self.gathered, self.bursts.until) = (self.phase + 1, 0.0, 0, 0.0);
                continue;
            }
            let factor = part.shape.factor(self.at, lasts) * self.bursts.factor(&part.shape, self.at);
            if self.times.share() * part.shape.most() < factor {
                return Some(self.arrival(phase, self.at));
            }
        }
    }

    fn arrival(&mut self, phase: &Phase, at: f64) -> Arrival {
        let hold = self.group.parts[self.phase].hold;
        let share = at / phase.lasts.as_secs_f64();
        Arrival {
            at: Time::ZERO + phase.begins + Duration::from_secs_f64(at),
            group: self.place,
            phase: self.phase,
            hold: hold.grown(drawn(&mut self.holds, hold.law), share),
            client: None,
            reconnects: false,
        }
    }
}

/// A time, in whole microseconds: what can be written into a query.
pub(super) fn drawn(random: &mut Random, law: Law) -> Duration {
    /// None is longer: the log-normal's tail has no end.
    const LONGEST: f64 = 3600.0;
    let seconds = match law {
        Law::Constant(all) => return all,
        Law::LogNormal(p50, _) => {
            // A standard normal number (Box and Muller 1958).
            let (radius, angle) = ((-2.0 * (1.0 - random.share()).ln()).sqrt(), std::f64::consts::TAU * random.share());
            p50.as_secs_f64() * (law.sigma() * radius * angle.cos()).exp()
        }
        Law::Exponential(mean) => -mean.as_secs_f64() * (1.0 - random.share()).ln(),
    };
    let micros = (seconds.min(LONGEST) * 1e6).max(1.0).round();
    Duration::from_micros(micros as u64) // whole, positive, below 3.6e9
}
