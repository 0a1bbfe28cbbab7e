//! What was recorded, asked again: the same under the same settings, right under others, and what is assumed is counted.

use std::time::Duration;

use poolwarden_config::Config;
use poolwarden_sim::queueing::Sharing;
use poolwarden_sim::recorded::{Ask, Contention, Fit, Kind, Met, Recorded, Rehearsal, Rehearse, resampled, scaled};
use poolwarden_sim::switch::pool::{ClassId, HostSettings, Limit, PoolKey};

/// A small generator of its own (Knuth's constants for 64 bits).
struct Dice(u64);

impl Dice {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }
}

fn settings(size: u32, more: &str) -> HostSettings {
    let text = format!(
        "[servers.main]\nhost = \"127.0.0.1\"\nmax_connections = 100\n[pools.app]\nserver = \"main\"\nsize = {size}\n{more}\n"
    );
    let (config, findings) = Config::parse(&text, |_| Err("no secrets here".to_owned()));
    config.unwrap_or_else(|| panic!("{findings:#?}\n{text}")).host_settings(0)
}

/// So many requests a second, of work with this mean, until there are `count`.
fn demand(count: u32, per_second: f64, work_us: f64, seed: u64) -> Recorded {
    let (mut dice, mut at_us) = (Dice(seed), 0.0);
    let asks = (0..count).map(|n| {
        at_us += dice.exponential(1e6 / per_second);
        let alone_ns = (dice.exponential(work_us) * 1e3) as u64 + 200_000;
        Ask {
            arrived_us: at_us as u64,
            held_us: 0,
            alone_ns,
            waited_us: 0,
            idle_us: 0,
            client: n % 4000,
            met: Met::Granted,
            is_retry: false,
        }
    });
    let asks: Vec<Ask> = asks.collect();
    Recorded {
        pools: vec![PoolKey { database: "app".into(), user: "app".into() }],
        kinds: vec![Kind { pool: 0, class: ClassId(0), tenant: 1 }],
        clients: vec![0; 4000],
        lasts: Duration::from_micros(asks.last().expect("some").arrived_us + 1),
        asks,
        open: vec![5],
        connects: vec![Duration::from_millis(3), Duration::from_millis(9)],
    }
}

fn play(recorded: &Recorded, contention: Contention, settings: &HostSettings) -> Rehearsal {
    let fit = Fit { contention, gain: 0.0, leases: 0, concurrency: 0 };
    let step = Duration::from_secs(1);
    Rehearse { recorded, fit: &fit, settings: settings.clone(), seed: 7, step, spares: true, keeps: true }
        .play(&mut |_| ())
        .unwrap_or_else(|why| panic!("{why}"))
}

/// What would have been recorded.
fn recorded(of: &Recorded, rehearsal: &Rehearsal) -> Recorded {
    let asks = rehearsal.asks.iter().map(|ask| Ask { alone_ns: 0, ..*ask }).collect();
    Recorded { asks, ..of.clone() }
}

#[test]
fn under_its_own_settings_every_request_waits_as_it_did() {
    let truth = demand(20_000, 800.0, 20_000.0, 1);
    let settings = settings(20, "");
    let first = play(&truth, Contention::Alone, &settings);
    let mut again = recorded(&truth, &first);
    let fit = Fit::of(&again);
    assert_eq!(fit.contention, Contention::Alone, "{fit:?}");
    fit.prepare(&mut again, 3);
    let second = play(&again, fit.contention, &settings);
    let waits = |of: &Rehearsal| of.asks.iter().map(|ask| (ask.arrived_us, ask.waited_us)).collect::<Vec<_>>();
    let (one, two) = (waits(&first), waits(&second));
    assert_eq!(one.len(), two.len());
    let differ = one.iter().zip(&two).filter(|(one, two)| one.1.abs_diff(two.1) > 20).count();
    assert!(differ * 200 < one.len(), "{differ} of {}", one.len()); // holds are recorded in whole microseconds
    let pool = &first.course.pools[0];
    assert!(pool.waits.quantile(0.99) > Duration::from_millis(5), "there was waiting: {:?}", pool.waits.quantiles());
    assert_eq!(pool.binding(), Some(Limit::PoolSize));
    assert_eq!((pool.asked, pool.granted), (20_000, 20_000));
    assert_eq!(pool.moments.iter().map(|moment| moment.asked).sum::<u64>(), 20_000);
}

#[test]
fn what_slows_work_is_found_and_other_settings_are_foretold_with_it() {
    let table = [
        (Contention::Shared(Sharing::of_cores(2)), 180.0, 9_000.0, (12, 6)),
        (Contention::Shared(Sharing { free: 4.0, slope: 0.1 }), 500.0, 9_000.0, (20, 9)),
        (Contention::Queue(1), 90.0, 9_000.0, (8, 4)),
        (Contention::Alone, 500.0, 15_000.0, (14, 9)),
    ];
    for (truth, per_second, work_us, (before, after)) in table {
        let of = demand(30_000, per_second, work_us, 5);
        let first = play(&of, truth, &settings(before, ""));
        let mut told = recorded(&of, &first);
        let fit = Fit::of(&told);
        let is_found = match (truth, fit.contention) {
            (Contention::Shared(one), Contention::Shared(two)) => {
                let change = |of: Sharing| of.slowness(12.0) / of.slowness(6.0);
                (change(one) / change(two) - 1.0).abs() < 0.1
            }
            (one, two) => one == two,
        };
        assert!(is_found, "{truth:?}: {fit:?}");
        fit.prepare(&mut told, 3);
        let p99 = |of: &Rehearsal| of.course.pools[0].waits.quantile(0.99).as_secs_f64();
        let (foretold, real) =
            (play(&told, fit.contention, &settings(after, "")), play(&of, truth, &settings(after, "")));
        assert!(p99(&real) > 0.005, "{truth:?}: there is waiting: {}", p99(&real));
        assert!((p99(&foretold) / p99(&real) - 1.0).abs() < 0.1, "{truth:?}: {} {}", p99(&foretold), p99(&real));
    }
}

#[test]
fn retries_of_who_is_granted_this_time_are_not_made() {
    let of = demand(6_000, 1_500.0, 20_000.0, 9);
    let strict = settings(20, "max_wait = \"50ms\"");
    let first = play(&of, Contention::Alone, &strict);
    let mut told = recorded(&of, &first);
    // Who was refused came again, 30 ms later, and was refused again.
    let again: Vec<Ask> = told
        .asks
        .iter()
        .filter(|ask| ask.met == Met::Refused)
        .map(|ask| Ask { arrived_us: ask.arrived_us + u64::from(ask.waited_us) + 30_000, is_retry: true, ..*ask })
        .collect();
    let refused = again.len() as u64;
    assert!(refused > 100, "{refused}");
    told.asks.extend(again);
    told.asks.sort_by_key(|ask| ask.arrived_us);
    let fit = Fit::of(&told);
    fit.prepare(&mut told, 3);
    assert_eq!(fit.contention, Contention::Alone, "{fit:?}");
    let wide = play(&told, fit.contention, &settings(60, ""));
    let pool = &wide.course.pools[0];
    assert_eq!(pool.refusals(), 0, "{:?} {:?}", pool.refused, pool.moments);
    assert!(wide.spared * 10 > refused * 9, "{} of {refused}", wide.spared);
    assert_eq!(wide.course.pools[0].asked + wide.spared, told.asks.len() as u64);
}

#[test]
fn a_client_has_one_request_at_a_time_and_leaves_when_it_did() {
    let mut of = demand(3_000, 1_000.0, 20_000.0, 11);
    of.clients.truncate(30);
    of.asks.iter_mut().for_each(|ask| ask.client %= 30);
    let served = play(&of, Contention::Alone, &settings(10, ""));
    assert!(served.delayed > 500 && served.course.pools[0].asked == 3_000, "{}", served.delayed);
    // (when, one more or one fewer under way), the fewer first.
    let spans = served.asks.iter().map(|ask| (ask.arrived_us, ask.arrived_us + u64::from(ask.waited_us) + ask.held_us));
    let mut edges: Vec<(u64, i32)> = spans.flat_map(|(from, until)| [(from + 1, 1), (until, -1)]).collect();
    edges.sort_unstable();
    let under_way = edges.iter().scan(0, |under_way, (_, more)| {
        *under_way += more;
        Some(*under_way)
    });
    assert_eq!(under_way.max(), Some(30), "as many at once as there are clients");
    let mut of = demand(3_000, 1_000.0, 20_000.0, 11);
    of.asks.iter_mut().for_each(|ask| (ask.met, ask.waited_us) = (Met::Left, 10_000));
    let left = play(&of, Contention::Alone, &settings(10, ""));
    let pool = &left.course.pools[0];
    assert!(pool.left > 500 && pool.waits.quantiles().max <= Duration::from_millis(11), "{:?}", pool.waits.quantiles());
    assert_eq!(pool.left + pool.granted, 3_000);
}

#[test]
fn more_of_the_same_and_other_stretches_of_it() {
    let of = demand(10_000, 1_000.0, 5_000.0, 2);
    for times in [0.5, 1.0, 1.5, 3.0] {
        let some = scaled(&of, times, 1);
        let ratio = some.asks.len() as f64 / of.asks.len() as f64;
        assert!((ratio / times - 1.0).abs() < 0.05, "{times}: {ratio}");
        assert!(some.asks.is_sorted_by_key(|ask| ask.arrived_us));
        assert!(some.asks.iter().all(|ask| some.clients.get(ask.client as usize).is_some()));
    }
    assert_eq!(scaled(&of, 1.0, 1).asks, of.asks);
    let (one, two) = (resampled(&of, Duration::from_secs(1), 1), resampled(&of, Duration::from_secs(1), 2));
    assert!(one != two && one.asks.is_sorted_by_key(|ask| ask.arrived_us));
    assert!((one.asks.len() as f64 / 10_000.0 - 1.0).abs() < 0.1);
}
