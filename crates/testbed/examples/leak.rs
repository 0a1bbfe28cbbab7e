//! `leak SECONDS`: 200 clients over ten server connections hunt for each other's session state, under every policy.
//!
//! Its last line is an object of JSON for `cargo xtask prove leak`. It fails if anybody met what was not its own.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]

use std::process::ExitCode;
use std::time::Duration;

use poolwarden_testbed::leak::{self, Hunt};
use poolwarden_testbed::{Bed, Plan, Target};
use serde_json::json;

const CLIENTS: u32 = 200;
const SIZE: u32 = 10;

/// The policies: what is written in the pool, and whether state is also set inside functions.
const POLICIES: [(&str, &str, bool); 4] = [
    ("pin, auto", "session_state = \"pin\"\nreset = \"auto\"", false),
    ("refuse, auto", "session_state = \"refuse\"\nreset = \"auto\"", false),
    ("pin, always", "session_state = \"pin\"\nreset = \"always\"", true),
    ("refuse, always", "session_state = \"refuse\"\nreset = \"always\"", true),
];

fn main() -> ExitCode {
    let seconds: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(60);
    let mut policies = Vec::new();
    let mut clean = true;
    for (name, lines, functions) in POLICIES {
        let bed = Bed::start_as(Target::Poolwarden, Plan { size: SIZE, ..Plan::default() }.pool(lines));
        leak::prepare(&bed, CLIENTS);
        let hunt = Hunt {
            clients: CLIENTS,
            span: Duration::from_secs(seconds),
            functions,
            kill_every: Duration::from_millis(200),
        };
        let found = leak::hunt(&bed, hunt);
        for leak in &found.leaks {
            eprintln!("{name}: {leak}");
        }
        eprintln!("{name}: {} checks, {} sessions, {} leaks", found.checks, found.sessions, found.leaks.len());
        clean &= found.leaks.is_empty() && found.checks > 0;
        policies.push(json!({
            "policy": name, "functions": functions, "checks": found.checks, "sessions": found.sessions,
            "left_in_mid_transaction": found.left, "rolled_back": found.rolled_back, "killed": found.killed,
            "sessions_ended_by_faults": found.ended, "leaks": found.leaks.len(),
        }));
    }
    println!("{}", json!({ "clients": CLIENTS, "server_connections": SIZE, "seconds": seconds, "policies": policies }));
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
