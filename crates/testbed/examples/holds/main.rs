//! How a pooler holds through spikes, live and simulated: `holds [PAIRS] [SECONDS] [SCENARIO...]`.
//!
//! The scenarios of `examples/scenarios`, each with real clients before poolwarden and before PgBouncer, one after the other on a
//! PostgreSQL of its own, and in virtual time. PgBouncer runs twice: with poolwarden's longest wait, and with its own default. What is measured is what `drill run` and `simulate` print; what is demanded
//! stands here. It fails if poolwarden misses a bound, or if the machine was too busy to say. The last line is JSON.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]

mod floor;
mod machine;
mod place;

use serde_json::{Value, json};

use machine::Spent;
use place::{Front, Pooling, Users};

/// Most that others may be slower while one application's queries are slow.
const MOST_SLOWER: f64 = 1.5;
/// Most of one core that ten thousand refusals a second may cost,
const MOST_OF_A_CORE: f64 = 0.10;
/// or, on a machine where one receive and one send take nearly that much, so many times what those take.
const MOST_ABOVE_FLOOR: f64 = 1.35;
/// A machine that is busier measures itself.
const MOST_BUSY: f64 = 0.70;

/// One run of one scenario.
struct Ran {
    /// A name of [`Pooling`], or simulated.
    target: &'static str,
    /// What was printed.
    said: Value,
    spent: Option<Spent>,
}

/// Spikes that are run once, and who logs in.
const SPIKES: [(&str, Users); 4] = [
    ("spike", Users::ByClass),
    ("spike-applications", Users::One),
    ("retry-storm", Users::One),
    ("pipelined", Users::One),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, usual: u32| arguments.get(place).map_or(usual, |text| text.parse().expect("a number"));
    let (pairs, seconds) = (number(0, 5), number(1, 30));
    let wanted = |name: &str| arguments.len() < 3 || arguments[2..].iter().any(|wanted| wanted == name);
    let mut missed = Vec::new();
    let mut spikes = Vec::new();
    for (name, users) in SPIKES.into_iter().filter(|(name, _)| wanted(name)) {
        for ran in everywhere(name, users, (0, seconds)) {
            missed.extend(faults(name, &ran));
            spikes.push(shown(name, &ran));
        }
    }
    let neighbours = wanted("noisy-tenant").then(|| neighbours(pairs, &mut missed));
    let refusing = wanted("refusals").then(|| refusing(&mut missed));
    println!(
        "{}",
        json!({ "seconds": seconds, "pairs": pairs, "scenarios": spikes, "neighbours": neighbours, "refusals": refusing })
    );
    assert!(missed.is_empty(), "missed: {missed:#?}");
}

/// Runs a scenario before every pooler and in virtual time.
fn everywhere(name: &str, users: Users, (seed, seconds): (u32, u32)) -> Vec<Ran> {
    let text = place::scenario(name, seed, seconds);
    let live = Pooling::ALL.map(|pooling| {
        let front = Front::start(pooling, users, &text);
        let before = Spent::now(front.pid());
        let said = front.drill(&text);
        Ran { target: pooling.name(), said, spent: Some(before.since()) }
    });
    let simulated = Ran { target: "simulated", said: place::simulate(&text), spent: None };
    live.into_iter().chain([simulated]).collect()
}

/// What a run of poolwarden's missed, or why it says nothing.
fn faults(name: &str, ran: &Ran) -> Vec<String> {
    let busy = ran.spent.as_ref().map_or(0.0, |spent| spent.busy);
    if busy > MOST_BUSY {
        return vec![format!("{name} on {}: the machine was {:.0} % busy, measure again", ran.target, busy * 100.0)];
    }
    if ran.target.starts_with("pgbouncer") {
        return Vec::new();
    }
    let assertions = ran.said["assertions"].as_array().into_iter().flatten();
    let mut missed: Vec<String> =
        assertions.filter(|one| one["passed"] != true).map(|one| format!("{name} on {}: {one}", ran.target)).collect();
    if ran.said["verdict"] == "void" {
        missed.push(format!("{name} on {}: the generator was late, {}", ran.target, ran.said["lag_ms"]));
    }
    missed
}

/// The numbers of a run that are kept.
fn shown(name: &str, ran: &Ran) -> Value {
    let phases: Vec<Value> = ran.said["phases"].as_array().into_iter().flatten().map(phase).collect();
    for phase in &phases {
        eprintln!("{name:<20} {:<17} {phase}", ran.target);
    }
    let said = &ran.said;
    if let Some(spent) = &ran.spent {
        eprintln!(
            "{name:<20} {:<17} machine {:.0} % busy, generator lag {}",
            ran.target,
            spent.busy * 100.0,
            said["lag_ms"]
        );
    }
    json!({
        "scenario": name, "target": ran.target, "phases": phases, "verdict": said["verdict"],
        "refused": said["all"]["refused_attempts"], "wrong_refusals": said["all"]["wrong_refusals"],
        "sessions_lost": said["sessions_lost"], "left_behind": said["left_behind"],
        "generator_lag_p99_ms": said["lag_ms"]["p99"],
        "machine_busy": ran.spent.as_ref().map(|spent| rounded(spent.busy)),
        "pooler_cores": ran.spent.as_ref().map(|spent| rounded(spent.cores)),
    })
}

fn phase(phase: &Value) -> Value {
    let groups = phase["groups"].as_array().into_iter().flatten().map(|group| {
        let served = ratio(&group["served"], &group["offered"]);
        (
            group["name"].as_str().unwrap_or("").to_owned(),
            json!({ "served": served, "p99_ms": group["latency_ms"]["p99"] }),
        )
    });
    json!({
        "phase": phase["name"], "goodput_per_second": phase["goodput_per_second"], "normal_after_s": phase["recovery_s"],
        "loads": groups.collect::<serde_json::Map<String, Value>>(),
    })
}

fn ratio(part: &Value, whole: &Value) -> Option<f64> {
    let (part, whole) = (part.as_f64()?, whole.as_f64()?);
    (whole > 0.0).then(|| rounded(part / whole))
}

/// The 99th percentiles of an application whose neighbour's queries turn slow, storm over quiet: the median of so many runs.
fn neighbours(pairs: u32, missed: &mut Vec<String>) -> Value {
    let runs: Vec<Vec<Ran>> = (0..pairs).map(|seed| everywhere("noisy-tenant", Users::One, (seed, 20))).collect();
    runs.iter().flatten().for_each(|ran| missed.extend(faults("noisy-tenant", ran)));
    let mut found = Vec::new();
    for (place, target) in runs[0].iter().map(|ran| ran.target).enumerate() {
        for load in ["web", "shop"] {
            let p99 = |ran: &Ran, phase: usize| {
                let groups = ran.said["phases"][phase]["groups"].as_array().into_iter().flatten();
                let of = groups.into_iter().find(|group| group["name"] == load);
                of.and_then(|group| group["latency_ms"]["p99"].as_f64()).unwrap_or(f64::NAN)
            };
            let both: Vec<(f64, f64)> = runs.iter().map(|run| (p99(&run[place], 0), p99(&run[place], 1))).collect();
            let slower = median(both.iter().map(|(quiet, storm)| storm / quiet).collect());
            eprintln!("noisy-tenant {target}: {load} {slower:.2} times slower in the storm: {both:?}");
            if !target.starts_with("pgbouncer") && slower.exceeds(MOST_SLOWER) {
                missed.push(format!(
                    "noisy-tenant on {target}: {load} is {slower:.2} times slower, at most {MOST_SLOWER}"
                ));
            }
            found.push(json!({
                "target": target, "load": load, "pairs": both.len(), "storm_over_quiet": rounded(slower),
                "quiet_p99_ms": rounded(median(both.iter().map(|both| both.0).collect())),
                "storm_p99_ms": rounded(median(both.iter().map(|both| both.1).collect())),
            }));
        }
    }
    json!(found)
}

/// What ten thousand refusals a second cost poolwarden, its log on.
fn refusing(missed: &mut Vec<String>) -> Value {
    let text = place::scenario("refusals", 0, 30);
    let front = Front::start(Pooling::Poolwarden, Users::One, &text);
    let before = Spent::now(front.pid());
    let said = front.drill(&text);
    let spent = before.since();
    let attempts: u64 =
        said["all"]["refused_attempts"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
    let per_second = attempts as f64 / said["phases"][0]["lasts_s"].as_f64().unwrap_or(f64::NAN);
    // Logging clients in is part of the run and not of refusing.
    let share =
        (spent.cpu_seconds - front.logins_seconds()) / said["phases"][0]["lasts_s"].as_f64().unwrap_or(f64::NAN);
    let of_ten_thousand = share * 10_000.0 / per_second;
    eprintln!("refusing {per_second:.0} a second costs {:.1} % of a core", share * 100.0);
    let (as_they_come, with_a_pause) = floor::floor(20);
    let most = MOST_OF_A_CORE.max(as_they_come * MOST_ABOVE_FLOOR);
    if of_ten_thousand.exceeds(most) || as_they_come.is_nan() {
        missed.push(format!("10,000 refusals a second cost {of_ten_thousand:.3} of a core, at most {most:.3}"));
    }
    json!({
        "per_second": per_second.round(), "cores": rounded(share), "kernel_share": rounded(spent.kernel),
        "cores_for_10000_per_second": rounded(of_ten_thousand),
        "floor": { "as_they_come": rounded(as_they_come), "with_a_pause_of_1_ms": rounded(with_a_pause) },
        "machine_busy": rounded(spent.busy), "generator_lag_p99_ms": said["lag_ms"]["p99"], "refusal_ms": said["all"]["refusal_ms"],
    })
}

/// A bound that nothing unmeasured passes.
trait Bound {
    fn exceeds(self, most: f64) -> bool;
}

impl Bound for f64 {
    fn exceeds(self, most: f64) -> bool {
        self.is_nan() || self > most
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}
