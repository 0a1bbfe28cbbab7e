//! What is foretold against what comes: `transfer [RUNS [LOAD FILE]]` records traffic under some settings, has `simulate` say what the
//! same traffic comes to under others, runs it live under those, RUNS times each, and compares. With LOAD, of that load alone; of the
//! others what FILE says, a proof of before.
//!
//! Each load is recorded once; its own settings are foretold as well, from the recording alone. Pools are warm when a load begins: what
//! a cold one waits for is what PostgreSQL's connects take at that very moment, another time each time. The last line is JSON.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]

mod loads;
mod verdict;

use std::path::Path;
use std::process::{Command, Stdio};

use poolwarden_testbed::place::Place;
use poolwarden_testbed::template::PASSWORD;
use poolwarden_testbed::{Plan, Pooler, Postgres, Settings, pooler};
use serde_json::Value;

use loads::{Load, Setting};
use verdict::{Came, Cell};

fn main() {
    let runs: usize = std::env::args().nth(1).map_or(2, |text| text.parse().expect("a number of runs"));
    let only = std::env::args().nth(2);
    let kept = std::env::args().nth(3).map(|path| {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let proof: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        proof["found"].clone()
    });
    let kept = |kind: &str| -> Vec<Value> {
        let cells = kept.iter().filter_map(|kept| kept[kind].as_array()).flatten();
        cells.filter(|cell| cell["load"].as_str() != only.as_deref()).cloned().collect()
    };
    let (mut own, mut cells) = (kept("own"), kept("cells"));
    let postgres = Postgres::start(Settings {
        max_connections: 150,
        more: vec![("log_connections", "off".to_owned()), ("log_disconnections", "off".to_owned())],
    });
    for load in loads::all().into_iter().filter(|load| only.as_ref().is_none_or(|only| load.name == only)) {
        let place = Place::new("transfer");
        let scenario = place.write("scenario.toml", &load.scenario());
        let recorded = run(&load, &load.recorded, &postgres, &scenario);
        let foretold = recorded.foretell(&[]);
        let cell = Cell { load: load.name, setting: load.recorded, foretold, came: vec![foretold_of(&recorded)] };
        eprintln!("{}", cell.said());
        own.push(cell.own());
        for setting in &load.others {
            let foretold = recorded.foretell(&setting.sets());
            let measured = || foretold_of(&run(&load, setting, &postgres, &scenario));
            let came = (0..runs).map(|_| measured()).collect();
            let mut cell = Cell { load: load.name, setting: *setting, foretold, came };
            if cell.is_in_doubt() {
                cell.came.push(measured());
            }
            eprintln!("{}", cell.said());
            cells.push(cell.other());
        }
    }
    let result = verdict::json(&own, &cells);
    println!("{result}");
}

/// Runs that may be late, one after the other.
const TRIES: usize = 4;
/// Later than this at its 99th percentile, the generator did not make the load it was to make.
const MOST_LAG_MS: f64 = 5.0;

/// A run's recording, which outlives its poolwarden.
struct Recorded(Place);

/// The load, live, with these settings. A run whose generator was late says nothing and is made again.
fn run(load: &Load, setting: &Setting, postgres: &Postgres, scenario: &Path) -> Recorded {
    for _ in 1..TRIES {
        let (recorded, lag_ms) = try_run(load, setting, postgres, scenario);
        if lag_ms <= MOST_LAG_MS {
            return recorded;
        }
        eprintln!("the generator was late: again");
    }
    try_run(load, setting, postgres, scenario).0
}

fn try_run(load: &Load, setting: &Setting, postgres: &Postgres, scenario: &Path) -> (Recorded, f64) {
    let plan = Plan { size: setting.size, budget: Some(120), max_clients: 4_000, ..Plan::default() };
    let plan = plan
        .pool(&format!("min_size = {}", setting.size))
        .edit("max_wait = \"60s\"", &format!("max_wait = \"{}ms\"", setting.max_wait_ms));
    let mut pooler = Pooler::start(&plan, postgres.address());
    let url = format!("postgres://app:{PASSWORD}@127.0.0.1:{}/app", pooler.addr().port());
    let mut command = Command::new(pooler::binary());
    let drill = said(command.args(["drill", "run"]).arg(scenario).args(["--database", &url, "--format", "json"]));
    let lag = drill["drills"][0]["lag_ms"]["p99"].as_f64().unwrap_or(f64::INFINITY);
    eprintln!("{} at {setting:?}: generator lag p99 {lag} ms", load.name);
    pooler.stop();
    let kept = Place::new("transfer");
    let from = pooler.dir().join("data/recordings");
    for entry in std::fs::read_dir(&from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_owned();
        std::fs::copy(&path, kept.path().join(name)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    (Recorded(kept), lag)
}

impl Recorded {
    /// What `simulate` says.
    fn ask(&self, sets: &[String]) -> Value {
        let mut command = Command::new(pooler::binary());
        command.args(["simulate", "--quick", "--format", "json", "--recording"]).arg(self.0.path());
        for set in sets {
            command.args(["--set", set]);
        }
        said(&mut command)
    }

    fn foretell(&self, sets: &[String]) -> Came {
        Came::read(&self.ask(sets)["pools"][0])
    }
}

/// What was measured of a run.
fn foretold_of(recorded: &Recorded) -> Came {
    Came::read(&recorded.ask(&[])["measured"][0])
}

fn said(command: &mut Command) -> Value {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let value = serde_json::from_slice(&output.stdout);
    value.unwrap_or_else(|e| panic!("{command:?}: {e}\n{}", String::from_utf8_lossy(&output.stderr)))
}
