//! The short run of every test: each target's seeds and findings, and thousands of inputs made of them.
#![allow(clippy::unwrap_used, missing_docs)] // a test may end where its premise fails

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use poolwarden_fuzz::mutation::{Chance, mutate};
use poolwarden_fuzz::{TARGETS, Target};

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

/// Replays a target's seeds, and `made` inputs made of them.
fn replay(name: &str, made: u64) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = seeds(target);
    assert!(seeds.len() >= 3, "{name} has seeds of its own");
    for (path, seed) in &seeds {
        holds(target, seed, path);
    }
    let inputs: Vec<Vec<u8>> = seeds.into_iter().map(|(_, input)| input).collect();
    for number in 0..made {
        holds(target, &mutate(&inputs, &mut Chance::new(number)), &format!("mutation {number}"));
    }
}

#[test]
fn every_target_is_replayed_here() {
    let source = include_str!("replay.rs");
    for target in &TARGETS {
        assert!(source.contains(&format!("replay(\"{}\", ", target.name)), "{} has no test", target.name);
    }
}

#[test]
fn frames_hold() {
    replay("frames", 10_000);
}

#[test]
fn startup_holds() {
    replay("startup", 10_000);
}

#[test]
fn login_holds() {
    replay("login", 10_000);
}

#[test]
fn scram_holds() {
    replay("scram", 10_000);
}

#[test]
fn relay_holds() {
    replay("relay", 10_000);
}

#[test]
fn lease_holds() {
    replay("lease", 5_000);
}

#[test]
fn statement_holds() {
    replay("statement", 20_000);
}

#[test]
fn ini_holds() {
    replay("ini", 2_000);
}

#[test]
fn toml_holds() {
    replay("toml", 5_000);
}

#[test]
fn hba_holds() {
    replay("hba", 10_000);
}
