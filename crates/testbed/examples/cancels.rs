//! `prove cancels COUNT`: so many cancel requests against short queries in a full pool. Clients that never cancelled are never met,
//! and a cancel takes at most 20 ms more than PostgreSQL's own at the 99th percentile, measured in the same run.

#![allow(clippy::print_stdout, reason = "the result goes to standard output")]

use std::time::Duration;

use poolwarden_testbed::race::{self, quantile};
use poolwarden_testbed::{Bed, Plan, Target, place};
use serde_json::json;

/// What a pooler may add.
const MOST_ADDED: Duration = Duration::from_millis(20);

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).expect("a number of cancel requests");
    let _machine = place::machine(true);
    let bed = Bed::start_as(Target::Poolwarden, Plan { size: 4, ..Plan::default() });
    let raced = race::run(&bed, count);
    let micros = |spans: &[Duration], share| u64::try_from(quantile(spans, share).as_micros()).unwrap_or(u64::MAX);
    let found = json!({
        "cancels": raced.cancels, "hits": raced.hits,
        "undisturbed_queries": raced.undisturbed, "wrongly_cancelled": raced.wrongly,
        "timed": raced.through.len(),
        "through_us_p50": micros(&raced.through, 0.5), "through_us_p99": micros(&raced.through, 0.99),
        "direct_us_p50": micros(&raced.straight, 0.5), "direct_us_p99": micros(&raced.straight, 0.99),
    });
    println!("{found}");
    assert_eq!(raced.wrongly, 0, "clients that never cancelled were cancelled");
    assert!(raced.hits > 0 && raced.undisturbed > raced.cancels / 10, "the race was not run");
    let (through, direct) = (quantile(&raced.through, 0.99), quantile(&raced.straight, 0.99));
    assert!(through <= direct + MOST_ADDED, "a cancel takes {through:?}, PostgreSQL's own {direct:?}");
    bed.at_rest();
}
