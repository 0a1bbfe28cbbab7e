//! Plays the world of one seed and tells what happens: `cargo run -p poolwarden-sim --example converse -- SEED [pipelines]`.

use std::io::Write;
use std::process::ExitCode;

use poolwarden_sim::World;

#[allow(clippy::disallowed_methods)] // a program: its seed is an argument
fn main() -> ExitCode {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse().ok());
    let mut out = std::io::stdout().lock();
    let Some(seed) = seed else {
        let _ = writeln!(out, "usage: converse SEED [pipelines]"); // nobody reads on: nothing to be done
        return ExitCode::from(2);
    };
    let pipelines = std::env::args().nth(2).is_some_and(|word| word == "pipelines");
    let mut world = if pipelines { World::of_pipelines(seed) } else { World::new(seed) };
    world.narrate();
    let mut told = writeln!(out, "{:#?}", world.plan());
    while told.is_ok() && world.step() {
        told = world.told().iter().try_for_each(|line| writeln!(out, "{line}"));
    }
    let verdict = world.run();
    let _ = writeln!(out, "{verdict:#?}"); // as above
    if verdict.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
