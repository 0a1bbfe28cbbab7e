//! Plays many seeds and names those that fail: `cargo run -p poolwarden-sim --example sweep -- FIRST COUNT`.

use std::io::Write;
use std::process::ExitCode;

use poolwarden_sim::{Tally, World};

#[allow(clippy::disallowed_methods)] // a program: its range is an argument
fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).filter_map(|number| number.parse::<u64>().ok());
    let (first, count) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(1000));
    let mut out = std::io::stdout().lock();
    let (mut failed, mut steps, mut met) = (0, 0, Tally::default());
    for seed in first..first + count {
        let played = std::panic::catch_unwind(|| World::new(seed).run());
        let failure = match played {
            Ok(verdict) => {
                steps += verdict.steps;
                met.add(&verdict.tally);
                verdict.failure
            }
            Err(_) => Some(format!("seed {seed}: an invariant of the core does not hold")),
        };
        if let Some(failure) = failure {
            failed += 1;
            if writeln!(out, "{failure}").is_err() {
                break; // nobody reads on
            }
        }
    }
    let _ = writeln!(out, "{failed} of {count} failed; {steps} steps, {met:?}"); // as above
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
