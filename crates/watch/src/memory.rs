//! What is remembered of one pool: the last seconds one by one, and what was usual while all was calm.

use std::collections::VecDeque;

use poolwarden_pool::{Limit, PoolSnapshot};

use crate::occupancy::{Hindsight, Yardstick};
use crate::span::{Span, quantile_us};
use crate::trial::Past;

/// The answer is about so many seconds, or as many of them as somebody has waited.
const WINDOW_MS: u64 = 10_000;
/// A window is no shorter than this, so that a rate is one.
const SHORTEST_MS: u64 = 1_500;
/// What is usual is known after so much calm traffic.
const KNOWN_US: u64 = 5_000_000;
const KNOWN_LEASES: u64 = 20;
/// Two minutes of pictures, one a second: what a person remembers of a screen.
const DEMANDS: usize = 120;
/// And forgets with this time constant.
const FORGETS_US: u64 = 300_000_000;
/// Statements that have had less than one in so many leases beside the one that is held against them say nothing of what is usual:
/// a health check beside the work.
const OTHERS: u64 = 4;
/// Held against other statements alone, none is called slow that takes less than five times this: nobody would call it so.
const QUICK_US: f64 = 50_000.0;
/// Growth of traffic is told from a beginning only after so much calm: less is not what a person would call usual.
pub(crate) const USUAL_TRAFFIC_US: u64 = 600_000_000;
/// Requests that wait less than this are not called waiting: it is shorter than anybody notices.
pub(crate) const NOTICED_MS: u64 = 100;
/// But if somebody always waits for so long, it is: that is no burst.
const CROWDED_MS: u64 = 3_000;
/// As a mean over the window, likewise.
pub(crate) const NOTICED_MEAN_US: f64 = 50_000.0;

/// Sums over calm seconds, older ones fading.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usual {
    /// How much calm traffic was seen, without fading.
    seen_us: u64,
    seen_leases: u64,
    long_us: f64,
    arrivals: f64,
    lent_us: f64,
    leases: f64,
    hold: [f64; 16],
}

impl Usual {
    fn learn(&mut self, span: &Span) {
        let keep = (-(span.long_us as f64) / FORGETS_US as f64).exp();
        for (sum, new) in [
            (&mut self.long_us, span.long_us),
            (&mut self.arrivals, span.arrivals()),
            (&mut self.lent_us, span.lent_us),
            (&mut self.leases, span.leases),
        ] {
            *sum = *sum * keep + new as f64;
        }
        for (sum, new) in self.hold.iter_mut().zip(&span.hold) {
            *sum = *sum * keep + *new as f64;
        }
        self.seen_us += span.long_us;
        self.seen_leases += span.leases;
    }

    pub(crate) fn is_known(&self) -> bool {
        self.seen_us >= KNOWN_US && self.seen_leases >= KNOWN_LEASES
    }

    /// Mean hold, in microseconds.
    pub(crate) fn hold_us(&self) -> Option<f64> {
        (self.is_known() && self.leases > 0.0).then(|| self.lent_us / self.leases)
    }

    /// Arrivals per second, where they were seen for long enough to be called usual.
    pub(crate) fn arrivals(&self) -> Option<f64> {
        (self.seen_us >= USUAL_TRAFFIC_US && self.long_us > 0.0).then(|| self.arrivals * 1e6 / self.long_us)
    }

    pub(crate) fn seen_us(&self) -> u64 {
        self.seen_us
    }

    fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let whole = self.hold.map(|count| (count * 1_000.0) as u64);
        self.is_known().then(|| quantile_us(&whole, quantile)).flatten()
    }
}

/// One pool's past.
#[derive(Debug)]
pub(crate) struct Memory {
    last: PoolSnapshot,
    last_ms: u64,
    spans: VecDeque<Span>,
    pub(crate) usual: Usual,
    /// Since when somebody has waited noticeably, or was refused, without a calm second between.
    pub(crate) troubled_since_ms: Option<u64>,
    /// Since when somebody has always waited, if only for a part of a usual hold.
    crowded_since_ms: Option<u64>,
    /// When a lease ended last, as far as is known.
    pub(crate) ended_ms: u64,
    /// How long leases are whose longest statement is another one than that which holds connections most of the time.
    others_us: Option<f64>,
    /// Exponential mean of lent + waiting over half a minute: demand, never clamped.
    pub(crate) demand: f64,
    /// Lent + waiting in each of the last [`DEMANDS`] spans, oldest first.
    pub(crate) demands: VecDeque<u32>,
}

impl Memory {
    pub(crate) fn new(first: PoolSnapshot, now_ms: u64) -> Self {
        Self {
            last: first,
            last_ms: now_ms,
            spans: VecDeque::new(),
            usual: Usual::default(),
            troubled_since_ms: None,
            crowded_since_ms: None,
            ended_ms: now_ms,
            others_us: None,
            demand: 0.0,
            demands: VecDeque::new(),
        }
    }

    /// Takes how often each statement was the longest of a lease, and how long those leases were together, microseconds.
    pub(crate) fn compare(&mut self, statements: Vec<(u64, u64)>) {
        self.others_us = others_us(statements);
    }

    /// How long leases of this pool usually are, or have been within the window where nothing is usual yet. Then the statements are
    /// held against each other as well: where one of them takes most leases, half of all leases may be slow.
    pub(crate) fn yardstick(&self) -> Yardstick {
        let recent = self.spans.iter().fold(Span::default(), |sum, span| sum.plus(span));
        let enough = recent.leases >= KNOWN_LEASES;
        let median = || {
            let all = enough.then(|| quantile_us(&recent.hold, 0.5)).flatten();
            all.into_iter().chain(self.others_us).min_by(f64::total_cmp)
        };
        let (lately, usually) = (quantile_us(&recent.hold, 1.0), self.usual.quantile_us(0.99));
        Yardstick {
            median_us: self.usual.quantile_us(0.5).or_else(median),
            longest_us: lately.into_iter().chain(usually).max_by(f64::total_cmp),
        }
    }

    /// The last seconds together, and whether they were troubled: what a change is held against.
    pub(crate) fn past(&self) -> Past {
        let window = self.spans.iter().fold(Span::default(), |sum, span| sum.plus(span));
        Past { window, is_troubled: self.troubled_since_ms.is_some() }
    }

    /// The span since the last picture.
    pub(crate) fn newest(&self, now: &PoolSnapshot, now_ms: u64) -> Span {
        let mut span = Span::between(&self.last, now);
        span.ended_ms = now_ms;
        span.long_us = now_ms.saturating_sub(self.last_ms) * 1_000;
        span
    }

    /// Takes a whole span and the snapshot at its end.
    pub(crate) fn take(&mut self, span: Span, now: PoolSnapshot) {
        let (now_ms, seconds) = (span.ended_ms, span.long_us as f64 / 1e6);
        let began_ms = now_ms.saturating_sub(span.long_us / 1_000);
        if always_waits(&span, &now) {
            self.crowded_since_ms.get_or_insert(began_ms);
        } else {
            self.crowded_since_ms = None;
        }
        let crowded = self.crowded_since_ms.filter(|since| now_ms.saturating_sub(*since) >= CROWDED_MS);
        match crowded {
            Some(since) => {
                self.troubled_since_ms = Some(self.troubled_since_ms.map_or(since, |known| known.min(since)))
            }
            None if is_troubled(&span, &now) => drop(self.troubled_since_ms.get_or_insert(began_ms)),
            None => self.troubled_since_ms = None,
        }
        if span.leases > 0 {
            self.ended_ms = now_ms;
        }
        let keep = if self.demand == 0.0 { 0.0 } else { (-seconds / 30.0).exp() };
        self.demands.push_back((span.lent() + span.waiting()).ceil() as u32);
        if self.demands.len() > DEMANDS {
            self.demands.pop_front();
        }
        self.demand = self.demand * keep + (span.lent() + span.waiting()) * (1.0 - keep);
        (self.last, self.last_ms) = (now, now_ms);
        self.spans.push_back(span);
        let old = now_ms.saturating_sub(WINDOW_MS);
        while self.spans.front().is_some_and(|span| span.ended_ms <= old) {
            let gone = self.spans.pop_front();
            // what led to trouble is not what is usual: it is learnt only when nothing came of it
            if let Some(gone) = gone.filter(|gone| self.troubled_since_ms.is_none() && gone.waiting() < 0.5) {
                self.usual.learn(&gone);
            }
        }
    }

    /// What the answer is about: the last seconds, `newest` included, but nothing from before `changed_ms`, when settings were changed.
    /// What is known of the leases by hindsight is put right in earlier seconds.
    pub(crate) fn window(&self, newest: Span, changed_ms: u64, hindsight: &Hindsight) -> Span {
        let now_ms = newest.ended_ms;
        let from = self.troubled_since_ms.unwrap_or(now_ms).min(now_ms.saturating_sub(SHORTEST_MS));
        let from = from.max(now_ms.saturating_sub(WINDOW_MS)).max(changed_ms);
        let yard = self.yardstick();
        let troubled = self.troubled_since_ms.is_some();
        let recent = self.spans.iter().rev().take_while(|span| !troubled || span.ended_ms > from);
        recent.fold(newest, |sum, span| {
            let mut corrected = span.clone();
            hindsight.correct(&mut corrected.occupancy, span.ended_ms, yard);
            sum.plus(&corrected)
        })
    }

    /// The limit for which most was waited in the last moments, `newest` included.
    pub(crate) fn binding(&self, newest: &Span) -> Option<Limit> {
        let last = self.spans.back().map_or_else(|| newest.clone(), |last| newest.plus(last));
        let most =
            Limit::ALL.into_iter().max_by_key(|limit| (last.waited_us[limit.index()], usize::MAX - limit.index()))?;
        (last.waited_us[most.index()] > 0).then_some(most)
    }
}

/// Of the connections there are, so many must be lent in the mean to call all of them lent: handing one over takes a moment.
const ALL_LENT: f64 = 0.85;

/// Whether all was lent and somebody always waited in a span, for half as long as connections are held or longer: work is left over,
/// however quick it is. (M/M/c queues below nine tenths of their capacity do not.)
fn always_waits(span: &Span, now: &PoolSnapshot) -> bool {
    let long = span.wait_us().zip(span.hold_us()).is_some_and(|(wait, hold)| wait >= hold / 2.0);
    let lent = span.lent() >= ALL_LENT * f64::from(now.slots.counted());
    lent && long && span.waiting() >= 1.0
}

/// Whether requests waited noticeably or were refused in a span at whose end the pool was so.
pub(crate) fn is_troubled(span: &Span, now: &PoolSnapshot) -> bool {
    let oldest = u64::try_from(now.oldest_wait.as_millis()).unwrap_or(u64::MAX);
    span.refused > 0
        || (now.waiting > 0 && oldest >= NOTICED_MS)
        || span.wait_us().is_some_and(|wait| wait >= NOTICED_MEAN_US)
}

/// Half of the leases of other statements than the one that held connections longest are shorter than this, but no less than what
/// makes a statement slow for a person; `None`: those are too few to say what is usual.
fn others_us(mut statements: Vec<(u64, u64)>) -> Option<f64> {
    statements.retain(|(leases, _)| *leases > 0);
    let most = statements.iter().enumerate().max_by_key(|(_, (_, held))| *held)?.0;
    let (most_leases, _) = statements.swap_remove(most);
    let all: u64 = statements.iter().map(|(leases, _)| leases).sum();
    if all < KNOWN_LEASES / 2 || all * OTHERS < most_leases {
        return None;
    }
    let mut means: Vec<(f64, u64)> =
        statements.iter().map(|(leases, held)| (*held as f64 / *leases as f64, *leases)).collect();
    means.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut seen = 0;
    let half = means.into_iter().find(|(_, leases)| {
        seen += leases;
        seen * 2 >= all
    });
    half.map(|(mean, _)| mean.max(QUICK_US))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_statements_say_how_long_leases_usually_are() {
        // sixty slow ones of one statement, and three quick statements beside it
        let quick = [(10, 30_000), (12, 36_000), (3, 300_000)];
        let with_slow = |slow| quick.into_iter().chain([slow]).collect::<Vec<_>>();
        assert_eq!(others_us(with_slow((60, 34_000_000))), Some(QUICK_US), "3 ms is quick enough");
        assert_eq!(others_us(vec![(60, 34_000_000), (30, 2_100_000)]), Some(70_000.0));
        assert_eq!(others_us(with_slow((101, 34_000_000))), None, "they are next to nothing beside it");
        assert_eq!(others_us(vec![(60, 34_000_000)]), None, "nothing to compare with");
        assert_eq!(others_us(vec![(60, 34_000_000), (9, 9_000)]), None, "too few");
        assert_eq!(others_us(Vec::new()), None);
    }
}
