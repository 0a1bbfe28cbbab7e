//! Scenarios: what is wrong with a file is said, arrivals come at their rates, and a run is the same for ever.

#![allow(clippy::disallowed_methods, reason = "a test reads the examples")]

use std::time::Duration;

use poolwarden_config::Config;
use poolwarden_sim::load::judge::{Verdict, judge};
use poolwarden_sim::load::{Arrivals, End, Summary};
use poolwarden_sim::queueing::{self, Played};
use poolwarden_sim::scenario::{self, Scenario};

fn read(text: &str) -> Scenario {
    scenario::read(text).unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"))
}

fn play(scenario: &Scenario) -> Played {
    let (config, findings) = Config::parse(&scenario.pooler, |_| Err("no secrets here".to_owned()));
    let config = config.unwrap_or_else(|| panic!("{findings:#?}\n{}", scenario.pooler));
    queueing::play_keeping(scenario, &config).unwrap_or_else(|why| panic!("{why}"))
}

/// A scenario of one load: `lines` of `[[load]]`, over so many seconds.
fn one(lines: &str, seconds: u32) -> String {
    format!(
        "[scenario]\nname = \"t\"\nseed = 7\nduration = \"{seconds}s\"\nnormal_p99 = \"100ms\"\n\
         [pool]\ncapacity = \"1000/s\"\nbudget = 20\nsize = 20\nmin_size = 20\n[[load]]\nname = \"web\"\n{lines}\n"
    )
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_to_write() {
    let good = one("rate = \"10/s\"\nhold = { constant = \"20ms\" }", 1);
    read(&good);
    let table = [
        ("seed = 7", "sede = 7", 3, "unknown key `sede`", "known here: name, seed"),
        ("\"1s\"", "\"1\"", 4, "no unit", "\"250ms\""),
        ("rate = \"10/s\"", "rate = \"10\"", 13, "no unit", "\"300/s\""),
        ("rate = \"10/s\"", "", 11, "does not say `rate`", "rate = "),
        ("rate = \"10/s\"", "rate = \"10/s\"\nx = 2", 14, "twice", "keep one"),
        ("rate = \"10/s\"", "rate = \"2000000/s\"", 11, "requests per second", "below"),
        ("{ constant = \"20ms\" }", "{ p50 = \"20ms\" }", 14, "one constant", "p99"),
        (
            "{ constant = \"20ms\" }",
            "{ constant = \"20ms\", kind = \"nap\" }",
            14,
            "\"nap\" is not known",
            "\"sleep\", \"cpu\", \"lock\"",
        ),
        ("name = \"web\"", "name = \"web\"\nshape = { kind = \"flash\" }", 13, "does not say `peak`", "peak = 8"),
        ("name = \"web\"", "name = \"web\"\nclients = 0", 13, "from 1 to", "without quotes"),
        ("name = \"web\"", "name = \"web\"\ntells_deadline = true", 13, "has none", "deadline = "),
        ("name = \"web\"", "name = \"web\"\nin.storm = { x = 2 }", 13, "unknown key `storm`", "known here: all"),
        ("[[load]]", "[[slo]]\ngroup = \"wbe\"\nserved = 1.0\n[[load]]", 12, "\"wbe\" is not known", "\"web\""),
        ("[[load]]", "[[slo]]\nphases = [\"x\"]\nserved = 1.0\n[[load]]", 12, "no phase \"x\"", "the phases are all"),
        ("[[load]]", "[[slo]]\ngroup = \"web\"\n[[load]]", 11, "asks for nothing", "served"),
        ("[[load]]", "[[fault]]\nat = \"1s\"\nkind = \"flood\"\n[[load]]", 13, "\"flood\"", "\"stall\""),
        ("[[load]]", "[[phase]]\nname = \"a\"\nfor = \"9s\"\n[[load]]", 4, "add up", "leave duration out"),
        ("[pool]", "[pool]\n[pool]", 7, "duplicate key", ""),
    ];
    for (from, to, line, message, fix) in table {
        assert!(good.contains(from), "{from}");
        let broken = good.replacen(from, to, 1);
        let faults = scenario::read(&broken).expect_err(&broken);
        let hit = faults.iter().find(|fault| fault.message.contains(message));
        let hit = hit.unwrap_or_else(|| panic!("no \"{message}\" among {faults:#?}"));
        assert_eq!(hit.line, line, "{broken}\n{hit:#?}");
        assert!(hit.fix.contains(fix), "{hit:#?}");
    }
}

#[test]
fn every_example_is_a_scenario_that_its_own_pooler_accepts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/scenarios");
    let files: Vec<_> =
        std::fs::read_dir(folder).expect("the examples").map(|file| file.expect("a file").path()).collect();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let scenario = read(&std::fs::read_to_string(&file).expect("a text"));
        let (config, findings) = Config::parse(&scenario.pooler, |_| Err("no secrets here".to_owned()));
        assert!(config.is_some(), "{}: {findings:#?}", file.display());
    }
}

#[test]
fn arrivals_come_at_the_rate_of_their_shape() {
    // What a shape brings on average over ten seconds, as a multiple of its rate.
    let table = [
        ("{ kind = \"step\" }", 1.0),
        ("{ kind = \"ramp\", to = 3 }", 2.0),
        ("{ kind = \"comb\", peak = 6, every = \"2s\", width = \"400ms\" }", 2.0),
        ("{ kind = \"sine\", period = \"5s\", depth = 0.8 }", 1.0),
        ("{ kind = \"flash\", peak = 5, rise = \"0s\", hold = \"5s\" }", 3.0),
    ];
    for (shape, times) in table {
        let scenario = read(&one(&format!("rate = \"2000/s\"\nshape = {shape}\nhold = {{ constant = \"1ms\" }}"), 10));
        let arrivals: Vec<_> = Arrivals::new(&scenario).collect();
        let expected = 20_000.0 * times;
        // A Poisson number is within five of its standard deviations but once in two million.
        assert!((arrivals.len() as f64 - expected).abs() < 5.0 * expected.sqrt(), "{shape}: {}", arrivals.len());
        assert!(arrivals.is_sorted_by_key(|arrival| arrival.at), "{shape}");
        // Counts of intervals short enough to have one rate vary as much as they are many: no clock ticks in them.
        let mut counts = vec![0.0_f64; 2000];
        arrivals.iter().for_each(|arrival| counts[(arrival.at.as_nanos() / 5_000_000) as usize] += 1.0);
        let apart: f64 = counts.windows(2).map(|two| (two[0] - two[1]).powi(2)).sum::<f64>() / 2.0;
        let dispersion = apart / counts.iter().sum::<f64>();
        // A comb's ten steps add 0.3.
        assert!((0.85..1.4).contains(&dispersion), "{shape}: {dispersion}");
    }
}

#[test]
fn arrivals_depend_on_the_seed_and_on_nothing_of_others() {
    let text = one("rate = \"500/s\"\nhold = { p50 = \"4ms\", p99 = \"60ms\" }", 5);
    let times = |text: &str| -> Vec<u64> {
        Arrivals::new(&read(text)).filter(|a| a.group == 0).map(|a| a.at.as_nanos()).collect()
    };
    assert_eq!(times(&text), times(&text));
    assert_ne!(times(&text), times(&text.replace("seed = 7", "seed = 8")));
    assert_eq!(times(&text), times(&text.replace("60ms", "90ms")), "how long they hold moves nobody");
    let more = format!("{text}[[load]]\nname = \"other\"\nrate = \"50/s\"\nhold = {{ constant = \"1ms\" }}\n");
    assert_eq!(times(&text), times(&more), "another group moves nobody");
}

#[test]
fn holds_have_the_quantiles_that_were_asked_for() {
    let scenario = read(&one("rate = \"5000/s\"\nhold = { p50 = \"4ms\", p99 = \"60ms\" }", 10));
    let mut holds: Vec<Duration> = Arrivals::new(&scenario).map(|arrival| arrival.hold).collect();
    holds.sort_unstable();
    let at = |share: f64| holds[(holds.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    assert!((at(0.5) - 4.0).abs() < 0.2, "{}", at(0.5));
    assert!((at(0.99) - 60.0).abs() < 6.0, "{}", at(0.99));
    let mean = holds.iter().map(Duration::as_secs_f64).sum::<f64>() / holds.len() as f64;
    let expected = scenario.groups[0].parts[0].hold.law.mean().as_secs_f64();
    assert!((mean / expected - 1.0).abs() < 0.05, "{mean} {expected}");
}

#[test]
fn a_herd_comes_at_once_and_everybody_once() {
    let scenario = read(&one("clients = 300\nshape = { kind = \"herd\" }\nhold = { constant = \"1ms\" }", 5));
    let arrivals: Vec<_> = Arrivals::new(&scenario).collect();
    assert_eq!(arrivals.len(), 300);
    assert!(arrivals.iter().all(|arrival| arrival.at.as_nanos() == 0 && !arrival.reconnects));
}

#[test]
fn equal_scenarios_are_played_alike() {
    let text = one(
        "rate = \"900/s\"\nclients = 500\nretry = { times = 2, after = \"50ms\", factor = 2 }\nhold = { p50 = \"20ms\", p99 = \"80ms\" }",
        5,
    );
    let text = format!(
        "{text}[[fault]]\nat = \"1s\"\nkind = \"backend_kill\"\nshare = 0.5\n[[fault]]\nat = \"2s\"\nkind = \"stall\"\nfor = \"300ms\"\n"
    );
    let (first, second) = (play(&read(&text)), play(&read(&text)));
    assert!(first == second, "one of them drew from elsewhere");
    assert!(first != play(&read(&text.replace("seed = 7", "seed = 9"))));
}

#[test]
fn what_can_be_served_is_and_waits_as_theory_says() {
    // M/D/1 by the one lock: the mean wait at a utilisation of 0.8 is 0.8 / (2 * 0.2) holds (Pollaczek and Khinchine).
    let hold = "hold = { kind = \"lock\", constant = \"4ms\" }";
    let scenario = read(&one(&format!("rate = \"200/s\"\nclients = 2000\n{hold}"), 600));
    let played = play(&scenario);
    let waits: Vec<f64> =
        played.record.samples.iter().map(|s| s.ended.since(s.intended).saturating_sub(s.hold).as_secs_f64()).collect();
    assert!(played.record.samples.iter().all(|sample| sample.end == End::Served));
    let mean = waits.iter().sum::<f64>() / waits.len() as f64 * 1e3;
    assert!((mean - 8.0).abs() < 0.6, "mean wait {mean} ms");
}

#[test]
fn every_request_is_accounted_for_and_the_pool_is_never_idle_while_somebody_waits() {
    let scenario = read(&one("x = 3\nclients = 4000\nretry = { times = 2 }\nhold = { constant = \"20ms\" }", 10));
    let played = play(&scenario);
    let summary = Summary::of(&scenario, &played.record);
    let all = &summary.all;
    assert_eq!(all.offered, Arrivals::new(&scenario).count() as u64);
    assert_eq!(all.offered, all.served + all.late + all.refused + all.failed + all.unsent);
    assert!(all.refused > 0 && all.attempts > all.offered && !all.refusals.is_empty(), "{all:#?}");
    assert!(summary.goodput[0] > 980.0 && summary.goodput[0] <= 1000.0, "{:?}", summary.goodput);
    let granted: u64 = played.pools.iter().map(|pool| pool.granted).sum();
    assert_eq!(granted, all.served + all.late, "what the core lent is what was answered");
}

#[test]
fn faults_do_what_they_say() {
    let calm = one("rate = \"500/s\"\nclients = 500\nhold = { constant = \"20ms\" }", 6);
    let table = [
        ("kind = \"stall\"\nfor = \"500ms\"", 0, 500),
        ("kind = \"restart\"\nfor = \"500ms\"", 1, 400),
        ("kind = \"backend_kill\"", 1, 2),
        ("kind = \"foreign_slots\"\nslots = 97\nfor = \"1s\"", 0, 0),
    ];
    for (fault, failed, slowest) in table {
        let scenario = read(&format!("{calm}[[fault]]\nat = \"2s\"\n{fault}\n"));
        let summary = Summary::of(&scenario, &play(&scenario).record);
        assert!(summary.all.failed >= failed && summary.all.failed <= failed * 40, "{fault}: {:#?}", summary.all);
        assert!(summary.all.wait.max.as_millis() >= slowest, "{fault}: {:?}", summary.all.wait);
        // Behind a fault the pool is overloaded for a moment, and may refuse some.
        let (all, most) = (&summary.all, summary.all.offered / 20);
        assert_eq!(all.served + all.failed + all.refused, all.offered, "{fault}");
        assert!(all.refused <= most, "{fault}: {all:#?}");
    }
}

#[test]
fn a_verdict_is_of_the_bounds_and_of_a_generator_in_time() {
    let text = one("rate = \"100/s\"\nhold = { constant = \"20ms\" }", 5);
    let bound = |bound: &str| format!("{text}[[slo]]\n{bound}\n");
    let verdict = |text: &str, lag_ms: u64| {
        let scenario = read(text);
        let mut record = play(&scenario).record;
        record.lags = vec![Duration::from_millis(lag_ms); 10];
        judge(&scenario, &Summary::of(&scenario, &record))
    };
    for (slo, passes) in [
        ("served = 1.0", true),
        ("group = \"web\"\np99_holds = 1.1", true),
        ("group = \"web\"\np99_holds = 0.9", false),
        ("goodput = 0.2", false),
        ("refused_at_least = 1", false),
        ("wrong_at_most = 0", true),
    ] {
        let (verdict, assertions) = verdict(&bound(slo), 1);
        assert_eq!((verdict == Verdict::Passed, assertions.len()), (passes, 1), "{slo}: {assertions:#?}");
    }
    assert_eq!(verdict(&bound("served = 1.0"), 6).0, Verdict::Void, "nothing passes on a late generator");
}

/// An example of `examples/scenarios`, with everything it demands judged.
fn example(name: &str) -> (Scenario, Summary) {
    let path = format!("{}/../../examples/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let scenario = read(&std::fs::read_to_string(&path).expect("the example"));
    let summary = Summary::of(&scenario, &play(&scenario).record);
    (scenario, summary)
}

#[test]
fn spikes_and_storms_are_held_as_the_examples_demand() {
    for name in ["spike", "spike-applications", "retry-storm", "noisy-tenant", "herd", "pipelined"] {
        let (scenario, summary) = example(name);
        let (_, assertions) = judge(&scenario, &summary);
        let missed: Vec<_> = assertions.iter().filter(|assertion| !assertion.passed).collect();
        assert!(missed.is_empty(), "{name}: {missed:#?}");
    }
}

/// Connections cannot pass from one role's pool to another's: each pool keeps one more than it needs, a twentieth of them here.
#[test]
fn pools_that_share_a_budget_serve_nine_tenths_of_it_and_the_critical_whole() {
    let path = format!("{}/../../examples/scenarios/spike.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the example");
    let scenario =
        read(&text.lines().filter(|line| !line.starts_with("user = \"app\"")).collect::<Vec<_>>().join("\n"));
    let summary = Summary::of(&scenario, &play(&scenario).record);
    let (_, assertions) = judge(&scenario, &summary);
    let missed = assertions.iter().filter(|assertion| !assertion.passed && !assertion.name.starts_with("goodput"));
    assert_eq!(missed.count(), 0, "{assertions:#?}");
    assert!(summary.goodput[1] >= 900.0 && summary.goodput[2] >= 900.0, "{:?}", summary.goodput);
}

#[test]
fn a_neighbours_slow_queries_make_nobody_else_half_again_as_slow() {
    let (_, summary) = example("noisy-tenant");
    for group in [0, 1] {
        let p99 = |phase: usize| summary.cells[&(group, phase)].latency.p99.as_secs_f64();
        assert!(p99(1) <= 1.5 * p99(0), "group {group}: {} quiet, {} in the storm", p99(0), p99(1));
    }
}

#[test]
fn a_pool_of_one_with_every_default_serves_every_class() {
    let mut text = "[scenario]\nname = \"one\"\nduration = \"60s\"\n[pool]\nsize = 1\n".to_owned();
    for class in ["critical", "default", "batch"] {
        text.push_str(&format!(
            "[[load]]\nname = \"{class}\"\nclass = \"{class}\"\nrate = \"10/s\"\nhold = {{ constant = \"10ms\" }}\n\
             [[slo]]\ngroup = \"{class}\"\nserved = 1.0\n"
        ));
    }
    let scenario = read(&text);
    let (verdict, assertions) = judge(&scenario, &Summary::of(&scenario, &play(&scenario).record));
    assert_eq!(verdict, Verdict::Passed, "{assertions:#?}");
}
