//! The short run of every test: each target's seeds and findings, and thousands of inputs made of them.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use poolwarden_fuzz::mutation::{Chance, mutate};
use poolwarden_fuzz::{TARGETS, Target};

/// Inputs made per target.
const MADE: u64 = 10_000;

fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name);
    let mut seeds: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.display().to_string(), fs::read(&path).unwrap())
        })
        .collect();
    seeds.sort();
    seeds
}

/// Runs one input, and names it if it finds something.
fn holds(target: &Target, input: &[u8], origin: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        eprintln!("{} does not hold for {origin}: {}", target.name, input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(target);
    assert!(seeds.len() >= 3, "{name} has seeds of its own");
    for (path, seed) in &seeds {
        holds(target, seed, path);
    }
    let inputs: Vec<Vec<u8>> = seeds.into_iter().map(|(_, input)| input).collect();
    for number in 0..MADE {
        holds(target, &mutate(&inputs, &mut Chance::new(number)), &format!("mutation {number}"));
    }
}

#[test]
fn every_target_is_replayed_here() {
    let source = include_str!("replay.rs");
    for target in &TARGETS {
        assert!(source.contains(&format!("replay(\"{}\")", target.name)), "{} has no test", target.name);
    }
}

#[test]
fn frames_hold() {
    replay("frames");
}

#[test]
fn startup_holds() {
    replay("startup");
}

#[test]
fn login_holds() {
    replay("login");
}

#[test]
fn scram_holds() {
    replay("scram");
}

#[test]
fn relay_holds() {
    replay("relay");
}

#[test]
fn ini_holds() {
    replay("ini");
}

#[test]
fn toml_holds() {
    replay("toml");
}

#[test]
fn hba_holds() {
    replay("hba");
}
