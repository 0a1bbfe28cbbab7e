//! What admission is for, played against a made-up server: weights, tenants, reserves, deadlines, overload, starving pools.

mod stage;

use std::time::Duration;

use poolwarden_pool::{ClassId, ClassSettings, Guard, HostSettings, Input, Reason, Time, Verb};
use stage::{BATCH, CRITICAL, DEFAULT, Outcome, Source, Stage, settings};

const HOLD: Duration = Duration::from_millis(20);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Twenty places of 20 ms: a thousand a second.
fn stage(sources: Vec<Source>, seed: u64) -> Stage {
    Stage::new(settings(20, 100, |_| {}), sources, seed)
}

fn held(outcomes: &[Outcome]) -> Vec<f64> {
    let all: u64 = outcomes.iter().map(|outcome| outcome.held).sum();
    outcomes.iter().map(|outcome| outcome.held as f64 / all as f64).collect()
}

#[test]
fn classes_that_compete_share_server_time_by_weight_whatever_their_holds() {
    let mut play = stage(
        vec![
            Source::new("app", CRITICAL, 3000.0, HOLD),
            Source { random: true, ..Source::new("app", DEFAULT, 3000.0, Duration::from_millis(50)) },
            Source::new("app", BATCH, 6000.0, Duration::from_millis(5)),
        ],
        7,
    );
    play.play(seconds(20));
    let shares = held(&play.outcomes);
    for (share, weight) in shares.iter().zip([8.0, 4.0, 1.0]) {
        assert!((share * 13.0 / weight - 1.0).abs() < 0.1, "{shares:?}");
    }
}

#[test]
fn what_one_class_leaves_the_others_share() {
    let mut play = stage(
        vec![
            Source::new("app", CRITICAL, 200.0, HOLD),
            Source::new("app", DEFAULT, 3000.0, HOLD),
            Source::new("app", BATCH, 3000.0, HOLD),
        ],
        3,
    );
    play.play(seconds(20));
    let shares = held(&play.outcomes);
    assert!(
        play.outcomes[0].share_served() > 0.999 && play.outcomes[0].wait(0.99) < HOLD,
        "{:?}",
        play.outcomes[0].wait(0.99)
    );
    assert!((shares[1] / shares[2] - 4.0).abs() < 0.4, "{shares:?}");
}

#[test]
fn a_spike_leaves_the_important_whole_and_the_capacity_used_and_is_over_soon() {
    for overload in [1.0, 2.5] {
        let until = seconds(30);
        let source = |class, rate: f64| Source { until, ..Source::new("app", class, rate * overload, HOLD) };
        let critical = Source { until: seconds(60), ..Source::new("app", CRITICAL, 300.0, HOLD) };
        let after = Source { from: until, ..Source::new("app", DEFAULT, 400.0, HOLD) };
        let mut play = stage(vec![critical, source(DEFAULT, 1700.0), source(BATCH, 2000.0), after], 11);
        play.play(seconds(60));
        let critical = &play.outcomes[0];
        assert!(critical.share_served() >= 0.99, "{}", critical.share_served());
        assert!(critical.wait(0.99) + HOLD <= HOLD * 5, "{:?}", critical.wait(0.99));
        for second in 2..30 {
            let goodput: u64 = play.outcomes.iter().map(|o| o.by_second.get(second).copied().unwrap_or(0)).sum();
            assert!(goodput >= 950, "second {second}: {goodput}");
        }
        assert!(play.outcomes[2].refused.values().sum::<u64>() > 20_000, "{:?}", play.outcomes[2].refused);
        // ten seconds after its end nobody is refused, and nobody waits long
        let before = play.outcomes[3].clone();
        play.outcomes.iter_mut().for_each(|outcome| *outcome = Outcome::default());
        play.play(seconds(90));
        assert!(before.share_served() > 0.95, "{} {:?}", before.share_served(), before.refused);
        assert!(play.outcomes[3].share_served() > 0.999 && play.outcomes[3].wait(0.99) < HOLD);
    }
}

#[test]
fn a_burst_that_can_be_served_in_time_is_served_whole() {
    // 1,500 at once into 1,000 a second with 2 s of patience: the last waits for 1.5 s.
    let burst = Source { until: Duration::from_millis(10), ..Source::new("app", DEFAULT, 150_000.0, HOLD) };
    let mut play = stage(vec![burst], 5);
    play.play(seconds(5));
    assert!(play.outcomes[0].offered > 1300);
    assert_eq!(play.outcomes[0].share_served(), 1.0, "{:?}", play.outcomes[0].refused);
}

#[test]
fn a_retry_storm_costs_no_goodput_and_ends_with_its_cause() {
    let storm = Source { retries: 3, until: seconds(20), ..Source::new("app", DEFAULT, 4000.0, HOLD) };
    let calm = Source { from: seconds(25), retries: 3, ..Source::new("app", DEFAULT, 500.0, HOLD) };
    let mut play = stage(vec![storm, calm], 9);
    play.play(seconds(40));
    for second in 2..20 {
        let goodput = play.outcomes[0].by_second[second];
        assert!(goodput >= 900, "second {second}: {goodput}");
    }
    assert_eq!(play.outcomes[1].share_served(), 1.0, "{:?}", play.outcomes[1].refused);
    let hints = &play.outcomes[0].hints;
    let different: std::collections::BTreeSet<_> = hints.iter().collect();
    assert!(different.len() > 100 && hints.iter().all(|hint| !hint.is_zero()), "hints carry jitter");
}

#[test]
fn first_arrivals_go_before_retries_and_hints_grow() {
    let again = Source { retries: 200, ..Source::new("app", DEFAULT, 1500.0, HOLD) };
    let mut play = stage(vec![again], 2);
    play.play(seconds(10));
    let class = &play.host.snapshot(Time::from_nanos(play.now)).pools[0].classes[0];
    assert!(class.reattempts > 100, "{class:?}");
    let first: Vec<_> = play.outcomes[0].hints.iter().take(50).collect();
    let longest = play.outcomes[0].hints.iter().max();
    assert!(longest > first.iter().max().copied(), "{longest:?} {first:?}");
}

#[test]
fn a_noisy_tenant_takes_no_more_than_its_share() {
    let noisy = Source { tenant: 1, ..Source::new("app", DEFAULT, 5000.0, HOLD) };
    let quiet = Source { tenant: 2, ..Source::new("app", DEFAULT, 200.0, HOLD) };
    let mut play = stage(vec![noisy, quiet], 4);
    play.play(seconds(20));
    assert!(play.outcomes[1].share_served() > 0.999, "{:?}", play.outcomes[1].refused);
    assert!(play.outcomes[1].wait(0.99) < HOLD, "{:?}", play.outcomes[1].wait(0.99));
}

#[test]
fn a_slow_tenants_storm_does_not_slow_the_others() {
    for seed in 1..=5 {
        let quiet = Source { tenant: 2, random: true, ..Source::new("app", DEFAULT, 200.0, HOLD) };
        let slow =
            Source { tenant: 1, from: seconds(10), ..Source::new("app", DEFAULT, 100.0, Duration::from_secs(1)) };
        let mut calm = stage(vec![quiet.clone()], seed);
        calm.play(seconds(60));
        let mut storm = stage(vec![quiet, slow], seed);
        storm.play(seconds(60));
        let (calm, storm) = (&calm.outcomes[0], &storm.outcomes[0]);
        assert!(storm.share_served() > 0.999, "{:?}", storm.refused);
        let worse = (storm.wait(0.99) + HOLD * 4).as_secs_f64() / (calm.wait(0.99) + HOLD * 4).as_secs_f64();
        assert!(worse < 1.5, "seed {seed}: p99 of waits {:?} instead of {:?}", storm.wait(0.99), calm.wait(0.99));
    }
}

#[test]
fn who_cannot_be_served_in_time_is_told_at_once() {
    let usual = Source::new("app", DEFAULT, 990.0, HOLD);
    let load = Source { until: seconds(3), ..Source::new("app", DEFAULT, 400.0, HOLD) };
    let hurried = Source {
        deadline: Some(Duration::from_millis(50)),
        from: seconds(2),
        until: seconds(3),
        ..Source::new("app", DEFAULT, 100.0, HOLD)
    };
    let mut play = stage(vec![usual, load, hurried], 6);
    play.play(seconds(6));
    let hurried = &play.outcomes[2];
    assert!(hurried.refusals(Reason::Hopeless) > 20, "{:?}", hurried.refused);
    assert!(hurried.wait(1.0) <= Duration::from_millis(50));
}

#[test]
fn a_reserve_is_kept_where_a_rule_assigns_the_class_and_never_takes_the_last_place() {
    let reserved = |size: u32, assigned: bool| {
        settings(size, 100, |settings| {
            settings.classes[usize::from(CRITICAL.0)].reserve = 3;
            if assigned {
                settings.databases.get_mut("app").expect("it is there").classes.push(CRITICAL);
            }
        })
    };
    let slow = |rate| Source::new("app", DEFAULT, rate, seconds(1));
    let critical = Source { from: seconds(2), ..Source::new("app", CRITICAL, 20.0, HOLD) };
    let play = |settings, size: f64| {
        let mut play = Stage::new(settings, vec![slow(size * 4.0), critical.clone()], 8);
        play.play(seconds(30));
        play.outcomes[1].wait(0.9)
    };
    assert_eq!(play(reserved(20, true), 20.0), Duration::ZERO, "three places wait for it");
    assert!(play(reserved(20, false), 20.0) > Duration::ZERO, "nobody said that it comes here");
    for size in [1, 2] {
        let mut small = Stage::new(reserved(size, true), vec![slow(0.5), critical.clone()], 8);
        small.play(seconds(30));
        assert!(
            small.outcomes.iter().all(|outcome| outcome.share_served() > 0.5),
            "size {size}: every class is served"
        );
    }
}

#[test]
fn a_pool_of_one_serves_every_class() {
    let every = [DEFAULT, BATCH, CRITICAL].map(|class| Source::new("app", class, 10.0, HOLD));
    let mut play = Stage::new(settings(1, 100, |_| {}), every.to_vec(), 1);
    play.play(seconds(20));
    for outcome in &play.outcomes {
        assert_eq!(outcome.share_served(), 1.0, "{:?}", outcome.refused);
    }
}

#[test]
fn pools_that_share_a_budget_get_it_by_what_their_classes_weigh() {
    let mut play = Stage::new(
        settings(20, 20, |_| {}),
        vec![
            Source::new("etl", BATCH, 2000.0, HOLD),
            Source { from: seconds(2), ..Source::new("web", CRITICAL, 300.0, HOLD) },
            Source { from: seconds(4), ..Source::new("api", DEFAULT, 1700.0, HOLD) },
        ],
        12,
    );
    play.play(seconds(34));
    let critical = &play.outcomes[1];
    assert!(critical.share_served() >= 0.99, "{} {:?}", critical.share_served(), critical.refused);
    assert!(critical.wait(0.99) <= HOLD * 4, "{:?}", critical.wait(0.99));
    let later = |outcome: &Outcome| outcome.by_second[10..30].iter().sum::<u64>() as f64;
    let (etl, api) = (later(&play.outcomes[0]), later(&play.outcomes[2]));
    assert!(etl > 20.0 * 40.0 && api > 2.0 * etl, "nobody starves: {etl} {api}");
    // What one pool keeps idle for a moment another cannot use without a new connection.
    assert!(etl + api + later(critical) > 20.0 * 850.0, "the budget is used: {}", etl + api + later(critical));
    assert!(play.most_open <= 20, "{}", play.most_open);
    assert!(
        play.host.snapshot(Time::from_nanos(play.now)).evicted < 500,
        "connections are not moved to and fro: {}",
        play.host.snapshot(Time::from_nanos(play.now)).evicted
    );
}

#[test]
fn an_operator_sheds_a_class_and_takes_it_back() {
    let sources = vec![Source::new("app", BATCH, 100.0, HOLD), Source::new("app", DEFAULT, 100.0, HOLD)];
    let mut play = stage(sources, 1);
    play.play(seconds(1));
    play.host.handle(Time::from_nanos(play.now), Input::Shed(BATCH, Time::from_nanos(4_000_000_000)));
    play.play(seconds(2));
    assert_eq!(play.host.snapshot(Time::from_nanos(play.now)).shed, [(BATCH, seconds(2))]);
    play.host.handle(Time::from_nanos(play.now), Input::Shed(BATCH, Time::ZERO));
    play.play(seconds(3));
    let shed = play.outcomes[0].refusals(Reason::Shed);
    assert!((70..140).contains(&shed), "one second of it: {shed}");
    assert!(play.outcomes[1].refused.is_empty());
    play.host.handle(Time::from_nanos(play.now), Input::Shed(BATCH, Time::from_nanos(4_000_000_000)));
    play.play(seconds(6));
    assert!((70..140).contains(&(play.outcomes[0].refusals(Reason::Shed) - shed)), "it ends by itself");
}

#[test]
fn observing_refuses_for_nothing_but_the_bounds_and_counts_what_it_would_have() {
    let observe = settings(20, 100, |settings| settings.guard = Guard::Observe);
    let sources = vec![Source::new("app", DEFAULT, 3000.0, HOLD), Source::new("app", CRITICAL, 300.0, HOLD)];
    let mut play = Stage::new(observe, sources, 1);
    play.play(seconds(20));
    for outcome in &play.outcomes {
        assert!(outcome.refused.keys().all(|reason| ["time", "queue"].contains(reason)), "{:?}", outcome.refused);
    }
    assert!(play.outcomes[1].wait(0.5) > seconds(1), "first in, first out");
    let classes = &play.host.snapshot(Time::from_nanos(play.now)).pools[0].classes;
    let would: u64 = classes.iter().flat_map(|class| class.would_refuse).sum();
    assert!(would > 1000, "{classes:?}");
}

#[test]
fn settings_change_what_classes_weigh_at_once() {
    let sources = vec![Source::new("app", CRITICAL, 3000.0, HOLD), Source::new("app", DEFAULT, 3000.0, HOLD)];
    let mut play = stage(sources, 1);
    play.play(seconds(5));
    let even = settings(20, 100, |settings| {
        settings.classes = ["default", "batch", "critical"].map(|name| ClassSettings::new(name, 1)).to_vec();
    });
    play.host.handle(Time::from_nanos(play.now), Input::Apply(Box::new(even)));
    play.outcomes.iter_mut().for_each(|outcome| *outcome = Outcome::default());
    play.play(seconds(25));
    let shares = held(&play.outcomes);
    assert!((shares[0] - 0.5).abs() < 0.05, "{shares:?}");
}

/// Everything at once, by chance: classes with reserves, tenants, deadlines, retries, who gives up, changed settings, pauses, sheds.
#[test]
fn whatever_comes_the_invariants_hold_and_everybody_is_answered() {
    for seed in 1..=60 {
        let mut play = chaos(seed);
        for step in 1..=400_u64 {
            play.play(Duration::from_millis(step * 10));
            match play.below(40) {
                0 => play.order(Input::Admin(Verb::Pause, None)),
                1 => play.order(Input::Admin(Verb::Resume, None)),
                2 => {
                    let class = ClassId(play.below(4) as u8);
                    let until = Time::from_nanos(play.now + 50_000_000 * u64::from(play.below(3)));
                    play.order(Input::Shed(class, until));
                }
                3 => {
                    let changed = chance_settings(&mut play);
                    play.order(Input::Apply(Box::new(changed)));
                }
                4..10 => play.give_up(),
                _ => {}
            }
            play.host.check_invariants();
        }
        play.order(Input::Admin(Verb::Resume, None));
        play.sources.iter_mut().for_each(|source| source.until = Duration::ZERO);
        play.play(seconds(200));
        assert!(play.nobody_waits(), "seed {seed}: somebody is neither served nor refused");
    }
}

fn chance_settings(play: &mut Stage) -> HostSettings {
    let (size, budget) = (1 + play.below(6), 1 + play.below(12));
    let reserves = [play.below(3), play.below(3), play.below(4)];
    let (assigned, observe) = (play.below(3), play.below(8) == 0);
    settings(size, budget, |settings| {
        settings.guard = if observe { Guard::Observe } else { Guard::Enforce };
        for (class, reserve) in settings.classes.iter_mut().zip(reserves) {
            class.reserve = reserve;
        }
        let app = settings.databases.get_mut("app").expect("it is there");
        app.classes = [DEFAULT, BATCH, CRITICAL].into_iter().take(assigned as usize).collect();
        app.max_wait = Duration::from_millis(300);
    })
}

fn chaos(seed: u64) -> Stage {
    let hold = |millis| Duration::from_millis(millis);
    let sources = vec![
        Source { random: true, retries: 2, ..Source::new("a", DEFAULT, 150.0, hold(20)) },
        Source { tenant: 1, random: true, ..Source::new("a", DEFAULT, 30.0, hold(200)) },
        Source { tenant: 2, deadline: Some(hold(30)), ..Source::new("a", CRITICAL, 100.0, hold(5)) },
        Source { retries: 3, ..Source::new("b", BATCH, 200.0, hold(10)) },
        Source { tenant: 3, ..Source::new("b", CRITICAL, 50.0, hold(10)) },
        Source { tenant: 4, ..Source::new("b", ClassId(77), 20.0, hold(10)) },
    ];
    let mut play = Stage::new(settings(4, 6, |_| {}), sources, seed);
    let changed = chance_settings(&mut play);
    play.order(Input::Apply(Box::new(changed)));
    play
}
