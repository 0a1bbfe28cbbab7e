//! How fast it simulates: `speed [MILLIONS]` requests of recorded traffic, and of a scenario, at a thousand a second; 86 are a day.
//! One thread. The last line is JSON.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program: its argument, its clock and its result"
)]

use std::time::{Duration, Instant};

use poolwarden_config::Config;
use poolwarden_sim::queueing;
use poolwarden_sim::recorded::{Ask, Contention, Fit, Kind, Met, Recorded, Rehearse};
use poolwarden_sim::scenario;
use poolwarden_sim::switch::pool::{ClassId, PoolKey};

const PER_SECOND: f64 = 1_000.0;
/// Recorded requests are in memory: so many at once are enough to be measured by.
const RECORDED: u32 = 5_000_000;

fn main() {
    let millions: f64 = std::env::args().nth(1).map_or(86.4, |text| text.parse().expect("a number"));
    let seconds = millions * 1e6 / PER_SECOND;
    let text = format!(
        "[scenario]\nname = \"day\"\nseed = 5\nduration = \"{seconds:.0}s\"\n[pool]\nbudget = 40\nsize = 30\nmin_size = 30\n\
         [[load]]\nname = \"web\"\nclients = 2000\nrate = \"{PER_SECOND}/s\"\nshape = {{ kind = \"sine\", period = \"6h\", depth = 0.4 }}\n\
         hold = {{ p50 = \"15ms\", p99 = \"60ms\" }}\n"
    );
    let scenario = scenario::read(&text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let (config, findings) = Config::parse(&scenario.pooler, |_| Err("no secrets".to_owned()));
    let config = config.unwrap_or_else(|| panic!("{findings:#?}"));
    let began = Instant::now();
    let played = queueing::play(&scenario, &config).unwrap_or_else(|why| panic!("{why}"));
    let (of_scenario, day_s) = (played.course.pools[0].asked, began.elapsed().as_secs_f64());

    let recorded = recorded();
    let fit = Fit { contention: Contention::Alone, gain: 0.0, leases: 0, concurrency: 0 };
    let settings = config.host_settings(0);
    let rehearse = Rehearse {
        recorded: &recorded,
        fit: &fit,
        settings,
        seed: 1,
        step: Duration::from_secs(10),
        spares: false,
        keeps: false,
    };
    let began = Instant::now();
    let rehearsal = rehearse.play(&mut |_| ()).unwrap_or_else(|why| panic!("{why}"));
    let replay_s = began.elapsed().as_secs_f64();
    let asked = rehearsal.course.pools[0].asked;
    println!(
        "{{\"scenario\":{{\"requests\":{of_scenario},\"seconds\":{day_s:.2},\"per_second\":{:.0}}},\
         \"recorded\":{{\"requests\":{asked},\"seconds\":{replay_s:.2},\"per_second\":{:.0}}}}}",
        of_scenario as f64 / day_s,
        asked as f64 / replay_s
    );
}

/// Requests at an even chance, each with its hold.
fn recorded() -> Recorded {
    let mut state = 7_u64;
    let mut share = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut at_us = 0.0;
    let asks: Vec<Ask> = (0..RECORDED)
        .map(|n| {
            at_us += -(1.0 - share()).ln() * 1e6 / PER_SECOND;
            Ask {
                arrived_us: at_us as u64,
                held_us: 0,
                alone_ns: (-(1.0 - share()).ln() * 20e6) as u64 + 1_000,
                waited_us: 0,
                idle_us: 0,
                client: n % 5_000,
                met: Met::Granted,
                is_retry: false,
            }
        })
        .collect();
    Recorded {
        pools: vec![PoolKey { database: "app".into(), user: "app".into() }],
        kinds: vec![Kind { pool: 0, class: ClassId(0), tenant: 1 }],
        clients: vec![0; 5_000],
        lasts: Duration::from_micros(at_us as u64 + 1),
        asks,
        open: vec![30],
        connects: vec![Duration::from_millis(5)],
    }
}
