//! A run in numbers: by group and phase and in all, second by second, and how long until normal again.
//!
//! Requests are counted as they end, and none is kept, so that a day takes no more room than a minute.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_switch::pool::Time;

use super::record::{End, Record, Sample};
use crate::scenario::Scenario;
use crate::spread::{Quantiles, Spread};

/// Some of the requests, in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Requests that were to be made.
    pub offered: u64,
    /// Times they came.
    pub attempts: u64,
    /// Answered in time.
    pub served: u64,
    /// Answered after their deadline: nobody was there any more.
    pub late: u64,
    /// Refused for good.
    pub refused: u64,
    /// Ended otherwise.
    pub failed: u64,
    /// Never sent.
    pub unsent: u64,
    /// Refused attempts by name.
    pub refusals: BTreeMap<String, u64>,
    /// Wrong refusals.
    pub wrong: u64,
    /// From the intended time to the answer, of the served.
    pub latency: Quantiles,
    /// The same without the hold: what they waited.
    pub wait: Quantiles,
    /// From the intended time to the last refusal.
    pub refusal: Quantiles,
}

/// One second of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// Requests meant to be made in it.
    pub offered: u64,
    /// Answers in time that came in it.
    pub served: u64,
    /// Requests that were refused for good in it.
    pub refused: u64,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// By group and phase.
    pub cells: BTreeMap<(usize, usize), Cell>,
    /// By group, over all phases.
    pub groups: BTreeMap<usize, Cell>,
    /// By phase, over all groups.
    pub phases: BTreeMap<usize, Cell>,
    /// Everything.
    pub all: Cell,
    /// Second by second; what ends after the last phase is in the seconds behind it.
    pub series: Vec<Second>,
    /// Goodput of each phase, per second.
    pub goodput: Vec<f64>,
    /// Seconds after each phase's end until normal again; `None` where it never was, or nothing says what is normal.
    pub recovery: Vec<Option<u32>>,
    /// How late the generator was.
    pub lag: Quantiles,
    /// Rows that refused requests have left behind.
    pub left_behind: u64,
    /// Sessions that ended.
    pub lost: u64,
}

/// What is counted while a run goes on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    cells: BTreeMap<(usize, usize), Counts>,
    series: Vec<Second>,
    /// Answers in time that came within each phase.
    goodput: Vec<u64>,
    /// Of each phase, second by second, those who were to come in it.
    seconds: Vec<Vec<Normal>>,
}

/// One cell, while it is counted.
#[derive(Clone, Debug, Default, PartialEq)]
struct Counts {
    cell: Cell,
    latency: Spread,
    wait: Spread,
    refusal: Spread,
}

/// Who was to come in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Normal {
    offered: u64,
    served: u64,
    /// Served as fast as is normal.
    normal: u64,
}

impl Tally {
    /// A request has ended.
    pub(super) fn note(&mut self, scenario: &Scenario, sample: &Sample) {
        self.cells.entry((sample.group, sample.phase)).or_default().note(scenario, sample);
        let (intended, ended) = (second(sample.intended), second(sample.ended));
        if self.series.len() <= ended.max(intended) {
            self.series.resize(ended.max(intended) + 1, Second::default());
        }
        let is_served = in_time(scenario, sample);
        self.series[intended].offered += 1;
        self.series[ended].served += u64::from(is_served);
        self.series[ended].refused += u64::from(sample.end == End::Refused);
        let phases = scenario.phases.len();
        self.goodput.resize(phases, 0);
        self.seconds.resize(phases, Vec::new());
        let within = |begins: Duration, lasts: Duration| {
            sample.ended >= Time::ZERO + begins && sample.ended < Time::ZERO + begins + lasts
        };
        if is_served && let Some(phase) = scenario.phases.iter().position(|phase| within(phase.begins, phase.lasts)) {
            self.goodput[phase] += 1;
        }
        self.note_normal(scenario, sample, is_served);
    }

    fn note_normal(&mut self, scenario: &Scenario, sample: &Sample, is_served: bool) {
        let (Some(normal), Some(phase)) = (scenario.normal_p99, scenario.phases.get(sample.phase)) else { return };
        let seconds = &mut self.seconds[sample.phase];
        let at = usize::try_from(sample.intended.since(Time::ZERO + phase.begins).as_secs()).unwrap_or(usize::MAX);
        if seconds.len() <= at {
            seconds.resize(at + 1, Normal::default());
        }
        let of = &mut seconds[at];
        of.offered += 1;
        of.served += u64::from(is_served);
        of.normal += u64::from(is_served && sample.ended.since(sample.intended) <= normal);
    }

    /// Whole seconds after a phase's end from which on every second of the next phase is normal: of whoever arrives in it, 99 of
    /// 100 are served, with a 99th percentile as the scenario says.
    fn recovery(&self, scenario: &Scenario, phase: usize) -> Option<u32> {
        scenario.normal_p99?;
        let seconds = self.seconds.get(phase + 1)?;
        let last = seconds.iter().rposition(|of| of.offered > 0)?;
        match seconds.iter().rposition(|of| !of.is_normal()) {
            None => Some(0),
            Some(disturbed) if disturbed < last => u32::try_from(disturbed + 1).ok(),
            Some(_) => None,
        }
    }
}

impl Normal {
    /// A 99th percentile (nearest rank) is no longer than this where so many of a hundred are not.
    fn is_normal(&self) -> bool {
        let rank = (self.served * 99).div_ceil(100);
        self.served * 100 >= self.offered * 99 && self.normal >= rank
    }
}

impl Counts {
    fn note(&mut self, scenario: &Scenario, sample: &Sample) {
        let took = sample.ended.since(sample.intended);
        self.cell.offered += 1;
        self.cell.attempts += u64::from(sample.attempts);
        match sample.end {
            End::Served if in_time(scenario, sample) => {
                self.cell.served += 1;
                self.latency.note(took);
                self.wait.note(took.saturating_sub(sample.hold));
            }
            End::Served => self.cell.late += 1,
            End::Refused => {
                self.cell.refused += 1;
                self.refusal.note(took);
            }
            End::Failed => self.cell.failed += 1,
            End::Unsent => self.cell.unsent += 1,
        }
    }

    fn add(&mut self, other: &Self) {
        let (mine, theirs) = (&mut self.cell, &other.cell);
        mine.offered += theirs.offered;
        mine.attempts += theirs.attempts;
        mine.served += theirs.served;
        mine.late += theirs.late;
        mine.refused += theirs.refused;
        mine.failed += theirs.failed;
        mine.unsent += theirs.unsent;
        self.latency.add(&other.latency);
        self.wait.add(&other.wait);
        self.refusal.add(&other.refusal);
    }
}

impl Summary {
    /// The numbers of `record`.
    #[must_use]
    pub fn of(scenario: &Scenario, record: &Record) -> Self {
        let tally = &record.tally;
        let cell = |is_in: &dyn Fn(usize, Option<usize>) -> bool| {
            let mut all = Counts::default();
            let mine = tally.cells.iter().filter(|((group, phase), _)| is_in(*group, Some(*phase)));
            mine.for_each(|(_, counts)| all.add(counts));
            finished(record, all, is_in)
        };
        let (groups, phases) = (0..scenario.groups.len(), 0..scenario.phases.len());
        let mut summary = Self { all: cell(&|_, _| true), ..Self::default() };
        for group in groups {
            summary.groups.insert(group, cell(&|g, _| g == group));
            for phase in phases.clone() {
                summary.cells.insert((group, phase), cell(&|g, p| g == group && p == Some(phase)));
            }
        }
        for phase in phases.clone() {
            summary.phases.insert(phase, cell(&|_, p| p == Some(phase)));
        }
        summary.series = tally.series.clone();
        let least = second(Time::ZERO + scenario.lasts());
        summary.series.resize(least.max(tally.series.len()), Second::default());
        let goodput = |(place, phase): (usize, &crate::scenario::Phase)| {
            tally.goodput.get(place).copied().unwrap_or(0) as f64 / phase.lasts.as_secs_f64()
        };
        summary.goodput = scenario.phases.iter().enumerate().map(goodput).collect();
        summary.recovery = phases.map(|phase| tally.recovery(scenario, phase)).collect();
        summary.lag = record.lags.iter().copied().collect::<Spread>().quantiles();
        (summary.left_behind, summary.lost) = (record.left_behind, record.lost.values().sum());
        summary
    }
}

/// With what is counted by name.
fn finished(record: &Record, all: Counts, is_in: &dyn Fn(usize, Option<usize>) -> bool) -> Cell {
    let Counts { mut cell, latency, wait, refusal } = all;
    for ((group, phase, name), times) in &record.refused {
        if is_in(*group, Some(*phase)) {
            *cell.refusals.entry(name.clone()).or_default() += times;
        }
    }
    cell.wrong = record.wrong.iter().filter(|((group, _), _)| is_in(*group, None)).map(|(_, times)| times).sum();
    (cell.latency, cell.wait, cell.refusal) = (latency.quantiles(), wait.quantiles(), refusal.quantiles());
    cell
}

/// Whether it was answered before its client had gone.
fn in_time(scenario: &Scenario, sample: &Sample) -> bool {
    let deadline = scenario.groups[sample.group].deadline;
    sample.end == End::Served && deadline.is_none_or(|most| sample.ended.since(sample.intended) <= most)
}

fn second(time: Time) -> usize {
    usize::try_from(time.as_nanos() / 1_000_000_000).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_again_is_the_first_second_after_the_last_disturbed_one() {
        let text = "[scenario]\nname = \"r\"\nnormal_p99 = \"100ms\"\n[[phase]]\nname = \"a\"\nfor = \"1s\"\n[[phase]]\nname = \"b\"\nfor = \"5s\"\n\
                    [[load]]\nname = \"web\"\nrate = \"1/s\"\nhold = { constant = \"1ms\" }\n";
        let scenario = crate::scenario::read(text).expect("a scenario");
        let sample = |at_ms: u64, took_ms: u64, end: End| {
            let intended = Time::ZERO + Duration::from_millis(at_ms);
            let ended = intended + Duration::from_millis(took_ms);
            Sample {
                group: 0,
                phase: usize::from(at_ms >= 1000),
                intended,
                ended,
                hold: Duration::ZERO,
                attempts: 1,
                end,
            }
        };
        let recovery = |samples: &[Sample], phase| {
            let mut tally = Tally::default();
            samples.iter().for_each(|sample| tally.note(&scenario, sample));
            tally.recovery(&scenario, phase)
        };
        let calm: Vec<Sample> = (1..6).map(|s| sample(s * 1000, 5, End::Served)).collect();
        assert_eq!(recovery(&calm, 0), Some(0));
        let mut slow = calm.clone();
        slow.push(sample(2500, 300, End::Served));
        assert_eq!(recovery(&slow, 0), Some(2));
        slow.push(sample(5900, 5, End::Refused));
        assert_eq!(recovery(&slow, 0), None, "it never was");
        assert_eq!(recovery(&calm, 1), None, "nothing comes behind the last phase");
    }
}
