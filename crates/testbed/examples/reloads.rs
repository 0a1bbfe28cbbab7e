//! `prove reloads COUNT`: so many random reloads under load, half of them broken, of poolwarden and of the installed PgBouncer.
//!
//! After a refusal everything that is set is compared with what was set before it, as each tells it; after a reload of poolwarden
//! that was taken, with what the file says. PgBouncer's figures are told, ours are judged. The last line is JSON.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]

use poolwarden_testbed::reloads::{self, Found};
use poolwarden_testbed::{Bed, Target, pgbouncer, place};
use serde_json::{Value, json};

/// From which the files are made.
const SEED: u64 = 11;

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).expect("a number of reloads");
    let _machine = place::machine(true);
    let found = |target| reloads::run(&Bed::start_as(target, reloads::plan()), target, count, SEED);
    let ours = found(Target::Poolwarden);
    let theirs = pgbouncer::installed().map(|_| found(Target::PgBouncer));
    let wrong = [ours.broken_accepted, ours.good_refused, ours.changed_after_refusal, ours.not_as_written];
    println!("{}", json!({ "seed": SEED, "poolwarden": told(&ours), "pgbouncer": theirs.as_ref().map(told) }));
    assert_eq!(wrong, [0; 4], "{:#?}", ours.faults);
    assert_eq!(ours.cut, Vec::<String>::new(), "transactions were cut");
    assert_eq!(ours.refused_aloud, ours.refused, "refusals nobody was told");
}

fn told(found: &Found) -> Value {
    json!({
        "reloads": found.reloads, "broken": found.kinds.values().sum::<u64>(), "kinds": found.kinds,
        "refused": found.refused, "refused_aloud": found.refused_aloud,
        "broken_accepted": found.broken_accepted, "good_refused": found.good_refused,
        "changed_after_refusal": found.changed_after_refusal, "not_as_written": found.not_as_written, "example": found.faults.first(),
        "transactions": found.transactions, "cut": found.cut.len(),
    })
}
