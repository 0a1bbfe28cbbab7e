//! The core against the obvious pool for as long as one likes: `soak STEPS [SEED]`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program at the rim: arguments, and a seed from the clock where none is given"
)]

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

#[path = "../tests/reference/mod.rs"]
mod obvious;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let wrong = |_| std::io::Error::other("usage: soak STEPS [SEED], both whole numbers");
    let steps: u64 = args.next().map_or(Ok(1_000_000), |text| text.parse()).map_err(wrong)?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
    let seed: u64 = args.next().map_or(Ok(clock), |text| text.parse()).map_err(wrong)?;
    let mut out = std::io::stdout();
    writeln!(out, "soak: {steps} steps, seed {seed}")?;
    obvious::compare(steps, seed);
    obvious::replay(steps.min(100_000), seed);
    writeln!(
        out,
        "soak: {steps} steps, seed {seed}: core and model agree, invariants held after each, and a replay gave the same"
    )
}
