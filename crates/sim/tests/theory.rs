//! What queueing theory says holds in the simulator: a quick look at every test run; the whole of it is `cargo xtask prove theory`.

use std::time::Duration;

use poolwarden_config::Config;
use poolwarden_sim::queueing::play_after;
use poolwarden_sim::recorded::{Ask, Contention, Fit, Kind, Met, Recorded, Rehearse};
use poolwarden_sim::scenario;
use poolwarden_sim::switch::pool::{ClassId, HostSettings, PoolKey};

/// The mean wait in holds of 10 ms, and the share refused.
fn played(size: u32, rho: f64, hold: &str, pool: &str) -> (f64, f64) {
    let per_second = rho * f64::from(size) * 100.0;
    let text = format!(
        "[scenario]\nname = \"t\"\nseed = 4\nduration = \"{:.0}s\"\n[postgres]\nconnect = \"1us\"\n\
         [pool]\nbudget = {size}\nsize = {size}\nmin_size = {size}\nmax_wait = \"24h\"\nlifetime = \"0s\"\n{pool}\n\
         [[load]]\nname = \"web\"\nclients = 5000\nrate = \"{per_second}/s\"\nhold = {{ {hold} }}\n",
        100_000.0 / per_second
    );
    let scenario = scenario::read(&text).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let text = format!("[poolwarden]\nguard = \"observe\"\n{}", scenario.pooler);
    let (config, findings) = Config::parse(&text, |_| Err("no secrets".to_owned()));
    let config = config.unwrap_or_else(|| panic!("{findings:#?}"));
    let warm_up = Duration::from_secs_f64(10_000.0 / per_second);
    let played = play_after(&scenario, &config, warm_up).unwrap_or_else(|why| panic!("{why}"));
    let pool = &played.course.pools[0];
    let waited = pool.waits.mean().as_secs_f64() * pool.waits.count() as f64;
    (waited / pool.granted as f64 / 0.01, pool.refusals() as f64 / pool.asked as f64)
}

#[test]
fn mean_waits_are_those_of_theory() {
    // M/M/1: rho / (1 - rho). M/D/1: half of that (Pollaczek and Khinchine). M/M/4 at 0.7: Erlang C. M/M/1/3: by its states.
    let exponential = "exponential = \"10ms\"";
    let table = [
        (1, 0.6, exponential, "", (1.5, 0.0)),
        (1, 0.6, "constant = \"10ms\"", "", (0.75, 0.0)),
        (4, 0.7, exponential, "", (0.357_21, 0.0)),
        (1, 0.8, exponential, "max_queue = 2", (0.852_459, 0.173_442)),
    ];
    for (size, rho, hold, pool, (wait, refused)) in table {
        let (found, share) = played(size, rho, hold, pool);
        assert!((found / wait - 1.0).abs() < 0.06, "{size} servers at {rho}, {hold} {pool}: {found}, theory {wait}");
        assert!((share - refused).abs() < 0.006, "{size} servers at {rho}, {hold} {pool}: {share}, theory {refused}");
    }
}

/// A small generator of its own (Knuth's constants for 64 bits).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Requests in lumps, with holds of every size.
fn trace(seed: u64) -> Recorded {
    let mut dice = Dice(seed);
    let mut at_us = 0;
    let asks: Vec<Ask> = (0..1_500)
        .map(|client| {
            at_us += if dice.below(20) == 0 { dice.below(200_000) } else { dice.below(3_000) };
            Ask {
                arrived_us: at_us,
                held_us: 0,
                alone_ns: (1 + dice.below(30) * dice.below(30)) * 100_000,
                waited_us: 0,
                idle_us: 0,
                client,
                met: Met::Granted,
                is_retry: false,
            }
        })
        .collect();
    Recorded {
        pools: vec![PoolKey { database: "app".into(), user: "app".into() }],
        kinds: vec![Kind { pool: 0, class: ClassId(0), tenant: 1 }],
        clients: vec![0; 1_500],
        lasts: Duration::from_micros(at_us + 1),
        asks,
        open: vec![64],
        connects: vec![Duration::from_millis(1)],
    }
}

fn waits(of: &Recorded, size: u32) -> Vec<(u64, u32)> {
    let text = format!(
        "[poolwarden]\nguard = \"observe\"\n[servers.main]\nhost = \"h\"\nmax_connections = 100\n\
         [pools.app]\nserver = \"main\"\nsize = {size}\nmin_size = {size}\nmax_wait = \"24h\"\n"
    );
    let (config, findings) = Config::parse(&text, |_| Err("no secrets".to_owned()));
    let settings: HostSettings = config.unwrap_or_else(|| panic!("{findings:#?}")).host_settings(0);
    let fit = Fit { contention: Contention::Alone, gain: 0.0, leases: 0, concurrency: 0 };
    let step = Duration::from_secs(1);
    let play = Rehearse { recorded: of, fit: &fit, settings, seed: 1, step, spares: false, keeps: true };
    let asks = play.play(&mut |_| ()).unwrap_or_else(|why| panic!("{why}")).asks;
    let mut waits: Vec<(u64, u32)> = asks.iter().map(|ask| (u64::from(ask.client), ask.waited_us)).collect();
    waits.sort_unstable();
    waits
}

/// First come, first served: nobody is served later for one server more (Wolff, "Stochastic Modeling and the Theory of Queues",
/// 1989, 11.2).
#[test]
fn one_connection_more_never_raises_a_wait() {
    for seed in 0..12 {
        let of = trace(seed);
        let mut before = waits(&of, 2);
        assert!(before.iter().any(|(_, waited)| *waited > 10_000), "somebody waits");
        for size in 3..9 {
            let after = waits(&of, size);
            assert_eq!(before.len(), after.len());
            for (one, two) in before.iter().zip(&after) {
                assert!(
                    two.1 <= one.1 + 1,
                    "seed {seed}, client {}: {} us with {size}, {} with one fewer",
                    one.0,
                    two.1,
                    one.1
                );
            }
            before = after;
        }
    }
}
