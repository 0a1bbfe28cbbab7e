//! How work slowed work while it was recorded: by processors that all share, behind a lock, or not at all.
//!
//! Each model says how much work each request brought, given what ran beside it. The one that makes the recorded hold times
//! likeliest is taken. The likelihood of a hold time is that of its work times how fast the work went on when it ended (the change
//! of variables); work has whatever distribution it has within its kind, as a histogram of its logarithms. What is slowed by
//! something else than these is not found.

use std::ops::Range;

use super::Recorded;
use crate::queueing::Sharing;

/// Requests looked at in one go.
const CHUNK: usize = 10_000;
/// And so many before and behind, that only ran beside them.
const BESIDE: usize = 1_000;
/// So many of the busiest goes, and so many of all.
const CHUNKS: usize = 5;
/// A model has to make each hold likelier by this much (in natural logarithms) than that work is slowed by nothing.
const GAIN: f64 = 0.01;
/// And all of them together by this.
const GAIN_OF_ALL: f64 = 20.0;
/// Hold times are not known better than this, relatively: a smaller spread of work is none.
const NOISE: f64 = 0.02;
/// No work is taken to be shorter, in microseconds: times are whole ones, and thousands share at most.
const SHORTEST_US: f64 = 1e-4;
/// Nobody overtakes in a queue. This share may seem to, by what clocks and threads add.
const MOST_OVERTAKE: f64 = 0.01;
/// Most places of a queue that are tried.
const MOST_PLACES: u32 = 4;
/// What is tried for how much each further one slows the others, in parts of what would leave the throughput as it is. More makes
/// less of it get done by more, which happens, and never by leaps: what looks like a leap is something else that came and went.
const SLOPES: [f64; 7] = [0.1, 0.2, 0.4, 0.6, 0.8, 1.0, STEEPEST];
const STEEPEST: f64 = 1.25;
/// Rounds of closer looks.
const ROUNDS: usize = 12;

/// What slows work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contention {
    /// Nothing.
    Alone,
    /// All share something, evenly.
    Shared(Sharing),
    /// So many at once, the others wait in the order in which they came.
    Queue(u32),
}

/// How work slowed work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// In which way.
    pub contention: Contention,
    /// By how much it makes each hold likelier than if nothing did, in natural logarithms.
    pub gain: f64,
    /// From so many leases.
    pub leases: u64,
    /// The most connections that did work at once, but for one in a thousand: beyond, nothing is known.
    pub concurrency: u32,
}

/// A stretch of granted requests, as beginnings and ends of work in order of time.
#[derive(Debug)]
struct Stretch {
    /// Time in microseconds, whether it begins, and which.
    events: Vec<(u64, bool, u32)>,
    /// The kind of each.
    kinds: Vec<u32>,
    /// Which of them are looked at; the others ran beside them.
    counted: Range<u32>,
}

impl Fit {
    /// The likeliest.
    #[must_use]
    pub fn of(recorded: &Recorded) -> Self {
        let stretches = stretches(recorded);
        let leases: usize = stretches.iter().map(|stretch| stretch.counted.len()).sum();
        let concurrency = concurrency(&stretches);
        let judge = |contention| likelihood(&stretches, recorded.kinds.len(), contention);
        let alone = judge(Contention::Alone);
        let mut best = (alone, Contention::Alone);
        let mut try_one = |contention| {
            let likelihood = judge(contention);
            if likelihood > best.0 {
                best = (likelihood, contention);
                return true;
            }
            false
        };
        (1..=MOST_PLACES.min(concurrency)).for_each(|places| {
            try_one(Contention::Queue(places));
        });
        let mut shared = Sharing { free: 1.0, slope: 0.0 };
        let mut free = 1.0;
        while free <= f64::from(concurrency) {
            for slope in SLOPES {
                let sharing = Sharing { free, slope: slope / free };
                if try_one(Contention::Shared(sharing)) {
                    shared = sharing;
                }
            }
            free = (free * 1.4_f64).max(free + 1.0).floor();
        }
        let mut step = 0.5;
        for _ in 0..ROUNDS {
            let Sharing { free, slope } = shared;
            let near = [
                (free - step, slope),
                (free + step, slope),
                (free, slope * (1.0 - step / 4.0)),
                (free, slope * (1.0 + step / 4.0)),
            ];
            let found = near
                .into_iter()
                .filter(|(free, slope)| *free >= 1.0 && *slope > 0.0 && slope * free <= STEEPEST)
                .find(|(free, slope)| try_one(Contention::Shared(Sharing { free: *free, slope: *slope })));
            match found {
                Some((free, slope)) => shared = Sharing { free, slope },
                None => step /= 2.0,
            }
        }
        let gain = (best.0 - alone) / (leases.max(1) as f64);
        let is_worth = gain > GAIN && best.0 - alone > GAIN_OF_ALL;
        let contention = if is_worth { best.1 } else { Contention::Alone };
        Self { contention, gain: if is_worth { gain } else { 0.0 }, leases: leases as u64, concurrency }
    }

    /// Finds out how much work each request brought; of who was never granted it is drawn.
    pub fn prepare(&self, recorded: &mut Recorded, seed: u64) {
        let all: Vec<usize> = granted(recorded, 0..recorded.asks.len()).collect();
        let stretch = stretch(recorded, &all, 0..all.len());
        let mut works = vec![0.0; all.len()];
        each_work(&stretch, self.contention, |which, work_us, _| works[which as usize] = work_us);
        for (place, work_us) in all.into_iter().zip(works) {
            recorded.asks[place].alone_ns = (work_us * 1e3).round() as u64;
        }
        recorded.draw(seed);
    }
}

fn granted(recorded: &Recorded, range: Range<usize>) -> impl Iterator<Item = usize> + '_ {
    range.filter(|place| recorded.asks[*place].met == super::Met::Granted)
}

/// The busiest goes, and some of all.
fn stretches(recorded: &Recorded) -> Vec<Stretch> {
    let all: Vec<usize> = granted(recorded, 0..recorded.asks.len()).collect();
    let chunks = all.len().div_ceil(CHUNK);
    let range = |chunk: usize| chunk * CHUNK..((chunk + 1) * CHUNK).min(all.len());
    let busy = |chunk: usize| {
        let places = &all[range(chunk)];
        let held: u64 = places.iter().map(|place| recorded.asks[*place].held_us).sum();
        let ends =
            [places.first(), places.last()].map(|place| place.map_or(0, |place| recorded.asks[*place].arrived_us));
        held as f64 / (ends[1] - ends[0]).max(1) as f64
    };
    let mut busiest: Vec<(f64, usize)> = (0..chunks).map(|chunk| (busy(chunk), chunk)).collect();
    busiest.sort_by(|a, b| b.0.total_cmp(&a.0));
    let every = chunks.div_ceil(CHUNKS).max(1);
    let busiest = busiest.into_iter().take(CHUNKS).map(|(_, chunk)| chunk);
    let mut taken: Vec<usize> = busiest.chain((0..chunks).step_by(every)).collect();
    taken.sort_unstable();
    taken.dedup();
    taken.into_iter().map(|chunk| stretch(recorded, &all, range(chunk))).collect()
}

/// Those of `all` in this range, and who ran beside them.
fn stretch(recorded: &Recorded, all: &[usize], range: Range<usize>) -> Stretch {
    let from = range.start.saturating_sub(BESIDE);
    let places = &all[from..(range.end + BESIDE).min(all.len())];
    let mut events = Vec::with_capacity(2 * places.len());
    for (which, place) in (0..).zip(places) {
        let ask = &recorded.asks[*place];
        events.push((ask.granted_us(), true, which));
        events.push((ask.worked_us().max(ask.granted_us() + 1), false, which));
    }
    // Ends before beginnings: a connection that comes back goes on in the same moment.
    events.sort_unstable_by_key(|(at, begins, which)| (*at, *begins, *which));
    let kinds = places.iter().map(|place| recorded.clients[recorded.asks[*place].client as usize]).collect();
    let at = |place: usize| (place - from) as u32; // below the length of a stretch
    Stretch { events, kinds, counted: at(range.start)..at(range.end) }
}

/// How many did work at once when one more began, but for one in a thousand.
fn concurrency(stretches: &[Stretch]) -> u32 {
    let mut found = Vec::new();
    for stretch in stretches {
        let mut running = 0_u32;
        for (_, begins, _) in &stretch.events {
            running = if *begins { running + 1 } else { running - 1 };
            if *begins {
                found.push(running);
            }
        }
    }
    found.sort_unstable();
    found.get((found.len() * 999 / 1000).min(found.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// Tells of each request which it is, its work in microseconds, and how fast that went on when it ended. How many cannot have
/// been so.
fn each_work(stretch: &Stretch, contention: Contention, mut told: impl FnMut(u32, f64, f64)) -> u64 {
    match contention {
        Contention::Alone => {
            let mut begun = vec![0; stretch.kinds.len()];
            for (at, begins, which) in &stretch.events {
                if *begins {
                    begun[*which as usize] = *at;
                } else {
                    told(*which, (at - begun[*which as usize]) as f64, 1.0);
                }
            }
        }
        Contention::Shared(sharing) => {
            let (mut done, mut before, mut running) = (0.0, 0, 0.0);
            let mut begun = vec![0.0; stretch.kinds.len()];
            for (at, begins, which) in &stretch.events {
                let slowness = sharing.slowness(running);
                done += (at - before) as f64 / slowness;
                before = *at;
                if *begins {
                    begun[*which as usize] = done;
                    running += 1.0;
                } else {
                    told(*which, done - begun[*which as usize], 1.0 / slowness);
                    running -= 1.0;
                }
            }
        }
        Contention::Queue(places) => return each_queued(stretch, places as usize, told),
    }
    0
}

/// Behind a queue of so many places, in the order in which they began.
fn each_queued(stretch: &Stretch, places: usize, mut told: impl FnMut(u32, f64, f64)) -> u64 {
    let mut overtook = 0;
    let mut waiting = std::collections::VecDeque::new();
    let mut started: Vec<Option<u64>> = vec![None; stretch.kinds.len()];
    let mut begun = vec![0; stretch.kinds.len()];
    let mut taken = 0;
    for (at, begins, which) in &stretch.events {
        if *begins {
            begun[*which as usize] = *at;
            if taken < places {
                taken += 1;
                started[*which as usize] = Some(*at);
            } else {
                waiting.push_back(*which);
            }
            continue;
        }
        let Some(from) = started[*which as usize] else {
            overtook += 1; // it ended before its turn came
            waiting.retain(|other| other != which);
            told(*which, (at - begun[*which as usize]) as f64, 1.0);
            continue;
        };
        told(*which, (at - from) as f64, 1.0);
        match waiting.pop_front() {
            Some(next) => started[next as usize] = Some(*at),
            None => taken -= 1,
        }
    }
    overtook
}

/// The logarithm of the likelihood of all hold times.
fn likelihood(stretches: &[Stretch], kinds: usize, contention: Contention) -> f64 {
    let mut logs: Vec<Vec<f64>> = vec![Vec::new(); kinds];
    let (mut all, mut impossible, mut leases) = (0.0, 0, 0);
    for stretch in stretches {
        leases += stretch.kinds.len();
        impossible += each_work(stretch, contention, |which, work_us, speed| {
            if stretch.counted.contains(&which) {
                let log = work_us.max(SHORTEST_US).ln();
                all += speed.ln() - log;
                logs[stretch.kinds[which as usize] as usize].push(log);
            }
        });
    }
    if impossible as f64 > MOST_OVERTAKE * leases as f64 {
        return f64::NEG_INFINITY;
    }
    all + logs.iter().map(|logs| likelihood_of_logs(logs)).sum::<f64>()
}

/// As a histogram has it, in bins of a quarter of the standard deviation.
fn likelihood_of_logs(logs: &[f64]) -> f64 {
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count.max(1.0);
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / count.max(1.0);
    let bin = variance.sqrt().max(NOISE) / 4.0;
    let mut places: Vec<i64> = logs.iter().map(|log| ((log - mean) / bin).round() as i64).collect();
    places.sort_unstable();
    let of_bin = |found: &[i64]| found.len() as f64 * (found.len() as f64 / (count * bin)).ln();
    places.chunk_by(|one, other| one == other).map(of_bin).sum()
}
