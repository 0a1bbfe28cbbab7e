//! The guard on real traffic: `guard [RUNS]` harmful changes that it is to undo, and as many right fixes, made while the load
//! doubles, that it is to keep.
//!
//! Each run has a PostgreSQL and a poolwarden of its own and differs in size, load and hold time; a few run side by side. Each
//! client asks, waits for its answer and thinks for a random while. The last line is JSON.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use poolwarden_testbed::drawer::order;
use poolwarden_testbed::{Bed, Plan, Pooler, Target, Wire, bed};
use serde_json::{Value, json};

/// Runs at the same time: few, for the machine is to serve all of their load.
const AT_ONCE: usize = 4;
/// Traffic before the change; the guard compares with ten seconds of it.
const BEFORE: Duration = Duration::from_secs(14);
/// The guard has a minute; whatever it did not undo by then it keeps.
const WATCHED: Duration = Duration::from_secs(66);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How one run differs from the others.
#[derive(Clone, Copy, Debug)]
struct Case {
    number: u64,
    harmful: bool,
}

/// A small generator of its own (Knuth's constants for 64 bits), so that a run can be made again.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// From `least` to `most`, both included.
    fn pick(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }
}

fn main() {
    let runs: u64 = std::env::args().nth(1).map_or(20, |text| text.parse().expect("a number of runs"));
    let cases: Vec<Case> =
        [true, false].into_iter().flat_map(|harmful| (0..runs).map(move |number| Case { number, harmful })).collect();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::AcqRel)) {
                    let result = run(*case);
                    eprintln!("{case:?}: {result}");
                    found.lock().expect("whole").push((*case, result));
                }
            });
        }
    });
    let found = found.into_inner().expect("whole");
    let of = |harmful: bool| {
        let mut all: Vec<&Value> =
            found.iter().filter(|(case, _)| case.harmful == harmful).map(|(_, result)| result).collect();
        all.sort_by_key(|result| result["run"].as_u64());
        all
    };
    let undone = of(true).iter().filter(|result| result["undone_after_ms"].is_u64()).count();
    let kept = of(false).iter().filter(|result| result["undone_after_ms"].is_null()).count();
    let slowest = of(true).iter().filter_map(|result| result["undone_after_ms"].as_u64()).max();
    let failed: u64 = found.iter().filter_map(|(_, result)| result["failed"].as_u64()).sum();
    let good = undone as u64 == runs && kept as u64 == runs && failed == 0;
    let result = json!({
        "runs": runs,
        "harmful": {"undone": undone, "slowest_ms": slowest, "runs": of(true)},
        "right_fix_while_load_doubles": {"kept": kept, "runs": of(false)},
        "failed_requests": failed,
    });
    if !good {
        eprintln!("{result:#}");
        std::process::exit(1);
    }
    println!("{result}");
}

fn run(case: Case) -> Value {
    let mut dice = Dice(case.number * 2 + u64::from(case.harmful) + 1);
    dice.next();
    let (size, hold_ms) = (dice.pick(12, 24), dice.pick(20, 60));
    // of a harmful change the pool was busy to two fifths up to four fifths; of a right fix there was hardly enough
    let busy = if case.harmful { dice.pick(40, 80) } else { dice.pick(80, 95) };
    let clients = size * busy / 100;
    let limited_user = !case.harmful && dice.pick(0, 1) == 1;
    let plan = Plan {
        size: u32::try_from(if limited_user { 60 } else { size }).expect("small"),
        user_limit: limited_user.then(|| u32::try_from(size).expect("small")),
        budget: Some(80),
        ..Plan::default()
    };
    let bed = Bed::start_as(Target::Poolwarden, plan);
    let pooler = bed.pooler().expect("poolwarden");
    let (to, key) = match (case.harmful, limited_user) {
        (true, _) => (dice.pick(1, 3), "pools.app.size"),
        (false, false) => (2 * size + dice.pick(2, 10), "pools.app.size"),
        (false, true) => (2 * size + dice.pick(2, 10), "users.app.max_connections"),
    };
    let (stop, doubled) = (AtomicBool::new(false), AtomicBool::new(false));
    let (served, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let undone = thread::scope(|scope| {
        let (bed, stop, doubled, served, failed) = (&bed, &stop, &doubled, &served, &failed);
        for number in 0..2 * clients {
            let seed = case.number * 1_000 + number;
            scope.spawn(move || {
                while number >= clients && !doubled.load(Ordering::Acquire) {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    thread::sleep(LOOK_EVERY / 10);
                }
                let mut wire = Wire::connect(&bed.address(), &bed::login()).expect("connect");
                let (mut dice, sql) = (Dice(seed), format!("select pg_sleep({})", hold_ms as f64 / 1e3));
                while !stop.load(Ordering::Acquire) {
                    let counter = if wire.query(&sql).is_ok() { served } else { failed };
                    counter.fetch_add(1, Ordering::AcqRel);
                    thread::sleep(Duration::from_millis(dice.pick(0, hold_ms / 4)));
                }
            });
        }
        thread::sleep(BEFORE);
        let before = setting(pooler, key);
        let (status, answer) = order(pooler, "apply", &json!({"set": [format!("{key}={to}")], "force": "on trial"}));
        assert_eq!(status, 200, "{answer}");
        doubled.store(!case.harmful, Ordering::Release);
        let begun = Instant::now();
        let mut undone = None;
        while begun.elapsed() < WATCHED && undone.is_none() {
            thread::sleep(LOOK_EVERY);
            if setting(pooler, key) == before {
                undone = Some(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
            }
        }
        thread::sleep(LOOK_EVERY * 4); // the history is written a moment later
        stop.store(true, Ordering::Release);
        undone
    });
    let version = version(pooler);
    json!({
        "run": case.number, "key": key, "from": size, "to": to, "clients": clients, "hold_ms": hold_ms,
        "served": served.into_inner(), "failed": failed.into_inner(),
        "undone_after_ms": undone, "state": version["state"], "why": version["why"],
        "effect": version["measured_effect"]["sentence"],
    })
}

fn setting(pooler: &Pooler, key: &str) -> String {
    let config: Value = serde_json::from_str(&pooler.get("/api/v1/config")).expect("JSON");
    let found = config["settings"].as_array().expect("a list").iter().find(|of| of["key"] == key);
    found.and_then(|of| of["value"].as_str()).unwrap_or_else(|| panic!("no {key}")).to_owned()
}

/// The change, as the history tells it.
fn version(pooler: &Pooler) -> Value {
    let history: Value = serde_json::from_str(&pooler.get("/api/v1/history?version=2")).expect("JSON");
    history["versions"][0].clone()
}
