//! The core against the obvious pool for as long as one likes: `soak STEPS [SEED]`.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

#[path = "../tests/reference/model.rs"]
mod model;
#[path = "../tests/reference/rules.rs"]
mod rules;
#[path = "../tests/reference/world.rs"]
#[allow(dead_code, reason = "replay parity is proven by the tests")]
mod world;

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let wrong = |_| std::io::Error::other("usage: soak STEPS [SEED], both whole numbers");
    let steps: u64 = args.next().map_or(Ok(1_000_000), |text| text.parse()).map_err(wrong)?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
    let seed: u64 = args.next().map_or(Ok(clock), |text| text.parse()).map_err(wrong)?;
    let mut out = std::io::stdout();
    writeln!(out, "soak: {steps} steps, seed {seed}")?;
    world::compare(steps, seed);
    writeln!(out, "soak: {steps} steps, seed {seed}: core and model agree, invariants held after each")
}
