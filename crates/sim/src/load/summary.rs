//! A record in numbers: by group and phase and in all, second by second, and how long until normal again.

use std::collections::BTreeMap;
use std::time::Duration;

use poolwarden_switch::pool::Time;

use super::record::{End, Record, Sample};
use crate::scenario::Scenario;

/// Quantiles of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Half are shorter.
    pub p50: Duration,
    /// One in twenty is longer.
    pub p95: Duration,
    /// One in a hundred is longer.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

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

/// Durations of some requests, before they are numbers.
#[derive(Default)]
struct Spread {
    latency: Vec<Duration>,
    wait: Vec<Duration>,
    refusal: Vec<Duration>,
}

impl Summary {
    /// The numbers of `record`.
    #[must_use]
    pub fn of(scenario: &Scenario, record: &Record) -> Self {
        let mut summary = Self::default();
        let every = |_: &Sample| true;
        summary.all = cell(scenario, record, every, |_, _| true);
        for group in 0..scenario.groups.len() {
            let own = cell(scenario, record, |sample| sample.group == group, |g, _| g == group);
            summary.groups.insert(group, own);
            for phase in 0..scenario.phases.len() {
                let mine = |sample: &Sample| sample.group == group && sample.phase == phase;
                summary
                    .cells
                    .insert((group, phase), cell(scenario, record, mine, |g, p| g == group && p == Some(phase)));
            }
        }
        for phase in 0..scenario.phases.len() {
            let own = cell(scenario, record, |sample| sample.phase == phase, |_, p| p == Some(phase));
            summary.phases.insert(phase, own);
        }
        summary.series = series(scenario, &record.samples);
        summary.goodput = scenario
            .phases
            .iter()
            .map(|phase| {
                let (begins, ends) = (Time::ZERO + phase.begins, Time::ZERO + phase.begins + phase.lasts);
                let within =
                    |sample: &&Sample| sample.ended >= begins && sample.ended < ends && in_time(scenario, sample);
                record.samples.iter().filter(within).count() as f64 / phase.lasts.as_secs_f64()
            })
            .collect();
        summary.recovery = (0..scenario.phases.len()).map(|phase| recovery(scenario, &record.samples, phase)).collect();
        summary.lag = quantiles(record.lags.clone());
        (summary.left_behind, summary.lost) = (record.left_behind, record.lost.values().sum());
        summary
    }
}

/// Whether it was answered before its client had gone.
fn in_time(scenario: &Scenario, sample: &Sample) -> bool {
    let deadline = scenario.groups[sample.group].deadline;
    sample.end == End::Served && deadline.is_none_or(|most| sample.ended.since(sample.intended) <= most)
}

fn cell(
    scenario: &Scenario,
    record: &Record,
    counts: impl Fn(&Sample) -> bool,
    names: impl Fn(usize, Option<usize>) -> bool,
) -> Cell {
    let (mut cell, mut spread) = (Cell::default(), Spread::default());
    for sample in record.samples.iter().filter(|sample| counts(sample)) {
        cell.offered += 1;
        cell.attempts += u64::from(sample.attempts);
        let took = sample.ended.since(sample.intended);
        match sample.end {
            End::Served if in_time(scenario, sample) => {
                cell.served += 1;
                spread.latency.push(took);
                spread.wait.push(took.saturating_sub(sample.hold));
            }
            End::Served => cell.late += 1,
            End::Refused => {
                cell.refused += 1;
                spread.refusal.push(took);
            }
            End::Failed => cell.failed += 1,
            End::Unsent => cell.unsent += 1,
        }
    }
    for ((group, phase, name), times) in &record.refused {
        if names(*group, Some(*phase)) {
            *cell.refusals.entry(name.clone()).or_default() += times;
        }
    }
    cell.wrong = record.wrong.iter().filter(|((group, _), _)| names(*group, None)).map(|(_, times)| times).sum();
    (cell.latency, cell.wait, cell.refusal) =
        (quantiles(spread.latency), quantiles(spread.wait), quantiles(spread.refusal));
    cell
}

/// The smallest value that so many are not longer than (nearest rank).
fn quantiles(mut spread: Vec<Duration>) -> Quantiles {
    spread.sort_unstable();
    let at = |share: f64| {
        let rank = (share * spread.len() as f64).ceil() as usize;
        spread.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    };
    Quantiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: spread.last().copied().unwrap_or_default() }
}

fn series(scenario: &Scenario, samples: &[Sample]) -> Vec<Second> {
    let length = samples.iter().map(|sample| second(sample.ended)).max().map_or(0, |last| last + 1);
    let mut series = vec![Second::default(); length.max(second(Time::ZERO + scenario.lasts()))];
    for sample in samples {
        if let Some(intended) = series.get_mut(second(sample.intended)) {
            intended.offered += 1;
        }
        let ended = &mut series[second(sample.ended)];
        ended.served += u64::from(in_time(scenario, sample));
        ended.refused += u64::from(sample.end == End::Refused);
    }
    series
}

fn second(time: Time) -> usize {
    usize::try_from(time.as_nanos() / 1_000_000_000).unwrap_or(usize::MAX)
}

/// Whole seconds after a phase's end from which on every second of the next phase is normal: of whoever arrives in it, 99 of
/// 100 are served, with a 99th percentile as the scenario says.
fn recovery(scenario: &Scenario, samples: &[Sample], phase: usize) -> Option<u32> {
    let (normal, next) = (scenario.normal_p99?, scenario.phases.get(phase + 1)?);
    let begins = Time::ZERO + next.begins;
    let mut arrived: BTreeMap<u32, Vec<&Sample>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.phase == phase + 1) {
        let second = u32::try_from(sample.intended.since(begins).as_secs()).unwrap_or(u32::MAX);
        arrived.entry(second).or_default().push(sample);
    }
    let is_normal = |samples: &[&Sample]| {
        let served: Vec<Duration> = samples
            .iter()
            .filter(|sample| in_time(scenario, sample))
            .map(|sample| sample.ended.since(sample.intended))
            .collect();
        served.len() * 100 >= samples.len() * 99 && quantiles(served).p99 <= normal
    };
    let last = *arrived.keys().next_back()?;
    match arrived.iter().rev().find(|(_, samples)| !is_normal(samples)) {
        None => Some(0),
        Some((disturbed, _)) if *disturbed < last => Some(disturbed + 1),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let spread = (1..=200).rev().map(Duration::from_millis).collect();
        let all = quantiles(spread);
        let ms = |quantile: Duration| quantile.as_millis();
        assert_eq!((ms(all.p50), ms(all.p95), ms(all.p99), ms(all.max)), (100, 190, 198, 200));
        assert_eq!(quantiles(Vec::new()), Quantiles::default());
    }

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
        let calm: Vec<Sample> = (1..6).map(|s| sample(s * 1000, 5, End::Served)).collect();
        assert_eq!(recovery(&scenario, &calm, 0), Some(0));
        let mut slow = calm.clone();
        slow.push(sample(2500, 300, End::Served));
        assert_eq!(recovery(&scenario, &slow, 0), Some(2));
        slow.push(sample(5900, 5, End::Refused));
        assert_eq!(recovery(&scenario, &slow, 0), None, "it never was");
        assert_eq!(recovery(&scenario, &calm, 1), None, "nothing comes behind the last phase");
    }
}
