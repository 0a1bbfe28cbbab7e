//! Changes of settings on the real core with made-up clients: which are called harmful, and which are not.

#[path = "../../pool/tests/stage/mod.rs"]
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use poolwarden_watch::pool::{HostId, HostSettings, Input, Limit, Time};
use poolwarden_watch::{Finding, Harm, HostView, View, Watch};
use stage::{DEFAULT, Source, Stage, settings};

const HOLD: Duration = Duration::from_millis(20);
/// The change is made after so many seconds of traffic.
const CHANGED: u64 = 40;
const RUNS: u64 = 20;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn sized(size: u32) -> HostSettings {
    settings(size, 100, |_| {})
}

/// Random holds and arrivals: `rate` a second, and after the change `then`.
fn sources(rate: f64, then: f64) -> Vec<Source> {
    let one = |rate: f64, from, until| Source { from, until, random: true, ..Source::new("app", DEFAULT, rate, HOLD) };
    vec![one(rate, Duration::ZERO, seconds(CHANGED)), one(then, seconds(CHANGED), Duration::MAX)]
}

fn view(stage: &Stage, second: u64) -> View {
    let host = HostView {
        id: HostId(0),
        name: "main".into(),
        address: "db".into(),
        port: 5432,
        snapshot: stage.host.snapshot(Time::from_nanos(stage.now)),
        facts: None,
        activity: None,
        watch_error: None,
    };
    View { now_ms: second * 1_000, hosts: vec![host], ..View::default() }
}

/// What is said within the minute, and after how many seconds; whether somebody waited when the change was made.
fn tried(before: &HostSettings, after: &HostSettings, rates: (f64, f64), seed: u64) -> (Option<(u64, Harm)>, bool) {
    let mut stage = Stage::new(before.clone(), sources(rates.0, rates.1), seed);
    let mut watch = Watch::default();
    for second in 1..=CHANGED {
        stage.play(seconds(second));
        watch.observe(&view(&stage, second));
    }
    let just_before = view(&stage, CHANGED);
    stage.order(Input::Apply(Box::new(after.clone())));
    let just_after = BTreeMap::from([(HostId(0), view(&stage, CHANGED).hosts.remove(0).snapshot)]);
    let mut trial = watch.try_change(&just_before, &just_after, |_| BTreeSet::new());
    for second in 1.. {
        stage.play(seconds(CHANGED + second));
        match trial.observe(&view(&stage, CHANGED + second)) {
            Finding::Going => {}
            Finding::Harmful(harm) => return (Some((second, *harm)), trial.is_open()),
            Finding::Over(effects) => {
                assert_eq!((second, effects.len()), (60, 1));
                return (None, trial.is_open());
            }
        }
    }
    unreachable!("a trial is over after a minute")
}

#[test]
fn a_pool_cut_to_a_tenth_is_harmful_within_seconds_at_any_load_it_had_served() {
    for run in 0..RUNS {
        // between 4 and 16 of 20 connections busy
        let rate = 200.0 + 30.0 * run as f64;
        let (harm, open) = tried(&sized(20), &sized(2), (rate, rate), run);
        let (after, harm) = harm.unwrap_or_else(|| panic!("run {run} at {rate}/s: nothing was said"));
        assert!(after <= 8 && !open, "run {run}: after {after} s");
        assert_eq!((harm.limit, harm.effect.after.binding), (Limit::PoolSize, Some(Limit::PoolSize)), "run {run}");
        let (then, now) = (&harm.effect.before, &harm.effect.after);
        assert!(then.waiting < 1.0 && now.waiting > 5.0 && then.window_ms >= 9_000, "run {run}: {then:?} {now:?}");
    }
}

#[test]
fn a_fix_that_is_right_is_kept_while_load_doubles() {
    for run in 0..RUNS {
        let rate = 600.0 + 15.0 * run as f64;
        let (harm, _) = tried(&sized(20), &sized(40 + run as u32), (rate, 2.0 * rate), run);
        assert_eq!(harm, None, "run {run} at {rate}/s");
    }
}

#[test]
fn a_smaller_pool_is_not_blamed_for_twice_the_load() {
    for run in 0..RUNS {
        let rate = 550.0 + 10.0 * run as f64;
        let (harm, _) = tried(&sized(20), &sized(18), (rate, 2.0 * rate), run);
        assert_eq!(harm, None, "run {run} at {rate}/s");
    }
}

#[test]
fn what_nobody_misses_may_go() {
    for run in 0..RUNS {
        let (harm, open) = tried(&sized(40), &sized(20), (300.0 + 10.0 * run as f64, 300.0 + 10.0 * run as f64), run);
        assert_eq!((harm, open), (None, false), "run {run}");
    }
}

#[test]
fn what_is_done_while_requests_wait_is_never_called_harmful() {
    for run in 0..RUNS {
        let rate = 1_200.0 + 40.0 * run as f64;
        let (harm, open) = tried(&sized(20), &sized(5), (rate, rate), run);
        assert_eq!((harm, open), (None, true), "run {run} at {rate}/s");
    }
}
